"""The abstract base of everything that has a status."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from django.db import models

from apps.common.models import Entity
from apps.lifecycle.edges import Edge

if TYPE_CHECKING:
    # The package's mixin has a base the type checker cannot see, which would make every model of ours untyped.
    class ConcurrentTransitionMixin:
        """Stands for the package's mixin while types are checked."""

        _update_initial_state: Callable[[], None]
else:
    from django_fsm import ConcurrentTransitionMixin


class LifecycleModel(ConcurrentTransitionMixin, Entity):
    """
    An entity with an FSM-guarded `status`, changed only by `lifecycle.services.transition_apply`.

    The mixin makes a save of a stale copy raise `ConcurrentTransition`; services lock the row as well. Concrete
    models declare `edges` once; transitions, database trigger and diagram are held to it by a test.
    """

    if TYPE_CHECKING:
        # Every concrete model declares its own, with its own vocabulary.
        status: models.CharField[str, str]

    edges: ClassVar[tuple[Edge, ...]]
    initial_status: ClassVar[str]

    class Meta:
        abstract = True

    def refresh_from_db(
        self,
        using: str | None = None,
        fields: Iterable[str] | None = None,
        from_queryset: models.QuerySet[Any] | None = None,
    ) -> None:
        """
        Read the row again, its status included.

        The package's own way takes the protection off the field, which all threads of a process share: a second
        thread's refresh fails then, and a third may write a status. Here the old value leaves the instance first, and
        what the instance does not have may be set.
        """
        deferred = self.get_deferred_fields()
        columns = [field.attname for field in self._meta.concrete_fields if field.attname not in deferred]
        wanted = columns if fields is None else list(fields)
        # Whatever is asked for: the package reads the status of every row it makes, so it comes along.
        before = {name: self.__dict__.pop(name) for name in ("status",) if name in self.__dict__}
        try:
            models.Model.refresh_from_db(self, using=using, fields=wanted, from_queryset=from_queryset)
        finally:
            for name, value in before.items():
                self.__dict__.setdefault(name, value)
        if fields is None:
            self._forget_related()
        self._update_initial_state()

    def _forget_related(self) -> None:
        """Drop what was read of other rows, as a full refresh does."""
        self._prefetched_objects_cache: dict[str, Any] = {}
        for relation in self._meta.related_objects:
            if relation.is_cached(self):
                relation.delete_cached_value(self)

    @classmethod
    def entity_type(cls) -> str:
        """Return the name under which audit entries and events refer to this noun, e.g. `invoices.invoice`."""
        return str(cls._meta.label_lower)
