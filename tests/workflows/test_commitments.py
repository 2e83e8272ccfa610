"""How a commitment stands while its period runs, and that it ends as it was shown."""

from datetime import UTC, datetime, timedelta

import pytest

from apps.invoices.models import InvoiceLine
from apps.subscriptions.models import Subscription
from apps.workflows import commitments
from apps.workflows.errors import CommitmentMissing
from tests.builders import customers, metering, plans, subscriptions

pytestmark = pytest.mark.django_db

APRIL = datetime(2026, 4, 1, tzinfo=UTC)
MID_APRIL = datetime(2026, 4, 16, tzinfo=UTC)
MAY = datetime(2026, 5, 1, tzinfo=UTC)
PER_CALL = [{"code": "api_calls", "meter": "api_calls", "model": "per_unit", "unit_rate": "1.00"}]


def _subscribed(**document):
    metering.meter(code="api_calls", event_type="api.call")
    plans.published_plan(code="plan", base_fee=None, charges=PER_CALL, **document)
    clock = customers.test_clock(now_at=APRIL)
    customer = customers.customer(external_id="acme", test_clock=clock)
    return clock, subscriptions.subscription(customer=customer, plan_code="plan", starts_at=APRIL)


def _seen_now(subscription: Subscription) -> Subscription:
    """Return the row as a request reads it: its customer's clock has moved since."""
    return Subscription.objects.select_related("customer__test_clock").get(id=subscription.id)


@pytest.mark.parametrize(
    "document",
    [
        {"minimum_commitment": "100.00", "examples": [{"usage": {}, "total": "100.00"}]},
        {"commitment": {"amount": "100.00"}, "examples": [{"usage": {}, "total": "100.00"}]},
    ],
    ids=["minimum", "commitment"],
)
def test_the_accrual_at_the_end_is_the_true_up_that_is_billed(tenant, document):
    """I33: 20 of 100.00 drawn by the middle of April: 30.00 accrued then, 80.00 at the end, 80.00 on the invoice."""
    clock, subscription = _subscribed(**document)
    metering.events(customer="acme", event_type="api.call", count=20, occurred_at=APRIL, at=APRIL + timedelta(hours=1))
    subscriptions.advance(clock, MID_APRIL)
    status = commitments.commitment_status(subscription=_seen_now(subscription), at=MID_APRIL)
    assert (status.committed_minor, status.drawn_minor, status.remaining_minor) == (100_00, 20_00, 80_00)
    assert (status.true_up_minor, status.accrued_minor) == (80_00, 30_00)
    subscriptions.advance(clock, MAY - timedelta(microseconds=1))
    last = commitments.commitment_status(subscription=_seen_now(subscription), at=clock.now_at)
    # A microsecond of a month is less than a cent, and parts of a cent are left out.
    assert last.accrued_minor == last.true_up_minor - 1
    subscriptions.advance(clock, MAY + timedelta(days=2))
    assert InvoiceLine.objects.get(code="minimum_commitment", service_starts_at=APRIL).net_minor == last.true_up_minor


def test_what_is_met_accrues_nothing(tenant):
    clock, subscription = _subscribed(minimum_commitment="10.00", examples=[{"usage": {}, "total": "10.00"}])
    metering.events(customer="acme", event_type="api.call", count=20, occurred_at=APRIL, at=APRIL + timedelta(hours=1))
    subscriptions.advance(clock, MID_APRIL)
    status = commitments.commitment_status(subscription=_seen_now(subscription), at=MID_APRIL)
    assert (status.remaining_minor, status.true_up_minor, status.accrued_minor) == (0, 0, 0)


def test_a_plan_without_a_commitment_has_no_status(tenant):
    _clock, subscription = _subscribed()
    with pytest.raises(CommitmentMissing):
        commitments.commitment_status(subscription=_seen_now(subscription), at=APRIL)
