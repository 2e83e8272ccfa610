"""The abstract base of everything that has a status."""

from typing import ClassVar

from django_fsm import ConcurrentTransitionMixin

from apps.common.models import Entity
from apps.lifecycle.edges import Edge


class LifecycleModel(ConcurrentTransitionMixin, Entity):
    """
    An entity with an FSM-guarded `status`, changed only by `lifecycle.services.transition_apply`.

    The mixin makes a save of a stale copy raise `ConcurrentTransition`; services lock the row as well. Concrete
    models declare `edges` once; transitions, database trigger and diagram are held to it by a test.
    """

    edges: ClassVar[tuple[Edge, ...]]
    initial_status: ClassVar[str]

    class Meta:
        abstract = True

    @classmethod
    def entity_type(cls) -> str:
        """Return the name under which audit entries and events refer to this noun, e.g. `invoices.invoice`."""
        return str(cls._meta.label_lower)
