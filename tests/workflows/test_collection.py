"""Collecting: remember, call, record; unknown is looked up and never repeated."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, transaction

from apps.common.actors import OPERATOR
from apps.common.db import VendorCallInTransaction, require_no_transaction, unit_of_work
from apps.invoices.models import Invoice, InvoiceStatus
from apps.ledger import selectors as ledger_selectors
from apps.messaging.models import DomainEvent
from apps.notifications.models import Mail
from apps.payments import services as payment_services
from apps.payments.errors import AttemptInProgress, AttemptNotResolvable, NothingToCollect, PaymentMethodMissing
from apps.payments.gateways import base
from apps.payments.gateways.base import FAILURE_KINDS, ChargeOutcome, ChargeRequest, OutcomeKind
from apps.payments.gateways.sandbox import IdempotencyKeyReused, SandboxGateway
from apps.payments.models import AttemptStatus, PaymentAttempt, SandboxCharge
from apps.workflows import collection, invariants, relay
from tests.builders import customers, plans, subscriptions
from tests.builders.subscriptions import START

pytestmark = pytest.mark.django_db


@pytest.fixture
def invoice(tenant) -> Invoice:
    """An open invoice over 99.00 of a customer without a payment method."""
    plans.published_plan(code="flat", base_fee="99.00", charges=[])
    customer = customers.customer(external_id="acme", email="pay@acme.example")
    subscriptions.subscription(customer=customer, plan_code="flat")
    relay.outbox_relay(wall_at=START)
    invoice = Invoice.objects.get(customer=customer)
    assert (invoice.status, invoice.total_minor) == (InvoiceStatus.OPEN, 9_900)
    return invoice


def _collect(invoice, token, at=START):
    subscriptions.payment_method(customer=invoice.customer, token=token, at=at)
    return collection.invoice_collect(invoice_id=invoice.id, actor=OPERATOR, at=at)


def test_an_approved_charge_pays_the_invoice_and_is_booked(invoice):
    attempt = _collect(invoice, "tok_approve")
    invoice.refresh_from_db()
    assert (attempt.status, invoice.status, invoice.paid_minor) == (AttemptStatus.SUCCEEDED, "PAID", 9_900)
    assert ledger_selectors.account_balance_minor(code="1100", currency="USD") == 0
    assert ledger_selectors.account_balance_minor(code="1050", currency="USD") == 9_900
    assert invariants.invariants_check(at=START) == []


@pytest.mark.parametrize(
    ("token", "code", "kind"),
    [("tok_decline_soft", "insufficient_funds", "soft"), ("tok_decline_hard", "stolen_card", "hard")],
)
def test_a_decline_is_classified_and_takes_nothing(invoice, token, code, kind):
    """S247: declines are told apart, and no other gateway is tried."""
    attempt = _collect(invoice, token)
    invoice.refresh_from_db()
    assert (attempt.status, attempt.failure_code, attempt.failure_kind) == (AttemptStatus.FAILED, code, kind)
    assert (invoice.status, invoice.paid_minor) == (InvoiceStatus.OPEN, 0)
    assert ledger_selectors.account_balance_minor(code="1050", currency="USD") == 0
    assert SandboxCharge.objects.filter(outcome="captured").count() == 0


def test_every_failure_code_the_sandbox_can_say_is_classified():
    from apps.payments.gateways import sandbox

    said = {*sandbox._DECLINES.values(), "method_not_supported", "request_never_arrived"}
    assert said <= set(FAILURE_KINDS)


def test_an_answer_that_was_not_heard_blocks_further_tries_until_it_is_looked_up(invoice):
    """S246: a timeout never moves on to another charge; the first processor is asked what became of it."""
    attempt = _collect(invoice, "tok_timeout_after")
    assert attempt.status == AttemptStatus.UNKNOWN
    assert SandboxCharge.objects.get().outcome == "captured"
    with pytest.raises(AttemptInProgress):
        collection.invoice_collect(invoice_id=invoice.id, actor=OPERATOR, at=START)
    assert SandboxCharge.objects.count() == 1
    resolved = collection.payment_resolve(attempt_id=attempt.id, actor=OPERATOR, at=START + timedelta(minutes=5))
    invoice.refresh_from_db()
    assert (resolved.status, invoice.status) == (AttemptStatus.SUCCEEDED, InvoiceStatus.PAID)
    assert SandboxCharge.objects.count() == 1


def test_an_answer_that_was_not_heard_because_nothing_happened_frees_the_invoice(invoice):
    attempt = _collect(invoice, "tok_timeout_before")
    assert attempt.status == AttemptStatus.UNKNOWN
    resolved = collection.payment_resolve(attempt_id=attempt.id, actor=OPERATOR, at=START + timedelta(minutes=5))
    assert (resolved.status, resolved.failure_code) == (AttemptStatus.FAILED, "request_never_arrived")
    second = _collect(invoice, "tok_approve")
    assert (second.sequence, second.status) == (2, AttemptStatus.SUCCEEDED)


def test_a_delayed_charge_is_asked_after_until_it_is_decided(invoice):
    attempt = _collect(invoice, "tok_delayed")
    assert attempt.status == AttemptStatus.SUBMITTED
    for minutes, expected in ((30, AttemptStatus.SUBMITTED), (61, AttemptStatus.SUCCEEDED)):
        attempt = collection.payment_resolve(
            attempt_id=attempt.id, actor=OPERATOR, at=START + timedelta(minutes=minutes)
        )
        assert attempt.status == expected
    with pytest.raises(AttemptNotResolvable):
        collection.payment_resolve(attempt_id=attempt.id, actor=OPERATOR, at=START + timedelta(hours=2))


def test_beat_looks_up_what_is_due_and_nothing_else(invoice):
    _collect(invoice, "tok_timeout_after")
    assert collection.payments_resolve_due(at=START + timedelta(minutes=4)) == 0
    assert collection.payments_resolve_due(at=START + timedelta(minutes=5)) == 1
    assert collection.payments_resolve_due(at=START + timedelta(minutes=6)) == 0


def test_the_key_is_derived_from_the_attempt_and_from_no_clock(invoice):
    """S248: a retry of the same attempt is the same request, whenever it is made."""
    subscriptions.payment_method(customer=invoice.customer)
    attempt = payment_services.attempt_open(invoice_id=invoice.id, actor=OPERATOR, at=START)
    assert attempt.idempotency_key == f"{invoice.public_id}-1-9900"
    gateway, request = SandboxGateway(), payment_services.charge_request(attempt)
    first = gateway.charge(request, at=START)
    again = gateway.charge(request, at=START + timedelta(hours=30))
    assert first == again
    assert SandboxCharge.objects.count() == 1


def test_a_key_in_use_for_another_request_is_refused_and_never_taken_for_success(invoice):
    """S254: the object that belongs to the key is what counts; another request under it is an error."""
    gateway = SandboxGateway()
    request = ChargeRequest(idempotency_key="k", token="tok_approve", amount_minor=100, currency="USD", description="-")
    gateway.charge(request, at=START)
    other = ChargeRequest(idempotency_key="k", token="tok_approve", amount_minor=200, currency="USD", description="-")
    with pytest.raises(IdempotencyKeyReused):
        gateway.charge(other, at=START)
    assert SandboxCharge.objects.get().amount_minor == 100
    assert gateway.look_up("k", at=START).kind == OutcomeKind.SUCCEEDED


def test_nothing_is_collected_twice(invoice):
    _collect(invoice, "tok_approve")
    with pytest.raises(NothingToCollect):
        collection.invoice_collect(invoice_id=invoice.id, actor=OPERATOR, at=START)
    attempt = PaymentAttempt.objects.get()
    with pytest.raises(AttemptNotResolvable):
        payment_services.attempt_record(
            attempt_id=attempt.id, outcome=ChargeOutcome(kind=OutcomeKind.SUCCEEDED), actor=OPERATOR, at=START
        )
    assert ledger_selectors.account_balance_minor(code="1050", currency="USD") == 9_900


def test_the_database_refuses_a_second_open_attempt(invoice):
    attempt = _collect(invoice, "tok_timeout_after")
    with pytest.raises(IntegrityError, match="payment_attempt_one_open"), transaction.atomic():
        PaymentAttempt.objects.create(
            invoice=invoice,
            sequence=2,
            method=attempt.method,
            gateway="sandbox",
            amount_minor=1,
            currency="USD",
            idempotency_key="another",
            opened_at=START,
        )


def test_the_database_refuses_more_paid_than_billed(invoice):
    with pytest.raises(IntegrityError, match="invoice_paid_within_total"), transaction.atomic():
        Invoice.objects.filter(id=invoice.id).update(paid_minor=9_901)


def test_without_a_method_nothing_is_tried(invoice):
    with pytest.raises(PaymentMethodMissing, match="attach one"):
        collection.invoice_collect(invoice_id=invoice.id, actor=OPERATOR, at=START)
    assert PaymentAttempt.objects.count() == 0


def test_an_issued_invoice_is_collected_automatically_once(tenant):
    """S050: the handler of the news may run twice; the money moves once."""
    plans.published_plan(code="flat", base_fee="99.00", charges=[])
    customer = customers.customer(external_id="acme", email="pay@acme.example")
    subscriptions.payment_method(customer=customer)
    subscriptions.subscription(customer=customer, plan_code="flat")
    relay.outbox_relay(wall_at=START)
    invoice = Invoice.objects.get(customer=customer)
    assert invoice.status == InvoiceStatus.PAID
    from apps.workflows import subscribers

    event = DomainEvent.objects.get(aggregate_id=invoice.id, topic="invoices.invoice.finalized")
    subscribers.invoice_collect_automatically(event=event, wall_at=START)
    subscribers.invoice_mail(event=event, wall_at=START)
    assert PaymentAttempt.objects.filter(invoice=invoice).count() == 1
    assert Mail.objects.filter(kind="invoice_finalized").count() == 1
    assert Mail.objects.filter(kind="payment_receipt").count() == 1


def test_a_vendor_call_inside_our_transaction_is_refused(tenant):
    @unit_of_work
    def careless() -> None:
        with transaction.atomic():
            require_no_transaction()

    with pytest.raises(VendorCallInTransaction):
        careless()


def test_an_unknown_gateway_is_named():
    with pytest.raises(base.GatewayUnknown, match="known: sandbox"):
        base.gateway_named("cash under the door")


def test_times_are_stored_in_utc(invoice):
    """S064: every stored instant is aware and in UTC."""
    invoice.refresh_from_db()
    assert invoice.finalized_at.utcoffset() == timedelta(0)
    assert invoice.finalized_at == datetime(2026, 1, 1, tzinfo=UTC)
