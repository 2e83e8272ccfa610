"""
From a judged event to the bytes that COPY reads.

PostgreSQL's binary form of COPY: each value goes with its length and without being escaped, and the server parses no
text. Half of what a text COPY costs the server is that parsing. A batch repeats its sources, types and customers, so
their bytes are made once.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec
from psycopg.types.numeric import DecimalBinaryDumper

from apps.metering import event_identity
from apps.metering.errors import EventRefused
from apps.metering.event_checks import Instant
from apps.metering.normalisers import CanonicalEvent

_SIGNATURE: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER: Final = b"\xff\xff"
_NULL: Final = b"\xff\xff\xff\xff"
# The server counts microseconds from here.
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_UUID_LENGTH: Final = b"\0\0\0\x10"
# The columns of `usage_store_sql.COPY_KEYS` and `COPY_EVENTS`; `COPY_RESTATED` has one more.
_KEY_START: Final = b"\0\x03" + _UUID_LENGTH
_HASH_LENGTH: Final = b"\0\0\0\x20"
_EVENT_COLUMNS: Final = 13
_EVENT_START: Final = _EVENT_COLUMNS.to_bytes(2) + _UUID_LENGTH
_RESTATED_START: Final = (_EVENT_COLUMNS + 1).to_bytes(2)
_JSONB_VERSION: Final = b"\x01"
_TEXTS_REMEMBERED: Final = 10_000


class UsageRow(msgspec.Struct, gc=False):
    """
    One event ready to be written, and what those who admit it or tell of it need to know.

    `line` is the event as COPY reads it; `position` is its place in its batch; `properties` are those that are stored
    and counted, where the event has all that were sent.
    """

    key: bytes
    payload_hash: bytes
    line: bytes
    position: int
    event: CanonicalEvent
    customer_id: UUID
    subscription_id: UUID | None
    occurred_at: datetime
    quantity: str | None
    properties: Mapping[str, Any]


class UsageParty(msgspec.Struct, frozen=True, gc=False):
    """Whom an event is about: the ids, as text for the hash and as the two fields of a row."""

    customer_id: UUID
    subscription_id: UUID | None
    customer_text: str
    subscription_text: str | None
    fields: bytes

    @classmethod
    def of(cls, customer_id: UUID, subscription_id: UUID | None = None) -> "UsageParty":
        """Return a party with what is made of its ids."""
        subscription_field = _NULL if subscription_id is None else _UUID_LENGTH + subscription_id.bytes
        return cls(
            customer_id,
            subscription_id,
            str(customer_id),
            None if subscription_id is None else str(subscription_id),
            _UUID_LENGTH + customer_id.bytes + subscription_field,
        )


class UsageRowWriter:
    """Writes the rows of one batch, which share when it was received and the mapping that read it."""

    def __init__(self, *, received_at: datetime, mapping_version: int = 0) -> None:
        self._received = _instant_field(received_at)
        self._mapping = _field(mapping_version.to_bytes(2, signed=True))
        self._texts: dict[str, bytes] = {}

    def row(
        self,
        *,
        event: CanonicalEvent,
        position: int,
        party: UsageParty,
        instant: Instant,
        quantity: str | None,
        stored_properties: Mapping[str, Any],
    ) -> UsageRow:
        """
        Return the row of an event that was judged whole.

        The hash is made of what the event says of whom, not of how it was spelt: a customer named by its code or by
        its id, a time in one zone or another, keys in any order, are the same content. It is made of what was sent,
        so a retry stays a duplicate although less of it would be stored by now.

        :raises EventRefused: if a property holds what the database cannot store
        """
        source, event_id, type_ = event.source or "", event.id or "", event.type or ""
        properties = event_identity.CANONICAL.encode(event.properties or {})
        payload_hash, canonical = event_identity.payload_hash(
            (
                source, event_id, type_, party.customer_text, party.subscription_text, instant.text, quantity,
                msgspec.Raw(properties),
            )
        )  # fmt: skip
        if stored_properties is not event.properties and event.properties:
            properties = event_identity.CANONICAL.encode(stored_properties)
        # JSON escapes NUL: an event without a backslash holds none.
        if b"\\" in canonical and event_identity.holds_nul(properties.decode()):
            raise EventRefused("invalid_text", "The properties contain a NUL character; remove it.")
        key = event_identity.event_key_bytes(source=source, event_id=event_id)
        id_bytes = event_id.encode()
        line = b"".join(
            (
                _EVENT_START,
                key,
                self._texts.get(source) or self._text(source),
                len(id_bytes).to_bytes(4),
                id_bytes,
                self._texts.get(type_) or self._text(type_),
                party.fields,
                _instant_field(instant.at),
                self._received,
                _NULL if quantity is None else _quantity_field(quantity),
                (len(properties) + 1).to_bytes(4),
                _JSONB_VERSION,
                properties,
                self._mapping,
                b"\0\0\0\x02",
                position.to_bytes(2),
                _NULL if event.sequence is None else _field(event.sequence.to_bytes(8)),
            )
        )
        return UsageRow(
            key, payload_hash, line, position, event, party.customer_id, party.subscription_id, instant.at, quantity,
            stored_properties,
        )  # fmt: skip

    def _text(self, text: str) -> bytes:
        if len(self._texts) >= _TEXTS_REMEMBERED:
            self._texts.clear()
        field = self._texts[text] = _field(text.encode())
        return field


def copied_keys(rows: Iterable[UsageRow], *, received_at: datetime) -> bytes:
    """Return what COPY reads to write the identity of rows."""
    received = _instant_field(received_at)
    lines = [b"%b%b%b%b%b" % (_KEY_START, row.key, _HASH_LENGTH, row.payload_hash, received) for row in rows]
    return b"".join((_SIGNATURE, *lines, _TRAILER))


def copied_events(rows: Iterable[UsageRow]) -> bytes:
    """Return what COPY reads to write events."""
    return b"".join((_SIGNATURE, *[row.line for row in rows], _TRAILER))


def copied_restated_events(rows: Iterable[UsageRow], *, xid_of: dict[bytes, int | None]) -> bytes:
    """Return what COPY reads to write events, each with the transaction that wrote the one it stands for."""
    lines = []
    for row in rows:
        xid = xid_of[row.key]
        lines.append(_RESTATED_START + row.line[2:] + (_NULL if xid is None else _field(xid.to_bytes(8))))
    return b"".join((_SIGNATURE, *lines, _TRAILER))


def _field(value: bytes) -> bytes:
    return len(value).to_bytes(4) + value


def _instant_field(at: datetime) -> bytes:
    since = at - _EPOCH
    micros = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    return b"\0\0\0\x08" + micros.to_bytes(8, signed=True)


def _quantity_field(quantity: str) -> bytes:
    return _field(bytes(DecimalBinaryDumper(Decimal).dump(Decimal(quantity)) or b""))
