"""Where a window of usage begins and ends, and that its totals are there as soon as the events are."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from apps.common.db import fetch_all
from apps.metering import selectors as metering_selectors
from apps.metering import usage_counters
from apps.metering.models import UsageCounter
from apps.subscriptions import selectors as subscription_selectors
from tests.builders import customers, metering, plans, subscriptions

pytestmark = pytest.mark.django_db

JANUARY = datetime(2026, 1, 1, tzinfo=UTC)
STARTS_AT = datetime(2026, 1, 15, 9, tzinfo=UTC)
PER_CALL = [{"code": "api_calls", "meter": "api_calls", "model": "per_unit", "unit_rate": "1.00"}]


def _quantity(meter, customer, starts_at: datetime, ends_at: datetime) -> Decimal:
    usage = metering_selectors.usage_quantity(
        meter=meter, customer_id=customer.id, subscription_id=None, starts_at=starts_at, ends_at=ends_at
    )
    return usage.quantity


def test_totals_are_there_in_the_transaction_that_accepts(tenant):
    """S053, S056: a limit that reads right after the answer sees what was answered, event by event."""
    meter = metering.meter()
    customer = customers.customer(external_id="acme")
    seen = []
    for number in range(3):
        metering.events(customer="acme", occurred_at=JANUARY, at=JANUARY + timedelta(hours=1), prefix=f"e{number}")
        seen.append(_quantity(meter, customer, JANUARY, JANUARY + timedelta(days=1)))
    assert seen == [1, 2, 3]


def test_one_total_per_customer_meter_and_hour(tenant):
    """S059, S055: the key of a total is fixed, so a hundred events of an hour make one row that grows."""
    metering.meter()
    customers.customer(external_id="acme")
    for batch in range(4):
        moment = JANUARY + timedelta(minutes=batch)
        metering.events(
            customer="acme", count=25, occurred_at=moment, at=JANUARY + timedelta(hours=1), prefix=f"b{batch}"
        )
    assert fetch_all("SELECT event_count, value_sum FROM metering_usageaggregate") == [(100, 100)]


def test_the_period_of_a_subscription_is_followed_live(tenant):
    """S054: one row by customer, subscription, meter and period; other periods and subscriptions leave it alone."""
    meter = metering.meter(aggregation="sum", value_property="n", group_by=["region"])
    plans.published_plan(code="mine", base_fee=None, charges=PER_CALL)
    plans.published_plan(code="other", charges=[])
    customer = customers.customer(external_id="acme")
    mine, _other = (
        subscriptions.subscription(customer=customer, plan_code=name, external_id=name, starts_at=JANUARY)
        for name in ("mine", "other")
    )
    starts_at, ends_at = JANUARY, JANUARY + timedelta(days=31)
    window = usage_counters.CounterWindow(
        meter=meter, customer_id=customer.id, subscription_id=mine.id, starts_at=starts_at, ends_at=ends_at
    )
    (counter_id,) = usage_counters.usage_counters_open(windows=[window], at=JANUARY)
    sent = [
        (starts_at, {"n": "1", "region": "eu"}, "mine"),
        (starts_at + timedelta(days=1), {"n": "2", "region": "us"}, None),
        (starts_at + timedelta(days=1), {"n": "4"}, "other"),
        (starts_at - timedelta(microseconds=1), {"n": "8"}, "mine"),
        (ends_at - timedelta(microseconds=1), {"n": "16"}, "mine"),
        (ends_at, {"n": "32"}, "mine"),
    ]
    batch = [
        metering.event(occurred_at=moment.isoformat(), properties=properties, subscription=subscription)
        for moment, properties, subscription in sent
    ]
    assert metering.send(*batch, at=ends_at).accepted == len(batch)
    assert usage_counters.usage_counter_read(counter_id=counter_id) == 19
    rows = UsageCounter.objects.filter(customer_id=customer.id)
    assert [(row.subscription_id, row.event_count) for row in rows] == [(mine.id, 3)]


@pytest.mark.parametrize(
    ("interval", "days"),
    [
        ({"unit": "month", "count": 1}, 31),
        ({"unit": "year", "count": 1}, 365),
        ({"unit": "day", "count": 10}, 10),
        ({"unit": "week", "count": 2}, 14),
    ],
    ids=["monthly", "annual", "ten days", "two weeks"],
)
def test_windows_are_the_periods_of_the_subscription(tenant, interval, days):
    """S060 S061: the window begins with the subscription, on the 15th at nine, and is as long as the plan says."""
    meter = metering.meter()
    plans.published_plan(code="plan", base_fee=None, charges=PER_CALL, interval=interval)
    customer = customers.customer(external_id="acme")
    subscription = subscriptions.subscription(customer=customer, plan_code="plan", starts_at=STARTS_AT)
    period = subscription_selectors.last_period(subscription_id=subscription.id)
    assert (period.starts_at, period.ends_at) == (STARTS_AT, STARTS_AT + timedelta(days=days))
    # One event on each side of either bound: the start belongs to the window, the end to the next one.
    instant = timedelta(microseconds=1)
    moments = (period.starts_at - instant, period.starts_at, period.ends_at - instant, period.ends_at)
    for number, moment in enumerate(moments):
        metering.events(customer="acme", occurred_at=moment, at=moment + timedelta(seconds=1), prefix=f"e{number}")
    assert _quantity(meter, customer, period.starts_at, period.ends_at) == 2


def test_a_total_that_drifted_is_found_by_its_raw_events(tenant):
    """S057: the counter is there at once, the raw events have the last word, and their difference is measured."""
    meter = metering.meter()
    customer = customers.customer(external_id="acme")
    metering.events(customer="acme", count=3, occurred_at=JANUARY, at=JANUARY + timedelta(hours=1))
    assert metering_selectors.aggregates_compare(limit=5) == []
    # What no way of writing can do, because its trigger refuses: as if a disk had.
    fetch_all("SET CONSTRAINTS ALL IMMEDIATE")
    fetch_all("ALTER TABLE metering_usageaggregate DISABLE TRIGGER USER")
    fetch_all("UPDATE metering_usageaggregate SET event_count = 7")
    [difference] = metering_selectors.aggregates_compare(limit=5)
    assert (difference.customer_id, difference.meter_id) == (customer.id, meter.id)
    assert (difference.rebuilt[0], difference.stored[0]) == (3, 7)
