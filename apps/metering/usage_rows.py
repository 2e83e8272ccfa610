"""From a judged event to the text that COPY reads."""

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from apps.metering import event_identity
from apps.metering.errors import EventRefused
from apps.metering.event_checks import Instant
from apps.metering.normalisers import CanonicalEvent

_NULL: Final = r"\N"


class UsageRow(msgspec.Struct, gc=False):
    """
    One event ready to be written, and what those who admit it or tell of it need to know.

    `line` is what COPY reads after the key; `position` is the event's place in its batch.
    """

    key: str
    payload_hash: str
    line: str
    position: int
    event: CanonicalEvent
    customer_id: UUID
    subscription_id: UUID | None
    occurred_at: datetime
    quantity: str | None


class UsageParty(msgspec.Struct, frozen=True, gc=False):
    """Whom an event is about, with the texts of the ids: they are written once for each of many events."""

    customer_id: UUID
    customer_text: str
    subscription_id: UUID | None = None
    subscription_text: str | None = None


class UsageRowWriter:
    """Writes the rows of one batch, which share when it was received and the mapping that read it."""

    def __init__(self, *, received_at: datetime, mapping_version: int = 0) -> None:
        self._received_text = received_at.isoformat()
        self._mapping_text = str(mapping_version)

    def row(
        self, *, event: CanonicalEvent, position: int, party: UsageParty, instant: Instant, quantity: str | None
    ) -> UsageRow:
        """
        Return the row of an event that was judged whole.

        The hash is made of what the event says of whom, not of how it was spelt: a customer named by its code or by
        its id, a time in one zone or another, keys in any order, are the same content.

        :raises EventRefused: if a property holds what the database cannot store
        """
        source, event_id, type_ = event.source or "", event.id or "", event.type or ""
        customer, subscription = party.customer_text, party.subscription_text
        encoded = event_identity.CANONICAL.encode(event.properties or {})
        properties = encoded.decode()
        content = (source, event_id, type_, customer, subscription, instant.text, quantity, msgspec.Raw(encoded))
        payload_hash, canonical = event_identity.payload_hash(content)
        # JSON escapes whatever COPY reads as structure, and NUL: an event without a backslash holds none of them.
        if b"\\" in canonical:
            if event_identity.holds_nul(properties):
                raise EventRefused("invalid_text", "The properties contain a NUL character; remove it.")
            source_text, id_text, type_text = _escape(source), _escape(event_id), _escape(type_)
            properties = properties.replace("\\", "\\\\")
        else:
            source_text, id_text, type_text = source, event_id, type_
        return UsageRow(
            event_identity.event_key(source=source, event_id=event_id),
            payload_hash,
            f"{source_text}\t{id_text}\t{type_text}\t{customer}\t{subscription or _NULL}\t{instant.text}\t"
            f"{self._received_text}\t{quantity or _NULL}\t{properties}\t{self._mapping_text}\t{position}",
            position,
            event,
            party.customer_id,
            party.subscription_id,
            instant.at,
            quantity,
        )


def _escape(text: str) -> str:
    """Escape what COPY's text form reads as structure."""
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
