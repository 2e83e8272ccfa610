"""Rollups and counters follow the events and their cancellations, whatever comes in which order."""

import itertools
from datetime import timedelta

import pytest
from django.db import DatabaseError, IntegrityError, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.common import ids
from apps.common.db import fetch_all
from apps.engine.unit_rounding import quantity_decimal
from apps.metering import selectors, usage_counters
from apps.metering.models import UsageAggregate, UsageCancellation, UsageCounter, UsageEvent
from tests.apps.metering.readings import DAY, bounds, drawn_events, expected, meters_of_every_kind
from tests.builders import customers, metering

pytestmark = pytest.mark.django_db

_numbers = itertools.count(1)
drawn = settings(
    max_examples=20,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
def meters(tenant):
    return meters_of_every_kind()


@drawn
@given(events=drawn_events, window=bounds, cancelled=st.sets(st.integers(0, 30)), early=st.integers(0, 30))
def test_what_stands_is_what_counts(meters, at, *, events, window, cancelled, early):
    """S081: after cancellations every reading of every aggregation is the fold of the events that stand."""
    customer = customers.customer(external_id=f"stands-{next(_numbers)}")
    is_window = window[0] < window[1]
    sent = [
        metering.event(customer=customer.external_id, id=f"{customer.external_id}-{number}", **event.document())
        for number, event in enumerate(events)
    ]
    for part, batch in enumerate((sent[:early], sent[early:])):
        assert not batch or metering.send(*batch, at=at.replace(second=part)).accepted == len(batch)
        if part == 0 and is_window:
            # Opened between two batches: it begins with the first and is kept through the second.
            usage_counters.usage_counters_open(windows=metering.counter_windows(meters, customer, window), at=at)
    names = {f"{customer.external_id}-{number}" for number in cancelled}
    metering.cancel(UsageEvent.objects.filter(customer_id=customer.id, event_id__in=names), at)
    standing = [event for number, event in enumerate(events) if number not in cancelled]
    for meter in meters:
        scope = {
            "meter": meter,
            "customer_id": customer.id,
            "subscription_id": None,
            "starts_at": window[0],
            "ends_at": window[1],
        }
        usage = selectors.usage_quantity(**scope)
        assert usage.raw == quantity_decimal(expected(meter, standing, *window)), meter.code
        again = selectors.usage_quantity_from_events(**scope, snapshot=usage.snapshot)
        assert (again.raw, again.event_count) == (usage.raw, usage.event_count), meter.code
        counter = UsageCounter.objects.filter(customer_id=customer.id, meter_id=meter.id).first()
        if counter is not None:
            assert counter.used_units == usage.raw, meter.code
    assert selectors.aggregates_compare(limit=1, customer_id=customer.id) == []


def test_what_is_carried_into_an_empty_window_is_there_in_the_middle_of_an_hour(meters, at):
    """Found by drawing: an empty window has no edges of its own, and what came before it has one."""
    customer = customers.customer(external_id="carried")
    document = {"properties": {"value": "7", "delta": "1", "user": "a", "op": "add"}, "type": "drawn.call"}
    event = metering.event(customer="carried", occurred_at=DAY.isoformat(), **document)
    assert metering.send(event, at=at).accepted == 1
    kept = next(meter for meter in meters if meter.aggregation == "unique_count" and meter.has_carry_over)
    instant = DAY + timedelta(microseconds=1)
    usage = selectors.usage_quantity(
        meter=kept, customer_id=customer.id, subscription_id=None, starts_at=instant, ends_at=instant
    )
    assert usage.raw == 1


def test_a_total_whose_events_are_all_cancelled_begins_anew(meters, at):
    customer = customers.customer(external_id="emptied")
    document = {"properties": {"value": "7", "delta": "1", "user": "a", "op": "add"}, "type": "drawn.call"}
    first = metering.event(customer="emptied", occurred_at=DAY.isoformat(), **document)
    assert metering.send(first, at=at).accepted == 1
    metering.cancel(UsageEvent.objects.filter(customer_id=customer.id), at)
    assert set(UsageAggregate.objects.filter(customer_id=customer.id).values_list("event_count", flat=True)) == {0}
    document["properties"] = {**document["properties"], "value": "9"}
    second = metering.event(customer="emptied", occurred_at=DAY.isoformat(), **document)
    assert metering.send(second, at=at).accepted == 1
    smallest = next(meter for meter in meters if meter.aggregation == "min")
    usage = selectors.usage_quantity(
        meter=smallest, customer_id=customer.id, subscription_id=None, starts_at=DAY, ends_at=DAY + timedelta(hours=1)
    )
    assert usage.raw == 9
    assert metering.send(first, at=at).duplicates == 1, "the id of a cancelled event stays taken"


def test_a_cancellation_names_an_event_and_stays(meters, at):
    customers.customer(external_id="acme")
    unknown = UsageEvent(event_key=ids.new_id(), customer_id=ids.new_id(), type="drawn.call", occurred_at=DAY)
    with pytest.raises(IntegrityError, match="an event that is not there"), transaction.atomic():
        metering.cancel([unknown], at)
    assert not UsageCancellation.objects.exists()
    event = metering.event(
        type="drawn.call",
        occurred_at=DAY.isoformat(),
        properties={"value": "7", "delta": "1", "user": "a", "op": "add"},
    )
    assert metering.send(event, at=at).accepted == 1
    metering.cancel(UsageEvent.objects.filter(type="drawn.call"), at)
    for statement in ("DELETE FROM metering_usagecancellation", "UPDATE metering_usagecancellation SET type = 'x'"):
        with pytest.raises(DatabaseError, match="only grow"), transaction.atomic():
            fetch_all(statement)
    for statement in ("DELETE FROM metering_usagelast", "UPDATE metering_usagecounter SET used_units = 0"):
        with pytest.raises(DatabaseError, match="follow the events"), transaction.atomic():
            fetch_all(statement)


def test_comparison_finds_a_last_reading_and_a_counter_that_were_tampered_with(meters, at):
    """S085: whatever is derived is made anew from raw events and laid beside what is stored."""
    customer = customers.customer(external_id="acme")
    event = metering.event(
        type="drawn.call",
        occurred_at=DAY.isoformat(),
        properties={"value": "7", "delta": "1", "user": "a", "op": "add"},
    )
    assert metering.send(event, at=at).accepted == 1
    window = (DAY, DAY + timedelta(days=1))
    usage_counters.usage_counters_open(windows=metering.counter_windows(meters, customer, window), at=at)
    assert selectors.aggregates_compare(limit=9) == []
    for table, change in (
        ("metering_usagelast", "UPDATE metering_usagelast SET value = value + 1"),
        ("metering_usagecounter", "UPDATE metering_usagecounter SET used_units = used_units + 1"),
    ):
        fetch_all(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        fetch_all(change)
        fetch_all(f"ALTER TABLE {table} ENABLE TRIGGER USER")
    kinds = {difference.kind for difference in selectors.aggregates_compare(limit=99)}
    assert kinds == {"last reading", "counter"}


def test_an_event_may_stand_for_many(tenant, at):
    """S046: one in a hundred is sent and counts as a hundred; what is not sampled counts as one."""
    customer = customers.customer(external_id="acme")
    counted = metering.meter(code="calls", event_type="weighed.call", weight_property="weight")
    summed = metering.meter(
        code="bytes",
        event_type="weighed.call",
        aggregation="sum",
        value_property="bytes",
        weight_property="weight",
    )
    batch = [
        metering.event(type="weighed.call", occurred_at=DAY.isoformat(), properties={"bytes": "5", "weight": "100"}),
        metering.event(type="weighed.call", occurred_at=DAY.isoformat(), properties={"bytes": "2.5"}),
    ]
    assert metering.send(*batch, at=at).accepted == 2
    for meter, units in ((counted, 101), (summed, 502.5)):
        scope = {
            "meter": meter,
            "customer_id": customer.id,
            "subscription_id": None,
            "starts_at": DAY,
            "ends_at": DAY + timedelta(days=1),
        }
        usage = selectors.usage_quantity(**scope)
        assert usage.raw == units
        assert selectors.usage_quantity_from_events(**scope, snapshot=usage.snapshot).raw == units
    assert selectors.aggregates_compare(limit=1) == []
