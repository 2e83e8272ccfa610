"""Events as corrections see them: what is stored, what is to be, and the text that goes to the door again."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec
from django.db.models import Q

from apps.common.db import fetch_all
from apps.customers.models import Customer
from apps.engine.exact import decimal_text
from apps.metering import corrections_sql
from apps.metering.correction_documents import CorrectedEvent
from apps.metering.models import Meter, UsageEvent, UsageSettings
from apps.metering.normalisers import exact_number

# Exact both ways: a number with a point is never a binary float.
_DECODER: Final = msgspec.json.Decoder(dict[str, Any], float_hook=exact_number)
_ENCODER: Final = msgspec.json.Encoder(decimal_format="number")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """One event as it is stored, the transaction that decides its meters, and who cancelled it."""

    key: str
    source: str
    event_id: str
    type: str
    customer_id: UUID
    subscription_id: UUID | None
    occurred_at: datetime
    received_at: datetime
    quantity: Decimal | None
    properties: str
    written_xid: str
    cancelled_by: UUID | None

    def to_document(self, *, subscription: str | None) -> dict[str, Any]:
        """
        Return the event in the shape that the door takes.

        :param subscription: the public id of its subscription, which this app cannot spell
        """
        document: dict[str, Any] = {
            "id": self.event_id,
            "source": self.source,
            "type": self.type,
            "customer": Customer(id=self.customer_id).public_id,
            "occurred_at": self.occurred_at.isoformat().replace("+00:00", "Z"),
            "properties": document_read(self.properties),
        }
        if subscription is not None:
            document["subscription"] = subscription
        if self.quantity is not None:
            document["quantity"] = decimal_text(self.quantity)
        return document


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedEvent:
    """What a correction does about one event: cancel what is stored, bring another, or both."""

    source: str
    event_id: str
    stored: StoredEvent | None = None
    before: str | None = None
    after: str | None = None
    after_event_id: str = ""
    stands_for_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectionPlan:
    """All that one correction does, and whether it brings usage to meters that are newer than the events."""

    events: list[PlannedEvent] = field(default_factory=list)
    is_for_newer_meters: bool = False


def document_read(text: str) -> dict[str, Any]:
    """
    Return a JSON object with its numbers exact.

    :raises msgspec.DecodeError: if it is no JSON object
    :raises ValueError: if a number in it is no quantity
    """
    return _DECODER.decode(text)


def document_text(document: Mapping[str, Any]) -> str:
    """Return a document as JSON text, its numbers as they are."""
    return _ENCODER.encode(document).decode()


def document_shown(text: str) -> dict[str, Any]:
    """Return a stored document for people and programs: numbers with a point as texts, so that nobody rounds them."""
    shown: dict[str, Any] = msgspec.to_builtins(document_read(text))
    return shown


def stored_events(*, keys: Collection[str]) -> dict[str, StoredEvent]:
    """Return the stored events with these keys; keys that nobody has, or whose event was archived, are left out."""
    rows = fetch_all(corrections_sql.STORED_EVENTS, _by_key(keys)) if keys else []
    names = StoredEvent.__slots__
    return {row[0]: StoredEvent(**dict(zip(names, row, strict=True))) for row in rows}


def keys_used_again(*, keys: Collection[str]) -> set[str]:
    """Return the keys that name more than one event: only a tenant that lets ids be forgotten has any."""
    if not UsageSettings.objects.filter(
        Q(dedup_window_hours__isnull=False) | Q(keys_forgotten_until__isnull=False)
    ).exists():
        return set()
    return {key for (key,) in fetch_all(corrections_sql.USED_AGAIN, {"keys": list(keys)})}


def event_by_key(key: UUID) -> UsageEvent | None:
    """Return the stored event with this key; nothing where there is none, or where it was archived."""
    received = _by_key([key.hex])["received"]
    events = UsageEvent.objects.filter(event_key=key)
    if received is not None:
        events = events.filter(received_at__in=received)
    return events.order_by("-received_at").first()


def units_of(*, keys: Collection[str]) -> dict[tuple[UUID, UUID], dict[str, Decimal]]:
    """Return the units by (customer, meter) and place that these stored events are, cancelled or not."""
    found: dict[tuple[UUID, UUID], dict[str, Decimal]] = {}
    for customer_id, meter_id, place, units in (
        fetch_all(corrections_sql.UNITS_OF_EVENTS, _by_key(keys)) if keys else []
    ):
        found.setdefault((customer_id, meter_id), {})[place] = units
    return found


def keys_older_than_meter(
    *, meter: Meter, customer_id: UUID, starts_at: datetime, ends_at: datetime, limit: int
) -> list[str]:
    """Return the keys of events in a window that a meter does not count because it was defined after them."""
    window = {"meter_id": meter.id, "customer_id": customer_id, "starts_at": starts_at, "ends_at": ends_at}
    return [key for (key,) in fetch_all(corrections_sql.OLDER_THAN_METER, {**window, "limit": limit})]


def key_of(row: CorrectedEvent) -> str | None:
    """Return the key of the event that a row cancels, as the key table spells it."""
    return row.event_key.hex if row.event_key is not None else None


def _by_key(keys: Collection[str]) -> dict[str, Any]:
    wanted = list(keys)
    ((known, received),) = fetch_all(corrections_sql.RECEIVED_AT, {"keys": wanted})
    if known < len(wanted) and UsageSettings.objects.filter(keys_forgotten_until__isnull=False).exists():
        received = None
    elif received is None:
        received = []
    return {"keys": wanted, "received": received}
