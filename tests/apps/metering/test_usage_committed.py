"""What only real commits show: snapshots, and meters defined between events."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from apps.metering import selectors
from tests.apps.metering.readings import TYPE, meters_of_every_kind
from tests.apps.metering.test_usage_properties import BY_REGION
from tests.apps.metering.test_usage_reads import window
from tests.builders import customers, metering

pytestmark = pytest.mark.races

DAY = datetime(2026, 1, 10, tzinfo=UTC)


def test_late_events_are_not_in_the_snapshot_of_an_earlier_reading(committed_tenant, at):
    meter = metering.meter(code="snap", event_type="snap.call")
    customer = customers.customer(external_id="snap")
    scope = {
        "meter": meter,
        "customer_id": customer.id,
        "subscription_id": None,
        "starts_at": DAY,
        "ends_at": DAY + timedelta(days=1),
    }
    metering.send(metering.event(customer="snap", type="snap.call"), at=at)
    before = selectors.usage_quantity(**scope)
    metering.send(metering.event(customer="snap", type="snap.call"), at=at)
    assert selectors.usage_quantity(**scope).event_count == 2
    assert selectors.usage_quantity_from_events(**scope, snapshot=before.snapshot).event_count == 1
    assert len(selectors.usage_events_sample(**scope, snapshot=before.snapshot, limit=10)) == 1


def test_a_meter_counts_from_its_definition_on_in_totals_and_raw_reading_alike(committed_tenant, at):
    customer = customers.customer(external_id="since")
    metering.send(metering.event(customer="since", type="since.call", properties={"size": "x"}), at=at)
    meter = metering.meter(code="since", event_type="since.call", aggregation="sum", value_property="size")
    metering.send(metering.event(customer="since", type="since.call", properties={"size": "5"}), at=at)
    usage = window(meter, customer, DAY + timedelta(minutes=1), DAY + timedelta(hours=13, minutes=1))
    assert (usage.raw, usage.event_count) == (Decimal(5), 1)
    assert selectors.aggregates_compare(limit=5, customer_id=customer.id) == []


def test_every_aggregation_is_proven_by_the_snapshot_of_its_first_reading(committed_tenant, at):
    """Late events, also of the time that is carried over, change what is there now and never what was read then."""
    meters = meters_of_every_kind()
    customer = customers.customer(external_id="proof")
    scopes = [
        {
            "meter": meter,
            "customer_id": customer.id,
            "subscription_id": None,
            "starts_at": DAY + timedelta(hours=3, minutes=20),
            "ends_at": DAY + timedelta(hours=20, minutes=40),
        }
        for meter in meters
    ]

    def send(hour, value, user, region):
        properties = {"value": value, "delta": value, "user": user, "op": "add", "region": region}
        occurred_at = (DAY + timedelta(hours=hour)).isoformat()
        event = metering.event(customer="proof", type=TYPE, occurred_at=occurred_at, properties=properties)
        assert metering.send(event, at=at).accepted == 1

    for hour, value, user, region in ((1, "4", "a", "eu"), (5, "2", "b", "us"), (9, "6", "c", "eu")):
        send(hour, value, user, region)
    before = [selectors.usage_measure(**scope, terms=BY_REGION) for scope in scopes]
    for hour, value, user, region in ((2, "1", "d", "us"), (7, "1.5", "e", "us"), (20.5, "9", "f", "eu")):
        send(hour, value, user, region)
    for scope, measure in zip(scopes, before, strict=True):
        meter, snapshot = scope["meter"], measure.usage.snapshot
        again = selectors.usage_quantity_from_events(**scope, snapshot=snapshot)
        assert (again.raw, again.event_count) == (measure.usage.raw, 2), meter.code
        assert selectors.usage_basis(**scope, terms=BY_REGION, snapshot=snapshot) == measure.basis, meter.code
        now = selectors.usage_measure(**scope, terms=BY_REGION)
        assert (now.usage.event_count, now.basis != measure.basis) == (4, True), meter.code
