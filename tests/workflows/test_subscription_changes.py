"""Upgrades, pauses, cancellations and trials, as the documents show them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction

from apps.common.actors import OPERATOR
from apps.invoices.models import Invoice
from apps.subscriptions import changes, selectors
from apps.subscriptions.errors import (
    ChangeAlreadyScheduled,
    ChangeInvalid,
    ChangeNotScheduled,
    ChangeOutsideRunningPeriod,
    ChangeRefused,
)
from apps.subscriptions.inputs import TermsChange, Timing, When
from apps.subscriptions.models import BillingPeriod, Subscription, SubscriptionChange, SubscriptionStatus
from apps.workflows import invariants
from tests.builders import customers, metering, plans, subscriptions
from tests.builders.subscriptions import START

pytestmark = pytest.mark.django_db

APRIL = datetime(2026, 4, 1, tzinfo=UTC)
# The sixteenth day of April: half of its thirty days are over.
MID_APRIL = datetime(2026, 4, 16, tzinfo=UTC)
MAY = datetime(2026, 5, 1, tzinfo=UTC)
PER_CALL = [{"code": "api_calls", "meter": "api_calls", "model": "per_unit", "unit_rate": "1.00"}]


@pytest.fixture
def world(tenant):
    """A customer on a test clock, from 1 April on a plan of 30.00 in advance; 90.00 is the bigger one."""
    metering.meter(code="api_calls", event_type="api.call")
    plans.published_plan(code="small", base_fee="30.00", charges=PER_CALL)
    plans.published_plan(code="big", base_fee="90.00", charges=PER_CALL)
    clock = customers.test_clock(now_at=APRIL)
    customer = customers.customer(external_id="acme", test_clock=clock)
    subscription = subscriptions.subscription(customer=customer, plan_code="small", starts_at=APRIL)
    return clock, customer, subscription


def _use(n: int, *, at: datetime, prefix: str) -> None:
    metering.events(customer="acme", event_type="api.call", count=n, occurred_at=at, prefix=prefix, at=at)


def _change(subscription: Subscription, *, at: datetime, plan: str | None = "big", **when) -> SubscriptionChange:
    quantity = when.pop("quantity", None)
    return changes.subscription_change(
        subscription_id=subscription.id,
        wanted=TermsChange(plan_code=plan, quantity=quantity),
        when=When(**when),
        actor=OPERATOR,
        at=at,
    )


def _documents(customer) -> list[list[tuple[str, str, int]]]:
    """Return (kind, code, net) of each line of each document, oldest first."""
    return [
        [(line.kind, line.code, line.net_minor) for line in invoice.lines.order_by("position")]
        for invoice in subscriptions.invoices_of(customer)
    ]


def _periods(subscription: Subscription) -> list[tuple[str, str, str]]:
    return [
        (row.starts_at.strftime("%m-%d"), row.ends_at.strftime("%m-%d"), row.plan_version.plan.code)
        for row in selectors.periods_of(subscription_id=subscription.id).select_related("plan_version__plan")
    ]


def test_an_upgrade_in_mid_month_gives_back_half_and_bills_half(world):
    """S107 S108 S109: the old fee's unused half is a credit line, the new one's a charge, usage is split in time."""
    clock, customer, subscription = world
    subscriptions.advance(clock, MID_APRIL)
    _use(2, at=MID_APRIL - timedelta(hours=1), prefix="before")
    _change(subscription, at=MID_APRIL)
    _use(3, at=MID_APRIL, prefix="after")
    subscriptions.advance(clock, MAY + timedelta(days=2))
    assert _periods(subscription) == [
        ("04-01", "04-16", "small"),
        ("04-16", "05-01", "big"),
        ("05-01", "06-01", "big"),
    ]
    assert _documents(customer) == [
        [("base_fee", "base_fee", 30_00)],
        [("base_fee", "base_fee", 45_00), ("credit", "base_fee", -15_00), ("usage", "api_calls", 2_00)],
        [("base_fee", "base_fee", 90_00), ("usage", "api_calls", 3_00)],
    ]
    first, second, third = subscriptions.invoices_of(customer)
    # What was issued first is as it was; the correction is on a further document.
    assert first.total_minor == 30_00
    assert [line.decision["plan"]["code"] for line in second.lines.order_by("position")] == ["big", "small", "small"]
    assert third.status == "OPEN"
    assert not invariants.invariants_check(at=clock.now_at)


def test_a_preview_names_its_instant_and_applying_it_makes_the_same_amounts(world):
    """An instant in the past of the running period is taken as it is, whenever the change is carried out."""
    clock, customer, subscription = world
    subscriptions.advance(clock, MID_APRIL + timedelta(minutes=7))
    change = _change(subscription, at=clock.now_at, effective_at=MID_APRIL)
    assert (change.effective_at, change.applied_at) == (MID_APRIL, MID_APRIL)
    subscriptions.advance(clock, MID_APRIL + timedelta(days=2))
    assert _documents(customer)[1] == [
        ("base_fee", "base_fee", 45_00),
        ("credit", "base_fee", -15_00),
        ("usage", "api_calls", 0),
    ]


@pytest.mark.parametrize(
    ("proration", "documents"),
    [
        ("by_day", [("base_fee", "base_fee", 45_00), ("credit", "base_fee", -15_00), ("usage", "api_calls", 0)]),
        ("none", [("usage", "api_calls", 0)]),
    ],
)
def test_a_change_says_how_it_divides_the_fees(world, proration, documents):
    """By day the hour of the day plays no part; without proration April's fee stays and May's is the new one."""
    clock, customer, subscription = world
    moment = MID_APRIL + timedelta(hours=9)
    subscriptions.advance(clock, moment)
    _change(subscription, at=moment, proration=proration)
    subscriptions.advance(clock, MAY + timedelta(days=2))
    assert _documents(customer)[1] == documents
    assert _documents(customer)[2] == [("base_fee", "base_fee", 90_00), ("usage", "api_calls", 0)]


def test_two_changes_in_one_month_bill_each_moment_once(world):
    """Up on the 11th and down again on the 21st: 10 days of 30.00 + 10 of 90.00 + 10 of 30.00 = 50.00."""
    clock, customer, subscription = world
    for day, plan in ((11, "big"), (21, "small")):
        subscriptions.advance(clock, APRIL.replace(day=day))
        _change(subscription, at=clock.now_at, plan=plan)
    subscriptions.advance(clock, MAY + timedelta(days=2))
    may_fee = 30_00
    assert sum(net for document in _documents(customer) for _, _, net in document) - may_fee == 50_00


def test_a_downgrade_at_the_end_waits_as_a_row(world):
    """S103 rule 17: a plan for the future is a row; the status says what is."""
    clock, customer, subscription = world
    subscriptions.advance(clock, MID_APRIL)
    _change(subscription, at=MID_APRIL)
    change = _change(subscription, at=MID_APRIL, plan="small", timing=Timing.PERIOD_END)
    assert (change.effective_at, change.applied_at) == (MAY, None)
    subscription.refresh_from_db()
    assert (subscription.status, subscription.plan_version.plan.code) == (SubscriptionStatus.ACTIVE, "big")
    subscriptions.advance(clock, MAY + timedelta(days=2))
    assert _documents(customer)[2] == [("base_fee", "base_fee", 30_00), ("usage", "api_calls", 0)]
    change.refresh_from_db()
    assert change.applied_at == MAY


def test_a_change_for_a_named_instant_divides_the_period_that_comes(world):
    """What is agreed for noon of 16 May divides May there, in halves, as if it were asked for at that moment."""
    clock, customer, subscription = world
    moment = datetime(2026, 5, 16, 12, tzinfo=UTC)
    _change(subscription, at=APRIL, timing=Timing.AT, effective_at=moment)
    subscriptions.advance(clock, datetime(2026, 6, 2, tzinfo=UTC))
    assert _periods(subscription)[1:3] == [("05-01", "05-16", "small"), ("05-16", "06-01", "big")]
    assert _documents(customer)[1:3] == [
        [("base_fee", "base_fee", 30_00), ("usage", "api_calls", 0)],
        [("base_fee", "base_fee", 45_00), ("credit", "base_fee", -15_00), ("usage", "api_calls", 0)],
    ]


def test_a_withdrawn_change_does_not_happen(world):
    clock, customer, subscription = world
    change = _change(subscription, at=APRIL, timing=Timing.PERIOD_END)
    changes.change_withdraw(change_id=change.id, actor=OPERATOR, at=APRIL)
    subscriptions.advance(clock, MAY + timedelta(days=2))
    assert _documents(customer)[1] == [("base_fee", "base_fee", 30_00), ("usage", "api_calls", 0)]
    with pytest.raises(ChangeNotScheduled):
        changes.change_withdraw(change_id=change.id, actor=OPERATOR, at=MAY)


def test_cancelled_now_ends_the_period_and_gives_the_rest_back(world):
    """The last document bills usage until the end, and what was billed beyond it is credited."""
    clock, customer, subscription = world
    subscriptions.advance(clock, MID_APRIL)
    _use(40, at=MID_APRIL - timedelta(days=1), prefix="before")
    changes.subscription_cancel(subscription_id=subscription.id, when=When(), actor=OPERATOR, at=MID_APRIL)
    subscriptions.advance(clock, MAY + timedelta(days=40))
    assert _documents(customer)[1:] == [[("credit", "base_fee", -15_00), ("usage", "api_calls", 40_00)]]
    subscription.refresh_from_db()
    assert (subscription.status, subscription.ended_at) == (SubscriptionStatus.ENDED, MID_APRIL)
    assert selectors.last_period(subscription_id=subscription.id).ends_at == MID_APRIL


def test_cancelled_at_the_end_serves_the_period_and_begins_no_other(world):
    clock, customer, subscription = world
    changes.subscription_cancel(
        subscription_id=subscription.id, when=When(timing=Timing.PERIOD_END), actor=OPERATOR, at=APRIL
    )
    _use(4, at=MID_APRIL, prefix="in")
    subscriptions.advance(clock, MAY + timedelta(days=40))
    assert _documents(customer)[1:] == [[("usage", "api_calls", 4_00)]]
    subscription.refresh_from_db()
    assert subscription.ended_at == MAY


def test_who_left_may_come_back(world):
    """A new subscription after the end of the old one bills the same meter again, and only its own time."""
    clock, customer, subscription = world
    subscriptions.advance(clock, MID_APRIL)
    changes.subscription_cancel(subscription_id=subscription.id, when=When(), actor=OPERATOR, at=MID_APRIL)
    _use(5, at=MID_APRIL - timedelta(hours=1), prefix="old")
    subscriptions.advance(clock, MAY)
    subscriptions.subscription(customer=customer, plan_code="big", starts_at=MAY)
    _use(7, at=MAY + timedelta(hours=1), prefix="new")
    subscriptions.advance(clock, datetime(2026, 6, 3, tzinfo=UTC))
    assert [line for document in _documents(customer) for line in document if line[0] == "usage"] == [
        ("usage", "api_calls", 5_00),
        ("usage", "api_calls", 7_00),
    ]


def test_a_frozen_pause_serves_the_rest_later_and_bills_nothing_meanwhile(world):
    """Paused on 16 April for ten days: April's paid fee lasts until 11 May, and periods are counted from there."""
    clock, customer, subscription = world
    subscriptions.advance(clock, MID_APRIL)
    changes.subscription_pause(
        subscription_id=subscription.id,
        mode="freeze",
        when=When(),
        resume_at=MID_APRIL + timedelta(days=10),
        actor=OPERATOR,
        at=MID_APRIL,
    )
    subscription.refresh_from_db()
    assert subscription.status == SubscriptionStatus.PAUSED
    _use(9, at=MID_APRIL + timedelta(days=1), prefix="asleep")
    subscriptions.advance(clock, datetime(2026, 5, 13, tzinfo=UTC))
    subscription.refresh_from_db()
    assert subscription.status == SubscriptionStatus.ACTIVE
    assert _periods(subscription) == [
        ("04-01", "04-16", "small"),
        ("04-16", "04-26", "small"),
        ("04-26", "05-11", "small"),
        ("05-11", "06-11", "small"),
    ]
    assert _documents(customer) == [
        [("base_fee", "base_fee", 30_00)],
        [("usage", "api_calls", 0)],
        [("base_fee", "base_fee", 30_00), ("usage", "api_calls", 0)],
    ]


def test_a_pause_that_keeps_the_fixed_part_bills_fees_and_no_usage(world):
    clock, customer, subscription = world
    subscriptions.advance(clock, MID_APRIL)
    changes.subscription_pause(
        subscription_id=subscription.id, mode="keep_fixed", when=When(), resume_at=None, actor=OPERATOR, at=MID_APRIL
    )
    _use(9, at=MID_APRIL + timedelta(days=1), prefix="asleep")
    subscriptions.advance(clock, MAY + timedelta(days=4))
    changes.subscription_resume(subscription_id=subscription.id, effective_at=None, actor=OPERATOR, at=clock.now_at)
    _use(2, at=clock.now_at, prefix="awake")
    subscriptions.advance(clock, datetime(2026, 6, 3, tzinfo=UTC))
    assert _documents(customer) == [
        [("base_fee", "base_fee", 30_00)],
        [("usage", "api_calls", 0)],
        [("base_fee", "base_fee", 30_00)],
        [("base_fee", "base_fee", 30_00), ("usage", "api_calls", 2_00)],
    ]


def test_cancelled_in_a_frozen_pause_the_rest_is_given_back(world):
    clock, customer, subscription = world
    subscriptions.advance(clock, MID_APRIL)
    changes.subscription_pause(
        subscription_id=subscription.id, mode="freeze", when=When(), resume_at=None, actor=OPERATOR, at=MID_APRIL
    )
    subscriptions.advance(clock, MAY + timedelta(days=10))
    changes.subscription_cancel(subscription_id=subscription.id, when=When(), actor=OPERATOR, at=clock.now_at)
    subscriptions.advance(clock, clock.now_at + timedelta(days=40))
    assert _documents(customer)[-1] == [("credit", "base_fee", -15_00)]
    subscription.refresh_from_db()
    assert subscription.status == SubscriptionStatus.ENDED


def test_a_trial_shows_its_lines_at_no_price_on_the_first_document(tenant):
    """No document and no tax point during the trial; the first one shows it, and periods count from its end."""
    metering.meter(code="api_calls", event_type="api.call")
    plans.published_plan(code="small", base_fee="30.00", charges=PER_CALL, trial_days=14)
    clock = customers.test_clock(now_at=APRIL)
    customer = customers.customer(external_id="acme", test_clock=clock)
    subscription = subscriptions.subscription(customer=customer, plan_code="small", starts_at=APRIL)
    assert (subscription.status, subscription.trial_ends_at) == (SubscriptionStatus.TRIALING, APRIL.replace(day=15))
    _use(6, at=APRIL + timedelta(days=3), prefix="trial")
    subscriptions.advance(clock, APRIL.replace(day=14))
    assert Invoice.objects.count() == 0
    subscriptions.advance(clock, datetime(2026, 5, 17, tzinfo=UTC))
    assert _documents(customer) == [
        [("base_fee", "base_fee", 0), ("base_fee", "base_fee", 30_00), ("usage", "api_calls", 0)],
        [("base_fee", "base_fee", 30_00), ("usage", "api_calls", 0)],
    ]
    assert subscriptions.invoices_of(customer)[0].lines.get(kind="usage").quantity == Decimal(6)
    assert [row[:2] for row in _periods(subscription)] == [("04-01", "04-15"), ("04-15", "05-15"), ("05-15", "06-15")]
    subscription.refresh_from_db()
    assert (subscription.status, subscription.activated_at) == (SubscriptionStatus.ACTIVE, APRIL.replace(day=15))


def test_a_trial_that_is_cancelled_owes_nothing(tenant):
    metering.meter(code="api_calls", event_type="api.call")
    plans.published_plan(code="small", base_fee="30.00", charges=PER_CALL, trial_days=14)
    clock = customers.test_clock(now_at=APRIL)
    customer = customers.customer(external_id="acme", test_clock=clock)
    subscription = subscriptions.subscription(customer=customer, plan_code="small", starts_at=APRIL)
    _use(6, at=APRIL + timedelta(days=3), prefix="trial")
    changes.subscription_cancel(
        subscription_id=subscription.id, when=When(timing=Timing.PERIOD_END), actor=OPERATOR, at=APRIL
    )
    subscriptions.advance(clock, MAY + timedelta(days=40))
    assert _documents(customer) == []
    subscription.refresh_from_db()
    assert (subscription.status, subscription.activated_at) == (SubscriptionStatus.ENDED, None)


def test_a_change_to_a_yearly_plan_counts_from_its_own_day(world):
    clock, customer, subscription = world
    plans.published_plan(code="yearly", base_fee="365.00", charges=PER_CALL, interval={"unit": "year", "count": 1})
    subscriptions.advance(clock, MID_APRIL)
    _change(subscription, at=MID_APRIL, plan="yearly")
    subscriptions.advance(clock, MID_APRIL + timedelta(days=2))
    assert _documents(customer)[1] == [
        ("base_fee", "base_fee", 365_00),
        ("credit", "base_fee", -15_00),
        ("usage", "api_calls", 0),
    ]
    last = selectors.last_period(subscription_id=subscription.id)
    assert (last.starts_at, last.ends_at) == (MID_APRIL, MID_APRIL.replace(year=2027))


def test_a_customer_who_moves_keeps_whole_periods(world):
    """S063 S065: from UTC to New York the boundary moves by five hours; no sliver, no gap, one fee a month."""
    clock, customer, subscription = world
    customers.update(customer, timezone="America/New_York", at=MID_APRIL)
    subscriptions.advance(clock, datetime(2026, 7, 3, tzinfo=UTC))
    bounds = [row.ends_at for row in selectors.periods_of(subscription_id=subscription.id)]
    assert bounds[:3] == [MAY, datetime(2026, 6, 1, 4, tzinfo=UTC), datetime(2026, 7, 1, 4, tzinfo=UTC)]
    assert {net for document in _documents(customer) for kind, _, net in document if kind == "base_fee"} == {30_00}


def test_a_backdated_start_bills_every_month_since(tenant):
    metering.meter(code="api_calls", event_type="api.call")
    plans.published_plan(code="small", base_fee="30.00", base_fee_timing="arrears", charges=PER_CALL)
    clock = customers.test_clock(now_at=MAY)
    customer = customers.customer(external_id="acme", test_clock=clock)
    subscriptions.subscription(customer=customer, plan_code="small", starts_at=START)
    subscriptions.advance(clock, MAY + timedelta(days=2))
    assert [document[0] for document in _documents(customer)] == [("base_fee", "base_fee", 30_00)] * 4


def test_what_cannot_be_is_refused_and_leaves_no_row(world):
    """Rule 25: a refusal names the field and the remedy, and nothing is stored."""
    clock, customer, subscription = world
    with pytest.raises(ChangeInvalid, match="Nothing would change"):
        _change(subscription, at=MID_APRIL, plan="small")
    with pytest.raises(ChangeOutsideRunningPeriod, match="Choose a later instant"):
        _change(subscription, at=APRIL)
    with pytest.raises(ChangeInvalid, match="lies ahead"):
        _change(subscription, at=APRIL, effective_at=MID_APRIL)
    with pytest.raises(ChangeInvalid, match="must lie in the future"):
        _change(subscription, at=APRIL, timing=Timing.AT, effective_at=APRIL)
    with pytest.raises(ChangeInvalid, match="zero or more"):
        _change(subscription, at=MID_APRIL, plan=None, quantity=Decimal(-1))
    with pytest.raises(ChangeRefused, match="PAUSED"):
        changes.subscription_resume(subscription_id=subscription.id, effective_at=None, actor=OPERATOR, at=APRIL)
    assert SubscriptionChange.objects.count() == 0
    _change(subscription, at=MID_APRIL, timing=Timing.PERIOD_END)
    with pytest.raises(ChangeAlreadyScheduled):
        _change(subscription, at=MID_APRIL, timing=Timing.PERIOD_END)
    assert SubscriptionChange.objects.count() == 1


def test_the_database_holds_what_was_agreed(world):
    clock, _customer, subscription = world
    change = _change(subscription, at=MID_APRIL, timing=Timing.PERIOD_END)
    with pytest.raises(IntegrityError, match="subscription_change_agreed"), transaction.atomic():
        SubscriptionChange.objects.filter(id=change.id).update(effective_at=MID_APRIL)
    period = selectors.last_period(subscription_id=subscription.id)
    subscriptions.advance(clock, MAY + timedelta(minutes=1))
    with pytest.raises(IntegrityError, match="billing_period_terms_fixed"), transaction.atomic():
        BillingPeriod.objects.filter(id=period.id).update(quantity=2)
