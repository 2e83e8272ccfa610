"""The abstract base of everything that has a status."""

from typing import TYPE_CHECKING, ClassVar

from django.db import models

from apps.common.models import Entity
from apps.lifecycle.edges import Edge

if TYPE_CHECKING:
    # The package's mixin has a base the type checker cannot see, which would make every model of ours untyped.
    class ConcurrentTransitionMixin:
        """Stands for the package's mixin while types are checked."""
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

    @classmethod
    def entity_type(cls) -> str:
        """Return the name under which audit entries and events refer to this noun, e.g. `invoices.invoice`."""
        return str(cls._meta.label_lower)
