"""
How much of a meter a customer used in a window, and what a charge needs beside that quantity.

What is there now comes from the rollups, with raw events at the edges (`usage_rollups.py`). What an earlier reader saw,
by its snapshot, is the fold of the raw events. What a charge needs by event, or by the cell of a price matrix for
aggregations whose groups cannot be joined, is folded from raw events in either case.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from apps.common.db import fetch_all
from apps.engine.aggregation import Aggregation, aggregate
from apps.engine.charge_models.basis import NO_BASIS, Basis, BasisNeed, basis_needed
from apps.engine.charge_models.terms import ChargeTerms
from apps.metering import usage_sql
from apps.metering.errors import UsageQueryInvalid
from apps.metering.models import Meter, UsageEvent
from apps.metering.usage_folds import (
    UsageMeasure,
    UsageQuantity,
    fold_basis,
    fold_group_totals,
    fold_quantity,
    properties_needed,
    usage_quantity_of,
)
from apps.metering.usage_readings import counted_events, usage_scope
from apps.metering.usage_rollups import rollup_quantity

# What of (count, sum, max) the totals of groups keep can be joined to the aggregate of a cell.
_JOINABLE: Final = (Aggregation.COUNT, Aggregation.SUM, Aggregation.MAX)


def usage_quantity(
    *, meter: Meter, customer_id: UUID, subscription_id: UUID | None, starts_at: datetime, ends_at: datetime
) -> UsageQuantity:
    """
    Return what a meter counts in the half-open window, exact for any instants.

    Without a subscription, all of the customer's events count. The snapshot names what was read, for ever.
    """
    scope = usage_scope(
        meter=meter, customer_id=customer_id, subscription_id=subscription_id, starts_at=starts_at, ends_at=ends_at
    )
    read = rollup_quantity(meter=meter, scope=scope)
    return usage_quantity_of(meter=meter, exact=read.exact, event_count=read.event_count, snapshot=read.snapshot)


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
    scope = usage_scope(
        meter=meter, customer_id=customer_id, subscription_id=subscription_id, starts_at=starts_at, ends_at=ends_at
    )
    if meter.aggregation not in _JOINABLE:
        return _folded_quantity(meter, scope, snapshot)
    (row,) = fetch_all(usage_sql.QUANTITY_FROM_EVENTS, {**scope, "snapshot": snapshot})
    return _totalled_quantity(meter, row)


def usage_basis(
    *,
    meter: Meter,
    terms: ChargeTerms,
    customer_id: UUID,
    subscription_id: UUID | None,
    starts_at: datetime,
    ends_at: datetime,
    snapshot: str | None = None,
) -> Basis:
    """
    Return what the charge needs beside the quantity of its meter: units by cell, an amount, or the events' totals.

    :param snapshot: read from the raw events what that reader saw; without one, what is there now
    :raises UsageQueryInvalid: if a price matrix looks at a property that the meter does not group by
    :raises EventAmountInvalid: if an event of a dynamic charge does not carry an amount
    :raises EngineError: if the values cannot be priced by these terms
    """
    need = basis_needed(terms)
    if need is BasisNeed.NOTHING:
        return NO_BASIS
    scope = usage_scope(
        meter=meter, customer_id=customer_id, subscription_id=subscription_id, starts_at=starts_at, ends_at=ends_at
    )
    is_by_cell = need is BasisNeed.UNITS_BY_CELL
    if is_by_cell and meter.aggregation in _JOINABLE:
        return _groups(meter, terms, scope, snapshot).basis
    properties = _matrix_properties(meter, terms) if is_by_cell else properties_needed(terms)
    with counted_events(
        meter=meter,
        scope=scope,
        snapshot=snapshot,
        properties=properties,
        names_events=need is BasisNeed.AMOUNT,
        carries_over=is_by_cell and meter.has_carry_over,
    ) as (_snapshot, events):
        return fold_basis(
            meter=meter, terms=terms, events=events, starts_at=scope["starts_at"], ends_at=scope["ends_at"]
        )


def usage_measure(
    *,
    meter: Meter,
    terms: ChargeTerms,
    customer_id: UUID,
    subscription_id: UUID | None,
    starts_at: datetime,
    ends_at: datetime,
) -> UsageMeasure:
    """
    Return quantity and basis of the very same events, whatever arrives between the statements.

    :raises UsageQueryInvalid: if a price matrix looks at a property that the meter does not group by
    :raises EventAmountInvalid: if an event of a dynamic charge does not carry an amount
    :raises EngineError: if the values cannot be priced by these terms
    """
    window: dict[str, Any] = {
        "meter": meter,
        "customer_id": customer_id,
        "subscription_id": subscription_id,
        "starts_at": starts_at,
        "ends_at": ends_at,
    }
    if basis_needed(terms) is BasisNeed.UNITS_BY_CELL and meter.aggregation in _JOINABLE:
        return _groups(meter, terms, usage_scope(**window), None)
    usage = usage_quantity(**window)
    return UsageMeasure(usage=usage, basis=usage_basis(**window, terms=terms, snapshot=usage.snapshot))


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
    """Return the first raw events that a meter counts in a window and snapshot, in the order in which they count."""
    scope = usage_scope(
        meter=meter, customer_id=customer_id, subscription_id=subscription_id, starts_at=starts_at, ends_at=ends_at
    )
    return list(UsageEvent.objects.raw(usage_sql.EVENTS_SAMPLE, {**scope, "snapshot": snapshot, "limit": limit}))


def _totalled_quantity(meter: Meter, row: Sequence[Any]) -> UsageQuantity:
    count, total, largest, snapshot = row
    exact = _joined(meter, total, largest)
    return usage_quantity_of(meter=meter, exact=exact, event_count=count, snapshot=str(snapshot))


def _joined(meter: Meter, total: Any, largest: Any) -> Decimal:
    """Return the aggregate that a total or a largest value is; what counts one each is a total, too."""
    return Decimal(largest if meter.aggregation == Aggregation.MAX else total)


def _folded_quantity(meter: Meter, scope: dict[str, Any], snapshot: str) -> UsageQuantity:
    window = {"starts_at": scope["starts_at"], "ends_at": scope["ends_at"]}
    with counted_events(meter=meter, scope=scope, snapshot=snapshot, carries_over=meter.has_carry_over) as (
        seen,
        events,
    ):
        return fold_quantity(meter=meter, events=events, snapshot=seen, **window)


def _groups(meter: Meter, terms: ChargeTerms, scope: dict[str, Any], snapshot: str | None) -> UsageMeasure:
    """Return quantity and units by cell of a meter whose groups can be joined: one statement for both."""
    asked = {**scope, "properties": list(_matrix_properties(meter, terms)), "snapshot": snapshot}
    rows = fetch_all(usage_sql.GROUPS if snapshot is None else usage_sql.GROUPS_FROM_EVENTS, asked)
    groups = [(texts, count, total, largest) for _snapshot, texts, count, total, largest in rows if texts is not None]
    whole = (
        sum(count for _texts, count, _total, _largest in groups),
        aggregate(aggregation=Aggregation.SUM, values=(total for _texts, _count, total, _largest in groups)),
        aggregate(aggregation=Aggregation.MAX, values=(largest for _texts, _count, _total, largest in groups)),
    )
    return UsageMeasure(
        usage=_totalled_quantity(meter, (*whole, snapshot if snapshot is not None else rows[0][0])),
        basis=fold_group_totals(
            meter=meter,
            terms=terms,
            totals=((texts, _joined(meter, total, largest)) for texts, _count, total, largest in groups),
        ),
    )


def _matrix_properties(meter: Meter, terms: ChargeTerms) -> tuple[str, ...]:
    """Return the properties of a price matrix; the totals, and so the quantity of now, know the meter's groups only."""
    properties = properties_needed(terms)
    for name in properties:
        if name not in meter.group_by:
            raise UsageQueryInvalid(
                f"Charge '{terms.code}' prices by '{name}', and meter '{meter.code}' version {meter.version} is not "
                f"grouped by it; it has {', '.join(meter.group_by) or 'none'}."
            )
    return properties
