"""Quantities from totals and edges equal the same fold over the raw events, whatever the window."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from apps.common.db import fetch_all
from apps.metering import selectors, usage_series
from apps.metering.errors import MeterUnknown, UsageQueryInvalid
from tests.builders import customers, metering, plans, subscriptions

pytestmark = pytest.mark.django_db

DAY = datetime(2026, 1, 10, tzinfo=UTC)


@pytest.fixture
def customer(tenant):
    return customers.customer(external_id="acme")


def window(meter, customer, starts_at, ends_at, subscription_id=None):
    scope = {
        "meter": meter,
        "customer_id": customer.id,
        "subscription_id": subscription_id,
        "starts_at": starts_at,
        "ends_at": ends_at,
    }
    usage = selectors.usage_quantity(**scope)
    again = selectors.usage_quantity_from_events(**scope, snapshot=usage.snapshot)
    assert (again.quantity, again.raw, again.event_count) == (usage.quantity, usage.raw, usage.event_count)
    return usage


def _minutes(customer, at, minutes, **overrides):
    batch = [
        metering.event(occurred_at=(DAY + timedelta(minutes=minute)).isoformat(), **overrides) for minute in minutes
    ]
    assert metering.send(*batch, at=at).accepted == len(minutes)


def test_a_window_of_any_instants_is_exact(customer, at):
    meter = metering.meter()
    _minutes(customer, at, range(0, 600, 7))
    for starts, ends in ((0, 600), (1, 599), (59, 61), (60, 120), (0, 60), (30, 31), (61, 119), (119, 181), (45, 45)):
        usage = window(meter, customer, DAY + timedelta(minutes=starts), DAY + timedelta(minutes=ends))
        assert usage.event_count == sum(1 for minute in range(0, 600, 7) if starts <= minute < ends), (starts, ends)
        assert usage.quantity == usage.event_count


def test_windows_that_tile_add_up_to_the_whole(customer, at):
    """S261: usage belongs to the time it occurred, half-open: no event is in two periods and none in neither."""
    meter = metering.meter()
    edges = [DAY, DAY + timedelta(hours=3, minutes=30), DAY + timedelta(hours=5), DAY + timedelta(hours=9, seconds=1)]
    _minutes(customer, at, [0, 209, 210, 211, 299, 300, 301, 540])
    parts = [window(meter, customer, a, b).event_count for a, b in zip(edges, edges[1:], strict=False)]
    assert parts == [2, 3, 3]
    assert sum(parts) == window(meter, customer, edges[0], edges[-1]).event_count


def test_sum_and_max_are_exact_and_filtered(customer, at):
    total = metering.meter(code="bytes", aggregation="sum", value_property="bytes")
    largest = metering.meter(code="peak", aggregation="max", value_property="bytes")
    europe = metering.meter(code="bytes_eu", aggregation="sum", value_property="bytes", filters={"region": "eu"})
    values = ["0.1", "0.2", "99999999999999999999", "0.000000000001"]
    batch = [
        metering.event(
            properties={"bytes": value, "region": region}, occurred_at=(DAY + timedelta(minutes=n)).isoformat()
        )
        for n, (value, region) in enumerate(zip(values, ("eu", "us", "us", "eu"), strict=True))
    ]
    assert metering.send(*batch, at=at).accepted == 4
    ends_at = DAY + timedelta(minutes=90)
    assert window(total, customer, DAY, ends_at).raw == Decimal("99999999999999999999.300000000001")
    assert window(largest, customer, DAY, ends_at).raw == Decimal("99999999999999999999")
    assert window(europe, customer, DAY, ends_at).raw == Decimal("0.100000000001")
    assert window(largest, customer, ends_at, ends_at + timedelta(days=1)).raw == 0


def test_unit_rounding_is_applied_once_after_aggregation(customer, at):
    gigabytes = metering.meter(
        code="gb",
        aggregation="sum",
        value_property="bytes",
        rounding={"mode": "ceil", "precision": 0, "divide_by": "1000000000"},
    )
    metering.send(*[metering.event(properties={"bytes": "300000001"}) for _ in range(10)], at=at)
    usage = window(gigabytes, customer, DAY, DAY + timedelta(days=1))
    assert (usage.raw, usage.quantity, usage.event_count) == (Decimal(3_000_000_010), Decimal(4), 10)


def test_an_event_without_subscription_counts_for_each_and_a_named_one_for_its_own(customer, at):
    meter = metering.meter()
    plans.published_plan(code="basic", base_fee="1.00")
    plans.published_plan(code="plain", base_fee="1.00", charges=[])
    one = subscriptions.subscription(customer=customer, plan_code="basic", external_id="one")
    two = subscriptions.subscription(customer=customer, plan_code="plain", external_id="two")
    metering.send(
        metering.event(), metering.event(subscription="one"), metering.event(subscription=two.public_id), at=at
    )
    ends_at = DAY + timedelta(hours=23, minutes=30)
    counts = [
        window(meter, customer, DAY, ends_at, subscription_id).event_count for subscription_id in (one.id, two.id, None)
    ]
    assert counts == [2, 2, 3]


def test_other_customers_and_types_are_not_counted(customer, at):
    meter = metering.meter()
    other = customers.customer(external_id="other")
    metering.send(metering.event(), metering.event(customer="other"), metering.event(type="unmetered"), at=at)
    assert window(meter, customer, DAY, DAY + timedelta(days=1)).event_count == 1
    assert window(meter, other, DAY, DAY + timedelta(days=1)).event_count == 1


def test_a_retired_version_goes_on_counting_for_the_plans_sold_with_it(customer, at):
    first = metering.meter(aggregation="sum", value_property="bytes")
    second = metering.meter(aggregation="sum", value_property="size")
    result = metering.send(
        metering.event(properties={"bytes": "2", "size": "3"}), metering.event(properties={"size": "4"}), at=at
    )
    assert result.accepted == 2
    assert window(first, customer, DAY, DAY + timedelta(days=1)).raw == 2
    assert window(second, customer, DAY, DAY + timedelta(days=1)).raw == 7
    assert selectors.aggregates_compare(limit=5) == []


LEFT_OUT = ["abc", True, ["1"], {"a": 1}, "1e5", "", "1.", " 1", "1\n", "9" * 21, "-3", -1]
COUNTED = ["2", 2, "2.0", "002", "2.000000000000"]


@pytest.mark.parametrize("value", [*LEFT_OUT, *COUNTED, "-0", "-0.00", None], ids=repr)
def test_a_retired_version_never_stops_what_its_successor_accepts(customer, at, value):
    """What it cannot add up is left out of it, by the totals, by both readings and by the comparison alike."""
    retired = metering.meter(aggregation="sum", value_property="bytes")
    current = metering.meter(aggregation="sum", value_property="size")
    result = metering.send(metering.event(properties={"bytes": value, "size": "4"}), at=at)
    assert result.accepted == 1
    counted = window(retired, customer, DAY, DAY + timedelta(days=1))
    edge = window(retired, customer, DAY, DAY + timedelta(hours=12, minutes=30))
    assert counted.raw == edge.raw == (2 if value in COUNTED else 0)
    is_counted = value is not None and value not in LEFT_OUT
    assert counted.event_count == edge.event_count == (1 if is_counted else 0)
    assert window(current, customer, DAY, DAY + timedelta(days=1)).raw == 4
    assert selectors.aggregates_compare(limit=5) == []


@pytest.mark.parametrize(
    "value", [*LEFT_OUT, *COUNTED, "-0", "-0.00", 1e-7, 1.5, 10**20, 10**19, "0.0000000000001"], ids=repr
)
def test_what_a_current_version_accepts_is_counted(customer, at, value):
    """The check at the door and the database's own predicate are one: accepted means counted, and nothing between."""
    meter = metering.meter(aggregation="sum", value_property="bytes")
    sent = [metering.event(properties={"bytes": value}), metering.event(quantity=value)]
    accepted = sum(metering.send(event, at=at).accepted for event in sent)
    assert window(meter, customer, DAY, DAY + timedelta(days=1)).event_count == accepted


def test_series_by_hour_day_month_and_group(customer, at):
    meter = metering.meter(code="by_region", aggregation="sum", value_property="bytes", group_by=["region", "tier"])
    for minute, region, tier in ((10, "eu", 1), (70, "eu", 2), (80, "us", 1), (1_500, "eu", 1)):
        occurred_at = (DAY + timedelta(minutes=minute)).isoformat()
        properties = {"bytes": "10", "region": region, "tier": tier}
        metering.send(metering.event(occurred_at=occurred_at, properties=properties), at=at)

    def series(granularity, *group_by, starts=0, ends=48 * 60):
        buckets = selectors.usage_series(
            meter=meter,
            customer_id=customer.id,
            starts_at=DAY + timedelta(minutes=starts),
            ends_at=DAY + timedelta(minutes=ends),
            granularity=granularity,
            group_by=group_by,
        )
        return [(bucket.starts_at, dict(bucket.group), bucket.quantity) for bucket in buckets]

    hour, day = timedelta(hours=1), timedelta(days=1)
    assert series("hour") == [(DAY, {}, 10), (DAY + hour, {}, 20), (DAY + day + hour, {}, 10)]
    assert series("day") == [(DAY, {}, 30), (DAY + day, {}, 10)]
    assert series("month", "region") == [
        (datetime(2026, 1, 1, tzinfo=UTC), {"region": "eu"}, 30),
        (datetime(2026, 1, 1, tzinfo=UTC), {"region": "us"}, 10),
    ]
    assert series("day", starts=75, ends=85) == [(DAY, {}, 10)]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"granularity": "week"}, "granularity_unknown"),
        ({"group_by": ["colour"]}, "group_unknown"),
        ({"ends_at": DAY}, "window_empty"),
        ({"granularity": "hour", "ends_at": DAY + timedelta(days=4_000)}, "window_too_long"),
    ],
)
def test_a_question_that_cannot_be_answered_is_refused_by_name(customer, wrong, code):
    meter = metering.meter()
    question = {"granularity": "day", "starts_at": DAY, "ends_at": DAY + timedelta(days=1), **wrong}
    with pytest.raises(UsageQueryInvalid) as caught:
        selectors.usage_series(meter=meter, customer_id=customer.id, **question)
    assert [problem.code for problem in caught.value.problems] == [code]


def test_comparison_finds_a_total_that_was_tampered_with(customer, at):
    metering.meter()
    metering.send(metering.event(), at=at)
    assert selectors.aggregates_compare(limit=5) == []
    # Whoever owns the table can switch its guards off; that is what the comparison is for.
    fetch_all("ALTER TABLE metering_usageaggregate DISABLE TRIGGER USER")
    fetch_all("UPDATE metering_usageaggregate SET event_count = 7")
    (difference,) = selectors.aggregates_compare(limit=5)
    assert difference.customer_id == customer.id
    assert (difference.rebuilt[0], difference.stored[0]) == (1, 7)
    fetch_all("DELETE FROM metering_usageaggregate")
    assert "events give (1" in str(selectors.aggregates_compare(limit=5)[0])


def test_comparison_looks_from_the_hour_of_an_instant_on(customer, at):
    metering.meter()
    early, late = "2026-01-09T23:59:59Z", "2026-01-10T00:10:00Z"
    metering.send(metering.event(occurred_at=early), metering.event(occurred_at=late), at=at)
    assert selectors.aggregates_compare(limit=5, since=DAY + timedelta(minutes=30)) == []
    fetch_all("ALTER TABLE metering_usageaggregate DISABLE TRIGGER USER")
    fetch_all("UPDATE metering_usageaggregate SET event_count = 7")
    for since, count in ((None, 2), (DAY - timedelta(minutes=1), 2), (DAY + timedelta(minutes=30), 1)):
        assert len(selectors.aggregates_compare(limit=5, since=since)) == count
    assert selectors.aggregates_compare(limit=5, since=DAY + timedelta(hours=1)) == []


def test_a_series_that_groups_make_too_long_is_refused(customer, at, monkeypatch):
    meter = metering.meter(group_by=["region"])
    metering.send(*[metering.event(properties={"region": f"r{n}"}) for n in range(4)], at=at)
    question = {"meter": meter, "customer_id": customer.id, "starts_at": DAY, "ends_at": DAY + timedelta(days=1)}
    monkeypatch.setattr(usage_series, "BUCKETS_MAX", 3)
    assert len(selectors.usage_series(**question, granularity="day")) == 1
    with pytest.raises(UsageQueryInvalid) as caught:
        selectors.usage_series(**question, granularity="day", group_by=["region"])
    assert [problem.code for problem in caught.value.problems] == ["answer_too_long"]


def test_meters_are_found_by_id_and_code(tenant):
    old = metering.meter()
    new = metering.meter(filters={"region": "eu"})
    assert selectors.meter_by_reference("api_calls") == new
    assert selectors.meter_by_reference(old.public_id) == old
    for unknown in ("nothing", "mtr_zzz", "a\0b"):
        with pytest.raises(MeterUnknown):
            selectors.meter_by_reference(unknown)


def test_times_are_stored_and_returned_in_utc(customer, at):
    """S064: whatever offset a producer sends, the instant is kept; the column itself is timezone-aware."""
    meter = metering.meter()
    metering.send(metering.event(occurred_at="2026-01-11T00:30:00.5+05:30"), at=at)
    (event,) = selectors.usage_events_sample(
        meter=meter,
        customer_id=customer.id,
        subscription_id=None,
        starts_at=DAY,
        ends_at=DAY + timedelta(days=1),
        snapshot=selectors.usage_quantity(
            meter=meter, customer_id=customer.id, subscription_id=None, starts_at=DAY, ends_at=DAY
        ).snapshot,
        limit=5,
    )
    assert event.occurred_at == datetime(2026, 1, 10, 19, 0, 0, 500_000, tzinfo=UTC)
    assert event.occurred_at.utcoffset() == timedelta(0)
    types = fetch_all(
        "SELECT DISTINCT data_type FROM information_schema.columns WHERE table_schema = current_schema() "
        "AND table_name LIKE 'metering_usage%' AND column_name IN ('occurred_at', 'received_at', 'hour')"
    )
    assert types == [("timestamp with time zone",)]
