"""What only real commits show: snapshots, and meters defined between events."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from apps.metering import selectors
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
