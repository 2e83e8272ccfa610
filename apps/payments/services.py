"""Write payment methods and attempts: remember, (the workflow calls the gateway), record."""

from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import Max

from apps.audit import services as audit_services
from apps.common import locks
from apps.common.actors import Actor
from apps.common.db import unit_of_work
from apps.customers.models import Customer
from apps.engine import postings
from apps.invoices import services as invoice_services
from apps.invoices.models import Invoice
from apps.ledger import services as ledger_services
from apps.lifecycle.services import transition_apply
from apps.messaging import services as messaging_services
from apps.payments import selectors
from apps.payments.errors import AttemptInProgress, AttemptNotResolvable, NothingToCollect, PaymentMethodMissing
from apps.payments.gateways.base import (
    FAILURE_KINDS,
    ChargeOutcome,
    ChargeRequest,
    OutcomeKind,
    gateway_named,
)
from apps.payments.models import OPEN_ATTEMPT_STATUSES, AttemptStatus, PaymentAttempt, PaymentMethod

# How long to wait before asking again what became of a charge: soon, then rarely; the last pause repeats.
LOOKUP_PAUSES = (timedelta(minutes=5), timedelta(hours=1), timedelta(days=1))


@unit_of_work
def payment_method_attach(
    *, customer_id: UUID, token: str, label: str, actor: Actor, at: datetime, gateway: str = ""
) -> PaymentMethod:
    """
    Keep a vendor token as the method that automatic collection charges from now on.

    :raises NotFound: if the customer does not exist
    :raises GatewayUnknown: if no gateway has that name
    """
    customer = locks.get_for_update(Customer, customer_id)
    gateway = gateway or settings.PAYMENT_GATEWAY_DEFAULT
    gateway_named(gateway)
    PaymentMethod.objects.filter(customer=customer, is_default=True).update(is_default=False)
    method = PaymentMethod.objects.create(
        customer=customer, gateway=gateway, token=token, label=label, is_default=True, attached_at=at
    )
    audit_services.entry_write(
        entity=method, action="attach", actor=actor, at=at, before={}, after={"gateway": gateway, "label": label}
    )
    return method


@unit_of_work
def attempt_open(*, invoice_id: UUID, actor: Actor, at: datetime) -> PaymentAttempt:
    """
    Remember that we are about to collect what an invoice owes, under a key derived from invoice and attempt number.

    :raises NothingToCollect: if nothing is owed
    :raises AttemptInProgress: if an earlier attempt has no outcome yet
    :raises PaymentMethodMissing: if the customer has no default method
    """
    invoice = locks.get_for_update(Invoice, invoice_id)
    if invoice.due_minor <= 0:
        raise NothingToCollect(f"Invoice {invoice} is {invoice.status} and owes nothing.")
    if PaymentAttempt.objects.filter(invoice=invoice, status__in=OPEN_ATTEMPT_STATUSES).exists():
        raise AttemptInProgress(f"An attempt to collect invoice {invoice} has no outcome yet; look it up first.")
    method = selectors.payment_method_default(customer_id=invoice.customer_id)
    if method is None:
        raise PaymentMethodMissing(f"{invoice.customer} has no payment method; attach one first.")
    last = PaymentAttempt.objects.filter(invoice=invoice).aggregate(last=Max("sequence"))["last"] or 0
    attempt = PaymentAttempt.objects.create(
        invoice=invoice,
        sequence=last + 1,
        method=method,
        gateway=method.gateway,
        amount_minor=invoice.due_minor,
        currency=invoice.currency,
        # No clock and no randomness in it: a retry after a crash must be the same request to the processor.
        idempotency_key=f"{invoice.public_id}-{last + 1}-{invoice.due_minor}",
        opened_at=at,
    )
    attempt.next_lookup_at = at + LOOKUP_PAUSES[0]
    transition_apply(instance=attempt, action="submit", actor=actor, at=at, save_fields=("next_lookup_at",))
    return attempt


def charge_request(attempt: PaymentAttempt) -> ChargeRequest:
    """Return an attempt as the gateway sees it."""
    return ChargeRequest(
        idempotency_key=attempt.idempotency_key,
        token=attempt.method.token,
        amount_minor=attempt.amount_minor,
        currency=attempt.currency,
        description=f"Invoice {attempt.invoice.number}",
    )


@unit_of_work
def attempt_record(*, attempt_id: UUID, outcome: ChargeOutcome, actor: Actor, at: datetime) -> PaymentAttempt:
    """
    Record what the gateway said: book the money, note the failure, or keep asking.

    :raises AttemptNotResolvable: if the attempt has its outcome already
    """
    # The invoice first, as `attempt_open` does: one order of locks for everybody.
    invoice_id = PaymentAttempt.objects.values_list("invoice_id", flat=True).get(id=attempt_id)
    locks.get_for_update(Invoice, invoice_id)
    attempt = locks.get_for_update(PaymentAttempt, attempt_id)
    if attempt.status not in (AttemptStatus.SUBMITTED, AttemptStatus.UNKNOWN):
        raise AttemptNotResolvable(f"Payment {attempt.public_id} is {attempt.status}; its outcome is known.")
    attempt.gateway_reference = outcome.reference or attempt.gateway_reference
    if outcome.kind == OutcomeKind.SUCCEEDED:
        _succeed(attempt, actor=actor, at=at)
    elif outcome.kind == OutcomeKind.DECLINED:
        _fail(attempt, failure_code=outcome.failure_code, actor=actor, at=at)
    elif outcome.kind == OutcomeKind.ABSENT and _is_long_past(attempt, at):
        _fail(attempt, failure_code="request_never_arrived", actor=actor, at=at)
    else:
        _keep_asking(attempt, is_unheard=outcome.kind == OutcomeKind.UNKNOWN, actor=actor, at=at)
    return attempt


@unit_of_work
def attempt_look_up_later(*, attempt_id: UUID, at: datetime) -> None:
    """Put off a look-up that went wrong, so that it does not stand before the others again at once."""
    attempt = locks.get_for_update(PaymentAttempt, attempt_id)
    if attempt.status in (AttemptStatus.SUBMITTED, AttemptStatus.UNKNOWN):
        attempt.next_lookup_at = at + LOOKUP_PAUSES[-1]
        attempt.save(update_fields=["next_lookup_at"])


@unit_of_work
def attempt_contradiction_note(*, attempt_id: UUID, outcome: ChargeOutcome, actor: Actor, at: datetime) -> None:
    """
    Keep it when a gateway says something else than what was recorded for good, e.g. an answer hours late.

    Money may have moved that no document knows of; an invariant shows these until a person has dealt with them.
    """
    attempt = locks.get_for_update(PaymentAttempt, attempt_id)
    messaging_services.event_publish(
        topic="payments.attempt.contradicted",
        aggregate_type=PaymentAttempt.entity_type(),
        aggregate_id=attempt.id,
        payload={
            **_news(attempt),
            "recorded": str(attempt.status),
            "said": outcome.kind.value,
            "reference": outcome.reference,
        },
        actor=actor,
        at=at,
    )


def _is_long_past(attempt: PaymentAttempt, at: datetime) -> bool:
    # A charge may still be on its way while it is looked up; only after every time-out "never seen" is an answer.
    return attempt.submitted_at is not None and at - attempt.submitted_at >= LOOKUP_PAUSES[0]


def _succeed(attempt: PaymentAttempt, *, actor: Actor, at: datetime) -> None:
    attempt.next_lookup_at = None
    transition_apply(
        instance=attempt,
        action="succeed",
        actor=actor,
        at=at,
        topic="payments.attempt.succeeded",
        payload=_news(attempt),
        save_fields=("gateway_reference", "next_lookup_at"),
    )
    ledger_services.transaction_post(
        template=postings.PostingTemplate.PAYMENT_RECEIVED,
        source_type=PaymentAttempt.entity_type(),
        source_id=attempt.id,
        customer_id=attempt.invoice.customer_id,
        facts=postings.PaymentReceived(currency=attempt.currency, amount_minor=attempt.amount_minor),
        booked_at=at,
        memo=f"Payment of invoice {attempt.invoice.number}",
    )
    invoice_services.invoice_payment_record(
        invoice_id=attempt.invoice_id, amount_minor=attempt.amount_minor, actor=actor, at=at
    )


def _fail(attempt: PaymentAttempt, *, failure_code: str, actor: Actor, at: datetime) -> None:
    attempt.next_lookup_at = None
    attempt.failure_code = failure_code
    attempt.failure_kind = FAILURE_KINDS[failure_code].value
    transition_apply(
        instance=attempt,
        action="fail",
        actor=actor,
        at=at,
        topic="payments.attempt.failed",
        payload={**_news(attempt), "failure_code": failure_code, "failure_kind": attempt.failure_kind},
        save_fields=("gateway_reference", "next_lookup_at", "failure_code", "failure_kind"),
    )


def _keep_asking(attempt: PaymentAttempt, *, is_unheard: bool, actor: Actor, at: datetime) -> None:
    attempt.next_lookup_at = at + LOOKUP_PAUSES[min(attempt.lookups, len(LOOKUP_PAUSES) - 1)]
    attempt.lookups += 1
    fields = ("gateway_reference", "next_lookup_at", "lookups")
    if is_unheard and attempt.status == AttemptStatus.SUBMITTED:
        transition_apply(
            instance=attempt,
            action="lose_track",
            actor=actor,
            at=at,
            topic="payments.attempt.unknown",
            payload=_news(attempt),
            save_fields=fields,
        )
    else:
        attempt.save(update_fields=fields)


def _news(attempt: PaymentAttempt) -> dict[str, str | int]:
    return {
        "invoice": attempt.invoice.public_id,
        "customer": attempt.invoice.customer.public_id,
        "sequence": attempt.sequence,
        "amount_minor": attempt.amount_minor,
        "currency": attempt.currency,
    }
