"""Read meters, usage, the raw events behind it, and what was refused."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from apps.common import ids
from apps.common.db import fetch_all
from apps.metering import usage_sql
from apps.metering.errors import EventMappingUnknown, MeterUnknown, QuarantinedEventUnknown
from apps.metering.event_documents import measure_event_documents
from apps.metering.models import EventMapping, Meter, QuarantinedEvent
from apps.metering.usage_folds import UsageMeasure, UsageQuantity
from apps.metering.usage_quantities import (
    usage_basis,
    usage_events_sample,
    usage_measure,
    usage_quantity,
    usage_quantity_from_events,
)
from apps.metering.usage_readings import hour_of
from apps.metering.usage_series import GRANULARITIES, UsageBucket, usage_between, usage_series

__all__ = [
    "GRANULARITIES",
    "AggregateDifference",
    "UsageBucket",
    "UsageMeasure",
    "UsageQuantity",
    "aggregates_compare",
    "event_mapping_current",
    "event_mappings_queryset",
    "measure_event_documents",
    "meter_by_reference",
    "meters_queryset",
    "quarantined_by_reference",
    "quarantined_queryset",
    "usage_basis",
    "usage_between",
    "usage_events_sample",
    "usage_measure",
    "usage_quantity",
    "usage_quantity_from_events",
    "usage_series",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregateDifference:
    """A running total that is not what its raw events add up to; (count, sum, max) of both, or nothing."""

    customer_id: UUID
    meter_id: UUID
    hour_at: datetime
    rebuilt: tuple[Any, ...]
    stored: tuple[Any, ...]

    def __str__(self) -> str:
        return (
            f"customer {self.customer_id}, meter {self.meter_id}, hour {self.hour_at.isoformat()}: "
            f"events give {self.rebuilt}, the total says {self.stored}"
        )


def meters_queryset() -> QuerySet[Meter]:
    """Return all versions of all meters, newest first."""
    return Meter.objects.order_by("-id")


def meter_by_reference(reference: str) -> Meter:
    """
    Return the meter version with this public id, or the current version of this code.

    :raises MeterUnknown: if there is none
    """
    try:
        match = Q(id=Meter.id_from_public(reference))
    except ids.IdInvalid:
        match = Q(code=reference, retired_at__isnull=True)
    meter = Meter.objects.filter(match).first() if "\0" not in reference else None
    if meter is None:
        raise MeterUnknown(f"There is no meter '{reference[:60]}'.", facts={"meter": reference[:60]})
    return meter


def event_mappings_queryset() -> QuerySet[EventMapping]:
    """Return all versions of all mappings, newest first."""
    return EventMapping.objects.order_by("-id")


def event_mapping_current(*, source: str) -> EventMapping:
    """
    Return the newest mapping of a source.

    :raises EventMappingUnknown: if none is defined
    """
    mapping = EventMapping.objects.filter(source=source).order_by("-version").first() if "\0" not in source else None
    if mapping is None:
        raise EventMappingUnknown(f"No mapping is defined for the source '{source[:120]}'; define one first.")
    return mapping


def aggregates_compare(
    *, limit: int, customer_id: UUID | None = None, since: datetime | None = None
) -> list[AggregateDifference]:
    """
    Rebuild the running totals from the raw events, of all customers or one, and return where they differ.

    :param since: look at the hours from the one that holds this instant on; without it, at all of them
    """
    since_hour = None if since is None else hour_of(since)
    rows = fetch_all(usage_sql.COMPARE, {"limit": limit, "customer_id": customer_id, "since": since_hour})
    return [
        AggregateDifference(customer_id=row[0], meter_id=row[1], hour_at=row[2], rebuilt=row[3:6], stored=row[6:9])
        for row in rows
    ]


def quarantined_queryset() -> QuerySet[QuarantinedEvent]:
    """Return refused events, newest first."""
    return QuarantinedEvent.objects.order_by("-id")


def quarantined_by_reference(reference: str) -> QuarantinedEvent:
    """
    Return the refused event with this public id.

    :raises QuarantinedEventUnknown: if there is none
    """
    try:
        event = QuarantinedEvent.objects.filter(id=QuarantinedEvent.id_from_public(reference)).first()
    except ids.IdInvalid:
        event = None
    if event is None:
        raise QuarantinedEventUnknown(f"There is no quarantined event '{reference[:60]}'.")
    return event
