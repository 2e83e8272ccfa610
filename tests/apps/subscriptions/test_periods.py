"""Periods as they are stored: whole where the anchor says so, whatever the clocks of the zone do."""

from datetime import UTC, datetime

import pytest

from apps.invoices.models import Invoice
from apps.subscriptions import selectors
from tests.builders import customers, plans, subscriptions

pytestmark = pytest.mark.django_db

# 02:30 in Berlin on the night when summer time ends: first in summer time, an hour later in winter time.
SUMMER_HALF_PAST_TWO = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
WINTER_HALF_PAST_TWO = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize("starts_at", [SUMMER_HALF_PAST_TWO, WINTER_HALF_PAST_TWO])
def test_a_start_in_the_repeated_hour_costs_a_whole_fee(tenant, starts_at):
    """The anchor is a wall time that names both instants; from either of them a month is a month, not 98.87."""
    plans.published_plan(code="flat", base_fee="99.00", base_fee_timing="advance", charges=[])
    clock = customers.test_clock(now_at=starts_at)
    customer = customers.customer(external_id="acme", timezone="Europe/Berlin", test_clock=clock)
    subscription = subscriptions.subscription(customer=customer, plan_code="flat", starts_at=starts_at)
    subscriptions.advance(clock, datetime(2027, 1, 1, tzinfo=UTC))
    stored = list(selectors.periods_of(subscription_id=subscription.id))
    assert [period.starts_at for period in stored] == [
        starts_at,
        datetime(2026, 11, 25, 1, 30, tzinfo=UTC),
        datetime(2026, 12, 25, 1, 30, tzinfo=UTC),
    ]
    assert all((p.full_starts_at, p.full_ends_at) == (p.starts_at, p.ends_at) for p in stored)
    assert list(Invoice.objects.order_by("id").values_list("total_minor", flat=True)) == [9_900] * 3
