"""Read meters, usage, the raw events behind it, and what was refused."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db.models import Q, QuerySet

from apps.common import ids
from apps.common.db import fetch_all
from apps.metering import usage_compare_sql, usage_readings_sql
from apps.metering.errors import EventMappingUnknown, MeterUnknown, QuarantinedEventUnknown
from apps.metering.event_documents import measure_event_documents
from apps.metering.late_usage import usage_events_changed
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
    "usage_events_changed",
    "usage_events_sample",
    "usage_measure",
    "usage_quantity",
    "usage_quantity_from_events",
    "usage_series",
]


_COMPARISONS: Final = {
    "total": usage_compare_sql.TOTALS,
    "last reading": usage_compare_sql.LAST,
    "counter": usage_compare_sql.COUNTERS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregateDifference:
    """A rollup that is not what its raw events give; what they give and what it says, or nothing."""

    customer_id: UUID
    meter_id: UUID
    kind: str  # total, last reading or counter
    hour_at: datetime
    rebuilt: tuple[Any, ...]
    stored: tuple[Any, ...]

    def __str__(self) -> str:
        return (
            f"customer {self.customer_id}, meter {self.meter_id}, {self.kind} of {self.hour_at.isoformat()}: "
            f"events give {self.rebuilt}, the {self.kind} says {self.stored}"
        )


def snapshot_now() -> str:
    """Return the database snapshot that a reader has now: it tells for ever what it had seen."""
    ((snapshot,),) = fetch_all(usage_readings_sql.SNAPSHOT)
    return str(snapshot)


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
    *, limit: int, customer_id: UUID | None = None, since: datetime | None = None, until: datetime | None = None
) -> list[AggregateDifference]:
    """
    Make totals, last readings and counters anew from the raw events and return where they differ.

    :param customer_id: look at one customer; without it, at all of them
    :param since: look at the hours from the one that holds this instant on; without it, from the first
    :param until: look at the hours before the one that holds this instant; without it, to the last
    """
    asked = {
        "limit": limit,
        "customer_id": customer_id,
        "since": None if since is None else hour_of(since),
        "until": None if until is None else hour_of(until),
    }
    differences: list[AggregateDifference] = []
    for kind, statement in _COMPARISONS.items():
        for customer, meter, hour_at, *values in fetch_all(statement, asked):
            half = len(values) // 2
            differences.append(
                AggregateDifference(
                    customer_id=customer,
                    meter_id=meter,
                    kind=kind,
                    hour_at=hour_at,
                    rebuilt=tuple(values[:half]),
                    stored=tuple(values[half:]),
                )
            )
    return differences[:limit]


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
