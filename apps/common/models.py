"""The abstract row that every entity starts from."""

from typing import ClassVar
from uuid import UUID

from django.db import models
from django.db.models.functions import Now

from apps.common import ids


class Entity(models.Model):
    """A row with a UUIDv7 made before it is written, shown outside as a TypeID."""

    id_prefix: ClassVar[str]

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    # Observed, never a business fact: services take `at` and store it under a name of its own.
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        abstract = True

    @property
    def public_id(self) -> str:
        """Return the id as API, documents and links show it."""
        return ids.to_public(prefix=self.id_prefix, value=self.id)

    @classmethod
    def id_from_public(cls, text: str) -> UUID:
        """
        Return the primary key inside a public id of this entity.

        :raises IdInvalid: if the text is not such an id
        """
        return ids.from_public(prefix=cls.id_prefix, text=text)
