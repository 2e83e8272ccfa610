"""Live usage of exact windows: what limits are judged by.

A counter is exact from the instant at which it is opened: intake and opening exclude each other, as intake and the
definition of a meter do, so no event is half-way in when the counter begins with what was there. From then on the
trigger of the events keeps it, in the transaction that accepts them.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from apps.common import ids, locks
from apps.common.db import fetch_all, unit_of_work
from apps.customers.models import Customer
from apps.engine.aggregation import Aggregation
from apps.metering import usage_counters_sql
from apps.metering.intake_terms import TERMS_LOCK
from apps.metering.models import Meter, UsageCounter
from apps.metering.usage_quantities import usage_quantity
from apps.metering.usage_tables_sql import NO_SUBSCRIPTION

# What a counter follows by itself; of the other aggregations it counts events only.
COUNTED: Final = (Aggregation.COUNT, Aggregation.SUM, Aggregation.MAX)
# No event may lie further ahead of its customer's clock than a day, whatever a tenant allows: a window beyond that is
# empty for sure.
_AHEAD_MAX: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterWindow:
    """Whose usage of what, from when until when; without a subscription, all of the customer's events count."""

    meter: Meter
    customer_id: UUID
    subscription_id: UUID | None
    starts_at: datetime
    ends_at: datetime

    @property
    def natural_key(self) -> tuple[UUID, UUID, UUID, datetime, datetime]:
        """Return what names the window."""
        whose = self.subscription_id or UUID(NO_SUBSCRIPTION)
        return (self.customer_id, self.meter.id, whose, self.starts_at, self.ends_at)


@unit_of_work
def usage_counters_open(*, windows: Sequence[CounterWindow], at: datetime) -> list[UUID]:
    """
    Return the ids of the counters of these windows, in their order, opening those that are not there yet.

    Windows that lie more than a day ahead are opened without stopping the intake; for the others, and for customers on
    a test clock, it is held until this unit of work ends, so open many at once and ahead of time.

    :raises django.db.OperationalError: if a batch that is being taken in does not end within LOCK_WAIT_MS_MAX
    """
    found = _counters_found(windows)
    missing = [window for window in windows if window.natural_key not in found]
    if any(window.starts_at - at <= _AHEAD_MAX for window in missing) or _is_any_on_test_clock(missing):
        locks.advisory_lock(TERMS_LOCK)
    # In the order of the key, because another opening may be writing the same ones.
    for window in sorted(missing, key=lambda window: window.natural_key):
        used = usage_quantity(
            meter=window.meter,
            customer_id=window.customer_id,
            subscription_id=window.subscription_id,
            starts_at=window.starts_at,
            ends_at=window.ends_at,
        )
        units = used.raw if window.meter.aggregation in COUNTED else Decimal(0)
        fetch_all(usage_counters_sql.OPEN, [ids.new_id(), *window.natural_key, units, used.event_count])
    found = _counters_found(windows)
    return [found[window.natural_key] for window in windows]


@unit_of_work
def usage_counters_close(*, counter_ids: Collection[UUID]) -> None:
    """Stop following windows that nobody asks about any more."""
    UsageCounter.objects.filter(counter_id__in=counter_ids).delete()


@unit_of_work
def usage_counters_lock(*, counter_ids: Collection[UUID]) -> dict[UUID, Decimal]:
    """
    Lock counters, in the order of their ids, and return what is used of each window.

    Until the unit of work ends nobody else adds to them: what is decided by them holds to the last unit.
    """
    return dict(fetch_all(usage_counters_sql.LOCK, [sorted(counter_ids)]))


def usage_counter_read(*, counter_id: UUID) -> Decimal:
    """Return what is used of a window, by its primary key."""
    ((used,),) = fetch_all(usage_counters_sql.READ, [counter_id])
    return Decimal(used)


def _is_any_on_test_clock(windows: Sequence[CounterWindow]) -> bool:
    # Such a clock may be anywhere, and a window far ahead of ours be full by it.
    customers = {window.customer_id for window in windows}
    return bool(customers) and Customer.objects.filter(id__in=customers, test_clock__isnull=False).exists()


def _counters_found(
    windows: Sequence[CounterWindow],
) -> dict[tuple[UUID, UUID, UUID, datetime, datetime], UUID]:
    customers = {window.customer_id for window in windows}
    return {
        (row.customer_id, row.meter_id, row.subscription_id, row.starts_at, row.ends_at): row.counter_id
        for row in UsageCounter.objects.filter(customer_id__in=customers)
    }
