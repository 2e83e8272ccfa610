"""Whatever comes late and in whatever order: what is billed and adjusted is the price of all that was used."""

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.common import ids
from apps.common.actors import OPERATOR
from apps.common.db import fetch_all
from apps.invoices.adjustment_models import Adjustment
from apps.metering import late_usage
from apps.metering.late_usage import LatePolicyInput
from apps.metering.models import LateUsage, UsageEvent
from apps.workflows import drafting, late_settlement, rerating
from tests.builders import customers, discounts, metering, plans, subscriptions
from tests.builders import late_usage as late
from tests.builders.late_usage import FEBRUARY, JANUARY

pytestmark = pytest.mark.races

AFTER_GRACE = FEBRUARY + timedelta(hours=30)
_METER = "rerate"

CHARGES = {
    "graduated": {
        "model": "graduated",
        "included_units": "3",
        "tiers": [{"up_to": "10", "unit_rate": "0.333"}, {"up_to": None, "unit_rate": "0.107", "flat_fee": "0.99"}],
    },
    "volume": {
        "model": "volume",
        "tiers": [{"up_to": "10", "unit_rate": "1.00"}, {"up_to": None, "unit_rate": "0.40"}],
    },
    "capped": {"model": "per_unit", "unit_rate": "0.70", "min_amount": "2.00", "max_amount": "9.00"},
    "package": {"model": "package", "package_size": "7", "package_price": "1.99"},
    "percentage": {
        "model": "percentage",
        "rate_percent": "2.9",
        "fixed_fee": "0.30",
        "free_events": "2",
        "max_per_event": "1.50",
    },
    "matrix": {
        "model": "per_unit",
        "unit_rate": "0.10",
        "prices_by": {"property": "region", "match": {"eu": {"unit_rate": "0.13"}}, "default": {}},
    },
}
COMMITMENTS = {"none": {}, "minimum": {"minimum_commitment": "7.50"}}


def _cancel(event: UsageEvent, at) -> None:
    # What a correction does when it is applied.
    fetch_all(
        "INSERT INTO metering_usagecancellation"
        " (event_key, customer_id, type, occurred_at, correction_id, cancelled_at) VALUES (%s, %s, %s, %s, %s, %s)",
        [event.event_key, event.customer_id, event.type, event.occurred_at, ids.new_id(), at],
    )


_number = iter(range(1, 10_000))


@pytest.mark.parametrize("model", CHARGES)
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_billed_and_adjusted_is_the_price_of_all_usage(committed_tenant, model, data):
    """S077, S082, F16: after any late batches and cancellations, to the cent, and again for each charge alone."""
    code = f"rr-{model}-{next(_number)}"
    meter = {"aggregation": "sum", "value_property": "size"} if model != "matrix" else {"group_by": ["region"]}
    metering.meter(code=code, event_type=code, **meter)
    commitment = COMMITMENTS[data.draw(st.sampled_from(sorted(COMMITMENTS)))]
    charges = [{"code": "calls", "meter": code, **CHARGES[model]}]
    if data.draw(st.booleans()):
        charges.append({"code": "seat", "model": "flat", "amount": "1.37", "timing": "arrears"})
    plans.published_plan(code=code, base_fee="5.00", charges=charges, **commitment)
    customer = customers.customer(external_id=code)
    subscription = subscriptions.subscription(customer=customer, plan_code=code, starts_at=JANUARY)
    if data.draw(st.booleans()):
        coupon = discounts.coupon(code=code.upper(), percent=Decimal("12.5"), duration="forever")
        discounts.discount(customer=customer, coupon=coupon)
    _policy_set(code, "next_invoice")
    sizes = st.lists(st.sampled_from(["0.5", "1", "2.25", "6", "13"]), min_size=0, max_size=4)

    def send(values, at) -> None:
        for value in values:
            region = data.draw(st.sampled_from(["eu", "us"]))
            late.used(
                code,
                count=1,
                occurred_at=FEBRUARY - timedelta(hours=data.draw(st.integers(1, 700))),
                at=at,
                properties={"size": value, "region": region},
            )

    send(data.draw(sizes), AFTER_GRACE - timedelta(hours=6))
    late.finalized(subscription, ends_at=FEBRUARY, at=AFTER_GRACE)
    period = late.period_of(subscription)
    for step in range(data.draw(st.integers(1, 3))):
        at = AFTER_GRACE + timedelta(days=step, hours=1)
        send(data.draw(sizes), at)
        events = list(UsageEvent.objects.filter(customer_id=customer.id))
        if events and data.draw(st.booleans()):
            victim = data.draw(st.sampled_from(sorted(events, key=lambda each: each.event_id)))
            if not _is_cancelled(victim):
                _cancel(victim, at)
        late.follow(at=at)
        _policy_set(code, data.draw(st.sampled_from(["next_invoice", "own_document"])))
        if data.draw(st.booleans()):
            late_settlement.late_usage_settle_due(at=at, period_ids=[period.id])
    late_settlement.late_usage_settle_due(at=AFTER_GRACE + timedelta(days=9), period_ids=[period.id])
    assert not LateUsage.objects.filter(window__subscription_id=subscription.id, status="FOUND").exists()
    rated = rerating.period_rerate(period=period)
    assert (rated.differences, rated.amount_minor) == ((), 0)
    settled = Adjustment.objects.filter(billing_period=period).exclude(status="CANCELED")
    document = late.document_of(subscription, ends_at=FEBRUARY)
    assert document.subtotal_minor + sum(each.amount_minor for each in settled) == rated.owed_minor
    assert rated.owed_minor == _afresh_minor(subscription, period, document)


def _policy_set(code: str, policy: str) -> None:
    data = LatePolicyInput(policy=policy, meter_code=code, approved_up_to=Decimal(3))
    late_usage.late_policy_set(data=data, actor=OPERATOR, at=JANUARY)


def _is_cancelled(event: UsageEvent) -> bool:
    return bool(fetch_all("SELECT 1 FROM metering_usagecancellation WHERE event_key = %s", [event.event_key]))


def _afresh_minor(subscription, period, document) -> int:
    """Return what the document would be if the period closed now: by the way that cycle close goes."""
    from apps.workflows import cycle_close

    draft = drafting.draft_build(
        subscription=subscription,
        period=period,
        following=cycle_close._following(period),
        kind=document.kind,
        entity=document.entity,
        at=document.drafted_at,
    )
    return sum(line.taxable_minor for line in draft.lines if line.kind != "adjustment")
