"""
What a correction changes in units, measured by making it: before, then after, under the same readings as billing.

Count and sum are exact for the events themselves. What the other aggregations come to depends on the rest of the
window; they are read for the calendar months (UTC) that are touched.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from apps.customers.models import Customer
from apps.engine.aggregation import Aggregation
from apps.engine.exact import decimal_text
from apps.metering import corrected_events
from apps.metering.models import Meter
from apps.metering.partitions import month_of
from apps.metering.usage_quantities import usage_quantity

_ADDITIVE: Final = (Aggregation.COUNT, Aggregation.SUM)
# A month of one meter and customer is a reading of its own; beyond these the effect is said to be unknown.
MONTHS_MEASURED_MAX: Final = 200
LINES_SHOWN_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Touched:
    """Where a correction takes something away or brings something: whose usage, of which type, when."""

    customer_id: UUID
    type: str
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class MeterMonth:
    """A calendar month of one meter and customer."""

    customer_id: UUID
    meter_id: UUID
    month: date


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectLine:
    """
    What one meter and customer come to: units before and after, in a month where the window matters.

    `units_moved` counts what went elsewhere, too: to another instant, subscription or price.
    """

    customer_id: UUID
    meter_id: UUID
    month: date | None
    units_before: Decimal
    units_after: Decimal
    units_moved: Decimal

    @property
    def units_change(self) -> Decimal:
        """Return how many units more, or less."""
        return self.units_after - self.units_before


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """All that a correction changes; not whole where more months were touched than are measured."""

    lines: list[EffectLine]
    is_whole: bool

    @property
    def units_max(self) -> Decimal:
        """Return the most units that come or go anywhere, of any one meter and customer."""
        return max((line.units_moved for line in self.lines), default=Decimal(0))

    def to_document(self) -> dict[str, Any]:
        """Return the effect as JSON: totals by meter, and the largest changes one by one."""
        meters = {meter.id: meter for meter in Meter.objects.filter(id__in={line.meter_id for line in self.lines})}
        totals: dict[UUID, Decimal] = {}
        for line in self.lines:
            totals[line.meter_id] = totals.get(line.meter_id, Decimal(0)) + line.units_change
        largest = sorted(self.lines, key=lambda line: abs(line.units_change), reverse=True)[:LINES_SHOWN_MAX]
        by_code = sorted(totals, key=lambda meter_id: (meters[meter_id].code, meters[meter_id].version))
        return {
            "is_whole": self.is_whole,
            "meters": [
                {**_meter(meters[meter_id]), "units_change": decimal_text(totals[meter_id])} for meter_id in by_code
            ],
            "lines": [
                {
                    **_meter(meters[line.meter_id]),
                    "customer": Customer(id=line.customer_id).public_id,
                    "month": f"{line.month:%Y-%m}" if line.month else None,
                    "units_before": decimal_text(line.units_before),
                    "units_after": decimal_text(line.units_after),
                    "units_change": decimal_text(line.units_change),
                }
                for line in largest
            ],
            "lines_left_out": len(self.lines) - len(largest),
        }


def months_touched(*, touched: Iterable[Touched]) -> list[MeterMonth]:
    """Return the months of those meters whose quantity depends on the whole window, that a correction may change."""
    places = {(place.customer_id, place.type, month_of(place.occurred_at)) for place in touched}
    meters: dict[str, list[UUID]] = {}
    types = {type_ for _customer, type_, _month in places}
    for meter in Meter.objects.filter(event_type__in=types).exclude(aggregation__in=_ADDITIVE):
        meters.setdefault(meter.event_type, []).append(meter.id)
    found = {
        MeterMonth(customer_id, meter_id, month)
        for customer_id, type_, month in places
        for meter_id in meters.get(type_, ())
    }
    return sorted(found, key=lambda place: (place.month, place.meter_id, place.customer_id))


def months_measure(*, months: Collection[MeterMonth]) -> dict[MeterMonth, Decimal]:
    """Return what each month comes to now, before the meter's rounding; nothing if there are too many."""
    if len(months) > MONTHS_MEASURED_MAX:
        return {}
    meters = Meter.objects.in_bulk({place.meter_id for place in months})
    return {place: _month_units(meters[place.meter_id], place) for place in months}


def effect_of(
    *,
    cancelled: Collection[str],
    brought: Collection[str],
    months: Collection[MeterMonth],
    before: Mapping[MeterMonth, Decimal],
) -> Effect:
    """
    Return what a correction changed that is written and not yet committed.

    :param cancelled: keys of the events that count no more
    :param brought: keys of the events that came
    :param before: what the months came to before anything was written
    """
    removed, added = corrected_events.units_of(keys=cancelled), corrected_events.units_of(keys=brought)
    pairs = sorted({*removed, *added})
    additive = set(
        Meter.objects.filter(id__in={meter_id for _customer, meter_id in pairs}, aggregation__in=_ADDITIVE).values_list(
            "id", flat=True
        )
    )
    lines = [_additive_line(pair, removed.get(pair, {}), added.get(pair, {})) for pair in pairs if pair[1] in additive]
    after = months_measure(months=months)
    lines += [
        EffectLine(
            customer_id=place.customer_id,
            meter_id=place.meter_id,
            month=place.month,
            units_before=before[place],
            units_after=after[place],
            units_moved=abs(after[place] - before[place]),
        )
        for place in after
        if before[place] != after[place]
    ]
    return Effect(lines=lines, is_whole=len(after) == len(months))


def _additive_line(pair: tuple[UUID, UUID], removed: Mapping[str, Decimal], added: Mapping[str, Decimal]) -> EffectLine:
    nothing = Decimal(0)
    changes = [added.get(place, nothing) - removed.get(place, nothing) for place in {*removed, *added}]
    return EffectLine(
        customer_id=pair[0],
        meter_id=pair[1],
        month=None,
        units_before=sum(removed.values(), nothing),
        units_after=sum(added.values(), nothing),
        units_moved=max(
            sum((change for change in changes if change > 0), nothing),
            sum((-change for change in changes if change < 0), nothing),
        ),
    )


def _month_units(meter: Meter, place: MeterMonth) -> Decimal:
    first = place.month
    following = date(first.year + first.month // 12, first.month % 12 + 1, 1)
    starts_at, ends_at = (datetime(day.year, day.month, 1, tzinfo=UTC) for day in (first, following))
    usage = usage_quantity(
        meter=meter, customer_id=place.customer_id, subscription_id=None, starts_at=starts_at, ends_at=ends_at
    )
    return usage.raw


def _meter(meter: Meter) -> dict[str, Any]:
    return {"meter": meter.code, "version": meter.version, "unit_name": meter.counted_unit}
