"""What a subscription may use in the period that runs."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from apps.common.actors import OPERATOR
from apps.plans.features import NOT_GRANTED
from apps.subscriptions import changes
from apps.subscriptions.features import feature_granted
from apps.subscriptions.inputs import TermsChange, When
from tests.builders import customers, metering, plans, subscriptions

pytestmark = pytest.mark.django_db

APRIL = datetime(2026, 4, 1, tzinfo=UTC)
MID_APRIL = datetime(2026, 4, 16, tzinfo=UTC)
MAY = datetime(2026, 5, 1, tzinfo=UTC)


def _limit(units: str, *, prorate: bool) -> dict[str, object]:
    return {"limit": units, "meter": "api_calls", "on_exceed": "reject"} | ({"prorate": True} if prorate else {})


@pytest.fixture
def world(tenant):
    """A customer that moved in the middle of April from 1,000 calls to 5,000, and from 3 seats to 9."""
    metering.meter(code="api_calls", event_type="api.call")
    for code, calls, seats in (("small", "1000", "3"), ("big", "5000", "9")):
        features = {"api_calls": _limit(calls, prorate=True), "seats": {"limit": seats}}
        plans.published_plan(code=code, base_fee="10.00", charges=[], features=features)
    clock = customers.test_clock(now_at=APRIL)
    customer = customers.customer(external_id="acme", test_clock=clock)
    subscription = subscriptions.subscription(customer=customer, plan_code="small", starts_at=APRIL)
    subscriptions.advance(clock, MID_APRIL)
    changes.subscription_change(
        subscription_id=subscription.id, wanted=TermsChange(plan_code="big"), when=When(), actor=OPERATOR, at=MID_APRIL
    )
    subscriptions.advance(clock, MAY + timedelta(days=1))
    return subscription


def test_caps_are_prorated_like_fees(world):
    """S107: half of April has half of each plan's calls; seats are there or not, and a whole May has all."""
    moments = (APRIL, MID_APRIL, MAY)
    calls = [feature_granted(subscription=world, feature_code="api_calls", at=at).limit_units for at in moments]
    seats = [feature_granted(subscription=world, feature_code="seats", at=at).limit_units for at in moments]
    assert calls == [Decimal(500), Decimal(2500), Decimal(5000)]
    assert seats == [Decimal(3), Decimal(9), Decimal(9)]


def test_outside_of_all_periods_nothing_is_granted(world):
    assert feature_granted(subscription=world, feature_code="api_calls", at=APRIL - timedelta(days=1)) == NOT_GRANTED


def test_a_clock_that_stands_still_grants_nothing(world):
    changes.subscription_pause(
        subscription_id=world.id,
        mode="freeze",
        when=When(),
        resume_at=None,
        actor=OPERATOR,
        at=MAY + timedelta(hours=1),
    )
    at = MAY + timedelta(hours=2)
    assert feature_granted(subscription=world, feature_code="seats", at=at) == NOT_GRANTED
