"""What a review of the walk found wrong, each as the test that failed then."""

from datetime import UTC, datetime, timedelta

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.db import OperationalError

from apps.common.actors import OPERATOR, SCHEDULE
from apps.invoices import services as invoice_services
from apps.invoices.models import BillingEntity, Invoice, InvoiceStatus
from apps.messaging import services as messaging_services
from apps.messaging.models import DomainEvent, OutboxMessage, OutboxStatus
from apps.payments import services as payment_services
from apps.payments.errors import AttemptNotResolvable
from apps.payments.gateways.base import ChargeOutcome, OutcomeKind
from apps.payments.models import AttemptStatus, PaymentAttempt, SandboxCharge
from apps.subscriptions import selectors as subscription_selectors
from apps.subscriptions import services as subscription_services
from apps.subscriptions.errors import SubscriptionInvalid
from apps.subscriptions.models import BillingPeriod, BillingPeriodStatus, SubscriptionStatus
from apps.workflows import collection, cycle_close, invariants, relay
from tests.builders import customers, metering, plans, subscriptions, taxes
from tests.builders.subscriptions import START

pytestmark = pytest.mark.django_db

FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)


def _flat(*, timing: str = "advance") -> None:
    plans.published_plan(code="flat", base_fee="99.00", base_fee_timing=timing, charges=[])


def _subscribed(external_id: str, *, clock=None, **overrides):
    person = customers.customer(external_id=external_id, test_clock=clock, **overrides.pop("profile", {}))
    if code := overrides.pop("external_id_of_subscription", None):
        overrides["external_id"] = code
    return person, subscriptions.subscription(customer=person, plan_code="flat", **overrides)


def _run(at: datetime):
    return cycle_close.billing_run_start(trigger="schedule", actor=SCHEDULE, at=at, wall_at=at)


def test_a_test_clock_moves_nobody_but_its_own_customers(tenant):
    _flat()
    live = customers.customer(external_id="live")
    subscriptions.payment_method(customer=live)
    agreed = subscriptions.subscription(
        customer=live, plan_code="flat", starts_at=datetime(2027, 1, 1, tzinfo=UTC), at=START
    )
    subscriptions.advance(customers.test_clock(now_at=START), datetime(2028, 1, 1, tzinfo=UTC))
    agreed.refresh_from_db()
    assert agreed.status == SubscriptionStatus.PENDING
    assert (Invoice.objects.count(), SandboxCharge.objects.count()) == (0, 0)


def test_a_look_up_while_the_charge_is_on_its_way_does_not_free_the_invoice(tenant):
    """S246: "never seen" is an answer only after every time-out has passed."""
    _flat()
    person, _subscription = _subscribed("acme")
    relay.outbox_relay(wall_at=START)
    invoice = Invoice.objects.get(customer=person)
    subscriptions.payment_method(customer=person)
    attempt = payment_services.attempt_open(invoice_id=invoice.id, actor=OPERATOR, at=START)
    asked = collection.payment_resolve(attempt_id=attempt.id, actor=OPERATOR, at=START + timedelta(seconds=30))
    assert asked.status == AttemptStatus.SUBMITTED
    gone = collection.payment_resolve(attempt_id=attempt.id, actor=OPERATOR, at=START + timedelta(minutes=6))
    assert (gone.status, gone.failure_code) == (AttemptStatus.FAILED, "request_never_arrived")


def test_an_answer_after_the_look_up_closed_the_attempt_is_kept_and_shown(tenant, monkeypatch):
    _flat()
    person, _subscription = _subscribed("acme")
    relay.outbox_relay(wall_at=START)
    invoice = Invoice.objects.get(customer=person)
    subscriptions.payment_method(customer=person)

    class SleepyGateway:
        def charge(self, request, *, at):
            attempt = PaymentAttempt.objects.get(idempotency_key=request.idempotency_key)
            payment_services.attempt_record(
                attempt_id=attempt.id,
                outcome=ChargeOutcome(kind=OutcomeKind.ABSENT),
                actor=SCHEDULE,
                at=at + timedelta(hours=1),
            )
            return ChargeOutcome(kind=OutcomeKind.SUCCEEDED, reference="late-1")

    monkeypatch.setattr(collection, "gateway_named", lambda name: SleepyGateway())
    with pytest.raises(AttemptNotResolvable):
        collection.invoice_collect(invoice_id=invoice.id, actor=OPERATOR, at=START)
    noted = DomainEvent.objects.get(topic="payments.attempt.contradicted")
    assert (noted.payload["said"], noted.payload["reference"]) == ("succeeded", "late-1")
    assert "no gateway contradicts what was recorded" in {
        finding.name for finding in invariants.invariants_check(at=START)
    }


def test_a_crash_on_the_way_to_the_gateway_does_not_leave_the_invoice_uncollected(tenant):
    _flat()
    person, _subscription = _subscribed("acme", profile={"email": "pay@acme.example"})
    relay.outbox_relay(wall_at=START)
    invoice = Invoice.objects.get(customer=person)
    subscriptions.payment_method(customer=person)
    payment_services.attempt_open(invoice_id=invoice.id, actor=SCHEDULE, at=START)  # ... and here the process died
    later = START + timedelta(minutes=6)
    assert collection.payments_resolve_due(at=later) == 1
    relay.outbox_relay(wall_at=later)
    invoice.refresh_from_db()
    assert invoice.status == InvoiceStatus.PAID
    assert list(PaymentAttempt.objects.order_by("sequence").values_list("status", flat=True)) == ["FAILED", "SUCCEEDED"]


def test_refreshing_a_start_draft_does_not_open_the_next_period(tenant):
    _flat()
    BillingEntity.objects.update(tax_regime="STATIC", country="DE")
    _person, subscription = _subscribed("acme", profile={"country": "DE"})
    relay.outbox_relay(wall_at=START)
    draft = Invoice.objects.get(status=InvoiceStatus.DRAFT)
    taxes.tax_rate(country="DE")
    cycle_close.invoice_refresh_and_finalize(invoice_id=draft.id, actor=OPERATOR, at=START)
    assert subscription.periods.count() == 1
    preview = cycle_close.invoice_preview(subscription=subscription, actor=OPERATOR, at=START + timedelta(days=3))
    assert preview["period"]["ends_at"].startswith("2026-02-01")


def test_drafts_with_issues_do_not_stand_before_the_others(tenant, monkeypatch):
    _flat(timing="arrears")
    BillingEntity.objects.update(tax_regime="STATIC", country="DE")
    taxes.tax_rate(country="DE")
    for external_id, country in (("stuck", "NO"), ("fine", "DE")):
        _subscribed(external_id, profile={"country": country})
    _run(FEBRUARY)
    monkeypatch.setattr(cycle_close, "FINALIZE_BATCH", 1)
    assert cycle_close.drafts_finalize_due(at=FEBRUARY + timedelta(hours=2)) == 1
    assert Invoice.objects.get(status=InvoiceStatus.OPEN).customer.external_id == "fine"


def test_one_bad_draft_or_payment_does_not_hold_up_the_others(tenant, monkeypatch):
    _flat(timing="arrears")
    people = [_subscribed(name)[0] for name in ("bad", "good")]
    _run(FEBRUARY)
    real = cycle_close.invoice_refresh_and_finalize

    def failing(*, invoice_id, actor, at):
        if Invoice.objects.get(id=invoice_id).customer_id == people[0].id:
            raise ZeroDivisionError
        return real(invoice_id=invoice_id, actor=actor, at=at)

    monkeypatch.setattr(cycle_close, "invoice_refresh_and_finalize", failing)
    assert cycle_close.drafts_finalize_due(at=FEBRUARY + timedelta(hours=2)) == 1
    invoice = Invoice.objects.get(status=InvoiceStatus.OPEN)
    subscriptions.payment_method(customer=invoice.customer)
    attempt = payment_services.attempt_open(invoice_id=invoice.id, actor=OPERATOR, at=FEBRUARY)

    class BabblingGateway:
        def look_up(self, key, *, at):
            return ChargeOutcome(kind=OutcomeKind.DECLINED, failure_code="never heard of this code")

    monkeypatch.setattr(collection, "gateway_named", lambda name: BabblingGateway())
    assert collection.payments_resolve_due(at=FEBRUARY + timedelta(hours=1)) == 0
    attempt.refresh_from_db()
    assert attempt.status == AttemptStatus.SUBMITTED
    assert attempt.next_lookup_at > FEBRUARY + timedelta(hours=2)


@pytest.mark.parametrize("trouble", [OperationalError("lock timeout"), SoftTimeLimitExceeded()])
def test_a_busy_database_or_a_worker_told_to_end_parks_nobody(tenant, monkeypatch, trouble):
    _flat(timing="arrears")
    _person, subscription = _subscribed("acme")

    def unlucky(**_arguments):
        raise trouble

    with monkeypatch.context() as patched:
        patched.setattr(cycle_close.drafting, "draft_build", unlucky)
        if isinstance(trouble, SoftTimeLimitExceeded):
            with pytest.raises(SoftTimeLimitExceeded):
                _run(FEBRUARY)
        else:
            _run(FEBRUARY)
    period = subscription.periods.get(sequence=1)
    assert (period.status, period.parked_at) == (BillingPeriodStatus.CLOSING, None)
    _run(FEBRUARY + subscription_services.CLAIM_LEASE + timedelta(minutes=1))
    assert subscription.periods.get(sequence=1).status == BillingPeriodStatus.CLOSED


def test_a_try_that_was_overtaken_has_no_say(tenant, at):
    _flat()
    _subscribed("acme")
    (first,) = messaging_services.outbox_claim(limit=1, wall_at=at)
    later = at + messaging_services.LEASE + timedelta(seconds=1)
    (second,) = messaging_services.outbox_claim(limit=1, wall_at=later)
    assert first.id == second.id
    messaging_services.outbox_failed(
        message_id=first.id, attempt=first.attempts, error="late loser", is_final=True, wall_at=later
    )
    messaging_services.outbox_done(message_id=first.id, attempt=first.attempts, wall_at=later)
    assert OutboxMessage.objects.get(id=first.id).status == OutboxStatus.PENDING
    messaging_services.outbox_done(message_id=second.id, attempt=second.attempts, wall_at=later)
    messaging_services.outbox_failed(
        message_id=second.id, attempt=second.attempts, error="after the fact", is_final=True, wall_at=later
    )
    assert OutboxMessage.objects.get(id=first.id).status == OutboxStatus.DONE


def test_a_subscription_that_ended_bills_its_last_period_and_no_more(tenant):
    _flat(timing="arrears")
    clock = customers.test_clock(now_at=START)
    person, subscription = _subscribed("acme", clock=clock)
    subscriptions.advance(clock, datetime(2026, 1, 20, tzinfo=UTC))
    subscription_services.subscription_end(
        subscription_id=subscription.id,
        actor=OPERATOR,
        at=datetime(2026, 1, 20, tzinfo=UTC),
        reason=("customer_request", ""),
    )
    subscriptions.advance(clock, datetime(2026, 5, 1, tzinfo=UTC))
    assert [invoice.kind for invoice in subscriptions.invoices_of(person)] == ["CYCLE"]
    assert subscription.periods.count() == 1
    empty = cycle_close.invoice_preview(subscription=subscription, actor=OPERATOR, at=datetime(2026, 5, 1, tzinfo=UTC))
    assert empty["lines"] == []
    assert invariants.invariants_check(at=clock.now_at) == []


def test_a_subscription_that_ended_before_it_began_owes_nothing(tenant):
    _flat(timing="arrears")
    person = customers.customer(external_id="acme")
    subscription = subscriptions.subscription(customer=person, plan_code="flat", starts_at=FEBRUARY, at=START)
    subscription_services.subscription_end(
        subscription_id=subscription.id, actor=OPERATOR, at=START, reason=("customer_request", "")
    )
    run = _run(datetime(2026, 6, 1, tzinfo=UTC))
    assert (run.items.count(), Invoice.objects.count()) == (0, 0)


def test_periods_between_a_parked_one_and_the_end_are_not_lost(tenant, monkeypatch):
    _flat(timing="arrears")
    _person, subscription = _subscribed("acme")
    with monkeypatch.context() as patched:
        patched.setattr(cycle_close.drafting, "draft_build", lambda **_arguments: 1 / 0)
        _run(FEBRUARY)
    subscription_services.subscription_end(
        subscription_id=subscription.id,
        actor=OPERATOR,
        at=datetime(2026, 4, 20, tzinfo=UTC),
        reason=("customer_request", ""),
    )
    parked = BillingPeriod.objects.get(parked_at__isnull=False)
    subscription_services.period_unpark(period_id=parked.id, actor=OPERATOR, at=FEBRUARY)
    _run(datetime(2026, 6, 1, tzinfo=UTC))
    assert Invoice.objects.filter(kind="CYCLE").count() == 4  # January to April
    assert subscription.periods.count() == 4


def test_a_start_in_the_past_is_invoiced_with_the_date_of_today(tenant):
    _flat()
    today = datetime(2026, 1, 15, 12, tzinfo=UTC)
    _person, _subscription = _subscribed("acme", starts_at=datetime(2025, 11, 20, tzinfo=UTC), at=today)
    relay.outbox_relay(wall_at=today)
    invoice = Invoice.objects.get(kind="START")
    assert (str(invoice.issue_date), str(invoice.due_date)) == ("2026-01-15", "2026-01-29")
    assert invoice.lines.get().service_starts_at == datetime(2025, 11, 20, tzinfo=UTC)


def test_a_discarded_draft_can_be_drafted_again_and_is_missed_until_it_is(tenant):
    _flat(timing="arrears")
    _person, subscription = _subscribed("acme")
    _run(FEBRUARY)
    draft = Invoice.objects.get()
    invoice_services.invoice_discard(invoice_id=draft.id, actor=OPERATOR, at=FEBRUARY, reason=("mistake", ""))
    names = {finding.name for finding in invariants.invariants_check(at=FEBRUARY)}
    assert names == {"closed periods have a document"}
    period = subscription.periods.get(sequence=1)
    again = cycle_close.period_draft_again(period_id=period.id, actor=OPERATOR, at=FEBRUARY)
    assert (again.status, again.total_minor) == (InvoiceStatus.DRAFT, 9_900)
    assert cycle_close.period_draft_again(period_id=period.id, actor=OPERATOR, at=FEBRUARY).id == again.id
    assert invariants.invariants_check(at=FEBRUARY) == []


def test_a_start_in_the_hour_that_comes_twice_is_a_whole_period(tenant):
    _flat()
    person = customers.customer(external_id="acme", timezone="Europe/Berlin")
    subscriptions.subscription(customer=person, plan_code="flat", starts_at=datetime(2026, 10, 25, 1, 30, tzinfo=UTC))
    relay.outbox_relay(wall_at=datetime(2026, 10, 25, 2, tzinfo=UTC))
    assert Invoice.objects.get(kind="START").total_minor == 9_900


def test_two_subscriptions_may_not_charge_the_same_usage_twice(tenant):
    metering.meter(code="api_calls", event_type="api.call")
    charge = {"code": "calls", "meter": "api_calls", "model": "per_unit", "unit_rate": "1.00"}
    for code in ("one", "two"):
        plans.published_plan(code=code, base_fee=None, charges=[charge])
    person = customers.customer(external_id="acme")
    first = subscriptions.subscription(customer=person, plan_code="one")
    with pytest.raises(subscription_services.MeterChargedTwice, match="api_calls"):
        subscriptions.subscription(customer=person, plan_code="two", starts_at=START + timedelta(days=3))
    assert person.subscriptions.count() == 1
    subscription_services.subscription_end(
        subscription_id=first.id, actor=OPERATOR, at=START + timedelta(days=3), reason=("change of plan", "")
    )
    second = subscriptions.subscription(customer=person, plan_code="two", starts_at=FEBRUARY)
    assert subscription_selectors.last_period(subscription_id=second.id).starts_at == FEBRUARY


def test_a_code_that_reads_like_an_id_is_refused(tenant):
    _flat()
    _person, subscription = _subscribed("acme")
    with pytest.raises(SubscriptionInvalid, match="reads like an id"):
        _subscribed("other", external_id_of_subscription=subscription.public_id)


def test_refreshing_a_metered_draft_keeps_its_lines(committed_tenant):
    from apps.common import ids

    code = f"kept-{str(ids.new_id())[-8:]}"
    metering.meter(code=code, event_type=code)
    charge = {"code": "calls", "meter": code, "model": "per_unit", "unit_rate": "1.00"}
    plans.published_plan(code=code, base_fee=None, charges=[charge])
    person = customers.customer(external_id=code)
    subscriptions.subscription(customer=person, plan_code=code)
    metering.events(customer=code, event_type=code, count=3, occurred_at=START, prefix=code, at=START)
    cycle_close.billing_run_start(
        trigger="tests", actor=SCHEDULE, at=FEBRUARY, wall_at=FEBRUARY, customer_ids=[person.id]
    )
    invoice = Invoice.objects.get(customer=person)
    lines = list(invoice.lines.values_list("id", flat=True))
    customers.customer(external_id=f"{code}-other")  # somebody else commits something
    refreshed = cycle_close.invoice_refresh(invoice_id=invoice.id, at=FEBRUARY)
    assert list(refreshed.lines.values_list("id", flat=True)) == lines
