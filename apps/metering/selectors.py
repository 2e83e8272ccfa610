"""Read meters, usage, the raw events behind it, and what was refused."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.db.models import Q, QuerySet

from apps.common import ids
from apps.common.db import fetch_all
from apps.common.errors import FieldProblem
from apps.engine.aggregation import apply_unit_rounding, unit_rounding_from_document
from apps.engine.exact import decimal_text
from apps.metering import usage_sql
from apps.metering.errors import EventMappingUnknown, MeterUnknown, QuarantinedEventUnknown, UsageQueryInvalid
from apps.metering.models import EventMapping, Meter, MeterAggregation, QuarantinedEvent, UsageEvent

_HOUR: Final = timedelta(hours=1)
GRANULARITIES: Final = ("hour", "day", "month")
# A reader who wants more asks for coarser pieces, or in parts.
BUCKETS_MAX: Final = 10_000
_SPANS: Final = {"hour": _HOUR, "day": timedelta(days=1), "month": timedelta(days=28)}


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageQuantity:
    """How much was used: billable units, the plain aggregate, how many events, and the snapshot that was read."""

    quantity: Decimal
    raw: Decimal
    event_count: int
    snapshot: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageBucket:
    """The plain aggregate of one piece of time and one group; unit rounding belongs to whole periods."""

    starts_at: datetime
    group: Mapping[str, Any]
    quantity: Decimal
    event_count: int


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


def usage_quantity(
    *, meter: Meter, customer_id: UUID, subscription_id: UUID | None, starts_at: datetime, ends_at: datetime
) -> UsageQuantity:
    """
    Return what a meter counts in the half-open window, exact for any instants.

    Whole hours come from the running totals, the edges from the raw events. Without a subscription, all of the
    customer's events count.
    """
    scope = _scope(meter, customer_id, subscription_id, starts_at, ends_at)
    (row,) = fetch_all(usage_sql.QUANTITY, scope)
    return _quantity(meter, row)


def usage_quantity_from_events(
    *,
    meter: Meter,
    customer_id: UUID,
    subscription_id: UUID | None,
    starts_at: datetime,
    ends_at: datetime,
    snapshot: str,
) -> UsageQuantity:
    """Return the same from the raw events alone, as a reader with that snapshot saw them: the proof of a line."""
    scope = {**_scope(meter, customer_id, subscription_id, starts_at, ends_at), "snapshot": snapshot}
    (row,) = fetch_all(usage_sql.QUANTITY_FROM_EVENTS, scope)
    return _quantity(meter, row)


def usage_events_sample(
    *,
    meter: Meter,
    customer_id: UUID,
    subscription_id: UUID | None,
    starts_at: datetime,
    ends_at: datetime,
    snapshot: str,
    limit: int,
) -> list[UsageEvent]:
    """Return the first raw events that a meter counts in a window and snapshot, in order of occurrence."""
    scope = _scope(meter, customer_id, subscription_id, starts_at, ends_at)
    return list(UsageEvent.objects.raw(usage_sql.EVENTS_SAMPLE, {**scope, "snapshot": snapshot, "limit": limit}))


def usage_series(
    *,
    meter: Meter,
    customer_id: UUID,
    starts_at: datetime,
    ends_at: datetime,
    granularity: str,
    group_by: Sequence[str] = (),
    subscription_id: UUID | None = None,
) -> list[UsageBucket]:
    """
    Return usage in pieces of an hour, a UTC day or a UTC month, oldest first; pieces without events are left out.

    :raises UsageQueryInvalid: if granularity or grouping is unknown, or the window is empty or the answer too long
    """
    problems = _series_problems(meter, starts_at, ends_at, granularity, group_by)
    if problems:
        raise UsageQueryInvalid("; ".join(problem.detail for problem in problems), problems=problems)
    scope = _scope(meter, customer_id, subscription_id, starts_at, ends_at)
    rows = fetch_all(
        usage_sql.SERIES,
        {**scope, "granularity": granularity, "group_by": list(group_by), "limit": BUCKETS_MAX + 1},
    )
    if len(rows) > BUCKETS_MAX:
        # Groups multiply the pieces, and only the answer tells how many there are.
        detail = (
            f"the answer has more than {BUCKETS_MAX} pieces; ask for coarser ones, fewer groups or a shorter window"
        )
        raise UsageQueryInvalid(detail, problems=(FieldProblem("/to", "answer_too_long", detail),))
    return [
        UsageBucket(
            starts_at=bucket_at.astimezone(UTC),
            # The driver hands JSON over as text; its numbers stay exact.
            group=json.loads(group, parse_float=Decimal),
            quantity=_aggregated(meter, count, total, largest),
            event_count=count,
        )
        for bucket_at, group, count, total, largest in rows
    ]


def aggregates_compare(
    *, limit: int, customer_id: UUID | None = None, since: datetime | None = None
) -> list[AggregateDifference]:
    """
    Rebuild the running totals from the raw events, of all customers or one, and return where they differ.

    :param since: look at the hours from the one that holds this instant on; without it, at all of them
    """
    since_hour = None if since is None else since.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
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


def _scope(
    meter: Meter, customer_id: UUID, subscription_id: UUID | None, starts_at: datetime, ends_at: datetime
) -> dict[str, Any]:
    starts_at, ends_at = starts_at.astimezone(UTC), max(ends_at, starts_at).astimezone(UTC)
    floor_at = ends_at.replace(minute=0, second=0, microsecond=0)
    whole_from = starts_at.replace(minute=0, second=0, microsecond=0)
    if whole_from < starts_at:
        whole_from += _HOUR
    has_whole_hours = whole_from < floor_at
    return {
        "meter_id": meter.id,
        "customer_id": customer_id,
        "subscription_id": subscription_id,
        "starts_at": starts_at,
        "ends_at": ends_at,
        # Without a whole hour inside, the first edge is the whole window and the second is empty.
        "whole_from": whole_from if has_whole_hours else ends_at,
        "whole_until": floor_at if has_whole_hours else ends_at,
        "edge_until": whole_from if has_whole_hours else ends_at,
        "edge_from": floor_at if has_whole_hours else ends_at,
    }


def _quantity(meter: Meter, row: tuple[Any, ...]) -> UsageQuantity:
    count, total, largest, snapshot = row
    raw = _aggregated(meter, count, total, largest)
    rounding = unit_rounding_from_document(meter.rounding)
    return UsageQuantity(
        quantity=apply_unit_rounding(raw, rounding), raw=raw, event_count=count, snapshot=str(snapshot)
    )


def _aggregated(meter: Meter, count: int, total: Any, largest: Any) -> Decimal:
    values = {MeterAggregation.COUNT: count, MeterAggregation.SUM: total, MeterAggregation.MAX: largest}
    # One quantity, one spelling: the same total must give the same hash, however many zeros the database keeps.
    return Decimal(decimal_text(Decimal(values[MeterAggregation(meter.aggregation)])))


def _series_problems(
    meter: Meter, starts_at: datetime, ends_at: datetime, granularity: str, group_by: Sequence[str]
) -> tuple[FieldProblem, ...]:
    problems = []
    if granularity not in GRANULARITIES:
        detail = f"granularity is one of {', '.join(GRANULARITIES)}"
        problems.append(FieldProblem("/granularity", "granularity_unknown", detail))
    elif (ends_at - starts_at) // _SPANS[granularity] > BUCKETS_MAX:
        detail = f"the window has more than {BUCKETS_MAX} pieces; ask for coarser ones or a shorter window"
        problems.append(FieldProblem("/to", "window_too_long", detail))
    if ends_at <= starts_at:
        problems.append(FieldProblem("/to", "window_empty", "'to' must be later than 'from'"))
    for name in group_by:
        if name not in meter.group_by:
            detail = (
                f"meter '{meter.code}' is not grouped by '{name[:60]}'; it has {', '.join(meter.group_by) or 'none'}"
            )
            problems.append(FieldProblem("/group_by", "group_unknown", detail))
    return tuple(problems)
