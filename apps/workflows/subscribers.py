"""Who listens to what: the one table from event type to handler.

Handlers are called after the event is committed, at least once, in order per aggregate; each is harmless to repeat.
A handler that finds its work done returns; a refusal it cannot act on is raised and waits for a person.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from apps.common.actors import SCHEDULE
from apps.customers import selectors as customer_selectors
from apps.invoices.models import Invoice, InvoiceStatus
from apps.messaging.models import DomainEvent
from apps.payments import selectors as payment_selectors
from apps.payments.errors import AttemptInProgress, NothingToCollect, PaymentMethodMissing
from apps.payments.models import PaymentAttempt
from apps.subscriptions.models import Subscription
from apps.workflows import collection, cycle_close, mails

# How often a charge that never reached the gateway is begun anew before a person has to look.
TRIES_MAX = 4


class Handler(Protocol):
    """What handles an event."""

    def __call__(self, *, event: DomainEvent, wall_at: datetime) -> None:
        """Do what the event asks for."""
        ...


def subscription_bill_start(*, event: DomainEvent, wall_at: datetime) -> None:
    """Bill a new subscription's fees in advance, with the date of today however far back it began."""
    subscription = Subscription.objects.select_related("customer__test_clock").get(id=event.aggregate_id)
    now_at = customer_selectors.customer_now(customer=subscription.customer, at=wall_at)
    cycle_close.start_invoice_create(subscription_id=subscription.id, actor=SCHEDULE, at=now_at)


def invoice_collect_automatically(*, event: DomainEvent, wall_at: datetime) -> None:
    """Charge the default method of a customer who agreed to it."""
    invoice = Invoice.objects.select_related("customer__test_clock").get(id=event.aggregate_id)
    customer = invoice.customer
    if invoice.status != InvoiceStatus.OPEN or not customer.is_auto_collected:
        return
    if payment_selectors.payment_method_default(customer_id=customer.id) is None:
        return
    if payment_selectors.attempts_of(invoice_id=invoice.id).exists():
        # This message was handled before, or somebody was faster; further tries are not its business.
        return
    now_at = customer_selectors.customer_now(customer=customer, at=wall_at)
    try:
        collection.invoice_collect(invoice_id=invoice.id, actor=SCHEDULE, at=now_at)
    except (AttemptInProgress, NothingToCollect):
        return


def invoice_mail(*, event: DomainEvent, wall_at: datetime) -> None:
    """Tell the customer that an invoice was issued."""
    mails.invoice_issued_mail(invoice_id=event.aggregate_id, wall_at=wall_at)


def payment_receipt_mail(*, event: DomainEvent, wall_at: datetime) -> None:
    """Tell the customer that money was received."""
    mails.payment_receipt_mail(attempt_id=event.aggregate_id, wall_at=wall_at)


def payment_try_again(*, event: DomainEvent, wall_at: datetime) -> None:
    """Charge anew when a try is known never to have reached the gateway, e.g. because we died on the way there."""
    attempt = PaymentAttempt.objects.select_related("invoice__customer__test_clock").get(id=event.aggregate_id)
    if attempt.failure_code != "request_never_arrived" or attempt.sequence >= TRIES_MAX:
        return
    if payment_selectors.attempts_of(invoice_id=attempt.invoice_id).filter(sequence__gt=attempt.sequence).exists():
        return
    now_at = customer_selectors.customer_now(customer=attempt.invoice.customer, at=wall_at)
    try:
        collection.invoice_collect(invoice_id=attempt.invoice_id, actor=SCHEDULE, at=now_at)
    except (AttemptInProgress, NothingToCollect, PaymentMethodMissing):
        return


def payment_failed_mail(*, event: DomainEvent, wall_at: datetime) -> None:
    """Tell the customer that a payment failed; a try that never reached the gateway is news once it is the last."""
    attempt = PaymentAttempt.objects.get(id=event.aggregate_id)
    if attempt.failure_code != "request_never_arrived" or attempt.sequence >= TRIES_MAX:
        mails.payment_failed_mail(attempt_id=attempt.id, wall_at=wall_at)


def usage_threshold_mail(*, event: DomainEvent, wall_at: datetime) -> None:
    """Tell the customer that usage has come to a share of a limit."""
    mails.usage_threshold_mail(threshold_id=event.aggregate_id, wall_at=wall_at)


SUBSCRIBERS: Mapping[str, Mapping[str, Handler]] = {
    "subscriptions.subscription.activated": {"bill start": subscription_bill_start},
    "invoices.invoice.finalized": {
        "collect automatically": invoice_collect_automatically,
        "mail invoice": invoice_mail,
    },
    "payments.attempt.succeeded": {"mail receipt": payment_receipt_mail},
    "usage.threshold.reached": {"mail threshold": usage_threshold_mail},
    "payments.attempt.failed": {"try again": payment_try_again, "mail failure": payment_failed_mail},
}


def handler_named(*, topic: str, name: str) -> Handler | None:
    """Return a handler of the table, or nothing when a release took it out."""
    return SUBSCRIBERS.get(topic, {}).get(name)
