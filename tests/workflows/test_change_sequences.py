"""Changes in any order: each moment of a subscription has its fee exactly once."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from apps.common.actors import OPERATOR
from apps.invoices.models import InvoiceLine
from apps.subscriptions import changes, selectors
from apps.subscriptions.errors import ChangeAlreadyScheduled, ChangeInvalid, ChangeOutsideRunningPeriod, ChangeRefused
from apps.subscriptions.inputs import TermsChange, Timing, When
from apps.subscriptions.models import SubscriptionStatus
from apps.workflows import invariants
from tests.builders import customers, metering, plans, subscriptions

pytestmark = pytest.mark.django_db

APRIL = datetime(2026, 4, 1, tzinfo=UTC)
MID_APRIL = datetime(2026, 4, 16, tzinfo=UTC)
MAY = datetime(2026, 5, 1, tzinfo=UTC)
JULY = datetime(2026, 7, 1, tzinfo=UTC)
PER_CALL = [{"code": "api_calls", "meter": "api_calls", "model": "per_unit", "unit_rate": "1.00"}]
FIXED = ("base_fee", "credit")


def _world(*, timing: str = "advance", anchor_kind: str = "anniversary", **more):
    """Return a clock, a customer and its subscription since 1 April to one of two plans of 30.00 a month."""
    metering.meter(code="api_calls", event_type="api.call")
    for code in ("one", "two"):
        plans.published_plan(code=code, base_fee="30.00", base_fee_timing=timing, charges=PER_CALL, **more)
    plans.published_plan(code="big", base_fee="90.00", base_fee_timing=timing, charges=PER_CALL, **more)
    clock = customers.test_clock(now_at=APRIL)
    customer = customers.customer(external_id="acme", test_clock=clock)
    subscription = subscriptions.subscription(
        customer=customer, plan_code="one", starts_at=APRIL, anchor_kind=anchor_kind
    )
    return clock, customer, subscription


def _change(subscription, *, at: datetime, plan: str, **when):
    return changes.subscription_change(
        subscription_id=subscription.id,
        wanted=TermsChange(plan_code=plan),
        when=When(**when),
        actor=OPERATOR,
        at=at,
    )


def _pause(subscription, *, at: datetime, mode: str = "freeze", resume_at: datetime | None = None, **when):
    return changes.subscription_pause(
        subscription_id=subscription.id, mode=mode, when=When(**when), resume_at=resume_at, actor=OPERATOR, at=at
    )


def _fees_minor(customer, *, until: datetime) -> int:
    lines = InvoiceLine.objects.filter(invoice__customer=customer, kind__in=FIXED, service_starts_at__lt=until)
    return sum(line.net_minor for line in lines)


@pytest.mark.parametrize("seed", range(24))
def test_equal_prices_make_the_same_sum_whatever_is_changed(tenant, seed):
    """S108 S109: three months at 30.00 are 90.00, however often the plan is exchanged for its twin, and in what way."""
    chance = random.Random(seed)
    timing, anchor_kind = chance.choice(("advance", "arrears")), chance.choice(("anniversary", "calendar"))
    clock, customer, subscription = _world(timing=timing, anchor_kind=anchor_kind)
    asked = []
    for moment in sorted(APRIL + timedelta(minutes=chance.randrange(1, 60 * 24 * 85)) for _ in range(6)):
        subscriptions.advance(clock, moment)
        subscription.refresh_from_db()
        asked.append(_ask_something(chance, subscription, at=moment))
    subscriptions.advance(clock, JULY + timedelta(days=2))
    lines = InvoiceLine.objects.filter(invoice__customer=customer, kind__in=FIXED, service_starts_at__lt=JULY)
    # Each line is rounded once, so each may be half a cent off.
    assert abs(_fees_minor(customer, until=JULY) - 90_00) <= lines.count(), (timing, anchor_kind, asked)
    assert not invariants.invariants_check(at=clock.now_at), asked


def _ask_something(chance: random.Random, subscription, *, at: datetime) -> str:
    """Ask for one of the changes that leave the price as it is; what contradicts what is agreed is refused."""
    proration = chance.choice(("by_second", "by_day", "none"))
    ahead = at + timedelta(minutes=chance.randrange(1, 60 * 24 * 20))
    wanted = chance.choice(("now", "now", "at", "period_end", "pause"))
    twin = "two" if subscription.plan_version.plan.code == "one" else "one"
    try:
        if subscription.status == SubscriptionStatus.PAUSED:
            changes.subscription_resume(subscription_id=subscription.id, effective_at=None, actor=OPERATOR, at=at)
            return f"{at} resume"
        if wanted == "pause":
            _pause(subscription, at=at, mode="keep_fixed", resume_at=chance.choice((None, ahead)))
        elif wanted == "at":
            _change(subscription, at=at, plan=twin, timing=Timing.AT, effective_at=ahead, proration=proration)
        else:
            _change(subscription, at=at, plan=twin, timing=Timing(wanted), proration=proration)
    except (ChangeInvalid, ChangeAlreadyScheduled, ChangeOutsideRunningPeriod, ChangeRefused) as refused:
        return f"{at} {wanted} refused: {refused.code}"
    return f"{at} {wanted} {proration}"


@pytest.mark.parametrize("mode", ["freeze", "keep_fixed"])
def test_a_pause_within_the_grace_of_the_document_that_bills_the_fee_loses_nothing(tenant, mode):
    """Ten minutes into May the draft with May's fee waits out its grace; the fee is due whole all the same."""
    clock, customer, subscription = _world()
    subscriptions.advance(clock, MAY + timedelta(minutes=10))
    _pause(subscription, at=clock.now_at, mode=mode, resume_at=MAY + timedelta(days=5))
    subscriptions.advance(clock, MAY + timedelta(days=20))
    assert _fees_minor(customer, until=MAY + timedelta(days=20)) == 60_00


def test_each_kind_agreed_for_an_instant_of_the_running_period_divides_it(tenant):
    """A cancellation agreed on 1 April for the 16th ends the period there, and bills nothing after it."""
    clock, customer, subscription = _world()
    changes.subscription_cancel(
        subscription_id=subscription.id,
        when=When(timing=Timing.AT, effective_at=MID_APRIL),
        actor=OPERATOR,
        at=APRIL,
    )
    subscriptions.advance(clock, MID_APRIL + timedelta(days=2))
    metering.events(
        customer="acme", event_type="api.call", occurred_at=clock.now_at, at=clock.now_at + timedelta(minutes=1)
    )
    subscriptions.advance(clock, JULY)
    assert _fees_minor(customer, until=JULY) == 15_00
    assert not InvoiceLine.objects.filter(invoice__customer=customer, kind="usage", net_minor__gt=0).exists()
    assert selectors.last_period(subscription_id=subscription.id).ends_at == MID_APRIL


def test_an_unprorated_change_does_not_reach_into_another_whole(tenant):
    """A calendar month that a change left settled says nothing of the year that follows it."""
    clock, customer, subscription = _world(anchor_kind="calendar")
    yearly = {"interval": {"unit": "year", "count": 1}}
    plans.published_plan(code="yearly", base_fee="365.00", charges=PER_CALL, **yearly)
    subscriptions.advance(clock, MID_APRIL)
    _change(subscription, at=MID_APRIL, plan="two", proration="none")
    with pytest.raises(ChangeInvalid, match="another interval"):
        _change(subscription, at=MID_APRIL + timedelta(hours=1), plan="yearly", proration="none")
    _change(subscription, at=MID_APRIL + timedelta(hours=1), plan="yearly", timing=Timing.PERIOD_END)
    subscriptions.advance(clock, MAY + timedelta(days=2))
    # 245 of the year's 365 days are left on 1 May.
    assert _fees_minor(customer, until=JULY) == 30_00 + 245_00


def test_a_pause_and_other_plans_for_later_are_not_agreed_at_once(tenant):
    """Nobody knows how long a pause lasts, so nothing is agreed across one; withdrawn, it takes its return along."""
    clock, _customer, subscription = _world()
    later = _change(subscription, at=APRIL, plan="two", timing=Timing.PERIOD_END)
    with pytest.raises(ChangeAlreadyScheduled, match="Withdraw it first"):
        _pause(subscription, at=MID_APRIL)
    changes.change_withdraw(change_id=later.id, actor=OPERATOR, at=APRIL)
    with pytest.raises(ChangeInvalid, match="not for a pause"):
        _pause(subscription, at=MID_APRIL, proration="none")
    pause = _pause(
        subscription,
        at=APRIL,
        timing=Timing.AT,
        effective_at=MAY + timedelta(days=4),
        resume_at=MAY + timedelta(days=9),
    )
    with pytest.raises(ChangeAlreadyScheduled, match="Withdraw it first"):
        _change(subscription, at=MID_APRIL, plan="two")
    changes.change_withdraw(change_id=pause.id, actor=OPERATOR, at=APRIL)
    assert not selectors.changes_scheduled(subscription_id=subscription.id).exists()
    subscriptions.advance(clock, JULY + timedelta(days=2))
    assert not selectors.parked_periods().exists()


def test_an_end_takes_what_was_agreed_for_later_along(tenant):
    clock, _customer, subscription = _world()
    _change(subscription, at=APRIL, plan="two", timing=Timing.PERIOD_END)
    subscriptions.advance(clock, MID_APRIL)
    changes.subscription_cancel(subscription_id=subscription.id, when=When(), actor=OPERATOR, at=MID_APRIL)
    assert not selectors.changes_scheduled(subscription_id=subscription.id).exists()
    subscriptions.advance(clock, JULY)
    subscription.refresh_from_db()
    assert (subscription.status, subscription.plan_version.plan.code) == (SubscriptionStatus.ENDED, "one")


@pytest.mark.parametrize("proration", ["by_second", "by_day", "none"])
def test_a_minimum_is_the_same_however_its_month_is_divided(tenant, proration):
    """100.00 is the least for April, and 15.00 of the fee count for either half of it."""
    terms = {"minimum_commitment": "100.00", "examples": [{"usage": {}, "total": "100.00"}]}
    clock, customer, subscription = _world(**terms)
    subscriptions.advance(clock, MID_APRIL)
    _change(subscription, at=MID_APRIL, plan="two", proration=proration)
    changes.subscription_cancel(
        subscription_id=subscription.id, when=When(timing=Timing.PERIOD_END), actor=OPERATOR, at=clock.now_at
    )
    subscriptions.advance(clock, JULY)
    assert sum(invoice.total_minor for invoice in subscriptions.invoices_of(customer)) == 100_00


def test_a_minimum_without_any_other_line_is_billed(tenant):
    plans.published_plan(
        code="least",
        base_fee="30.00",
        charges=[],
        minimum_commitment="100.00",
        examples=[{"usage": {}, "total": "100.00"}],
    )
    clock = customers.test_clock(now_at=APRIL)
    customer = customers.customer(external_id="acme", test_clock=clock)
    subscription = subscriptions.subscription(customer=customer, plan_code="least", starts_at=APRIL)
    changes.subscription_cancel(
        subscription_id=subscription.id, when=When(timing=Timing.PERIOD_END), actor=OPERATOR, at=APRIL
    )
    subscriptions.advance(clock, JULY)
    assert sum(invoice.total_minor for invoice in subscriptions.invoices_of(customer)) == 100_00
