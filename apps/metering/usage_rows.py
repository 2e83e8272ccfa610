"""From a judged event to the text that COPY reads."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from apps.metering import event_identity
from apps.metering.errors import EventRefused
from apps.metering.normalisers import CanonicalEvent

_NULL = r"\N"


@dataclass(frozen=True, slots=True)
class UsageRow:
    """One event ready to be written: its identity, the hash of its content, and its line for COPY after the key."""

    key: str
    payload_hash: str
    line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPlace:
    """Whom an event is about, when it happened, when and where in its batch it came, and its quantity as exact text."""

    customer_id: UUID
    subscription_id: UUID | None
    occurred_at: datetime
    received_at: datetime
    quantity: str | None
    batch_position: int = 0


def build_usage_row(*, event: CanonicalEvent, place: EventPlace) -> UsageRow:
    """
    Return the row of an event that was judged whole.

    The hash is made of what the event says of whom, not of how it was spelt: a customer named by its code or by its
    id, a time in one zone or another, keys in any order, are the same content.

    :raises EventRefused: if a property holds what the database cannot store
    """
    source, event_id, type_ = event.source or "", event.id or "", event.type or ""
    properties = event_identity.CANONICAL.encode(event.properties or {}).decode()
    if event_identity.holds_nul(properties):
        raise EventRefused("invalid_text", "The properties contain a NUL character; remove it.")
    customer = str(place.customer_id)
    subscription = None if place.subscription_id is None else str(place.subscription_id)
    occurred_at = place.occurred_at.isoformat()
    line = "\t".join(
        (
            _escape(source),
            _escape(event_id),
            _escape(type_),
            customer,
            subscription or _NULL,
            occurred_at,
            place.received_at.isoformat(),
            place.quantity or _NULL,
            properties.replace("\\", "\\\\"),
            str(event.mapping_version),
            str(place.batch_position),
        )
    )
    content = (source, event_id, type_, customer, subscription, occurred_at, place.quantity, event.properties or {})
    return UsageRow(
        key=event_identity.event_key(source=source, event_id=event_id),
        payload_hash=event_identity.payload_hash(content),
        line=line,
    )


def _escape(text: str) -> str:
    """Escape what COPY's text form reads as structure."""
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
