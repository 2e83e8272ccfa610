"""Who caused a change: a person, a service key, or the house's own schedule."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID


class ActorKind(StrEnum):
    """What sort of actor it is."""

    USER = "user"  # a staff member in the back office
    CUSTOMER = "customer"  # somebody in the portal, acting for a customer
    API_KEY = "api_key"  # a service
    SCHEDULE = "schedule"  # beat and the relay
    OPERATOR = "operator"  # whoever runs commands on the machine


@dataclass(frozen=True, slots=True)
class Actor:
    """An actor as audit entries and events record it; `label` is readable without a look-up."""

    kind: ActorKind
    id: UUID | None
    label: str


SCHEDULE = Actor(kind=ActorKind.SCHEDULE, id=None, label="schedule")
OPERATOR = Actor(kind=ActorKind.OPERATOR, id=None, label="command line")
