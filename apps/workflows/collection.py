"""Collect what an invoice owes: remember, call, record. Never a vendor call inside a transaction."""

from datetime import datetime
from uuid import UUID

import structlog
from celery.exceptions import SoftTimeLimitExceeded

from apps.common.actors import SCHEDULE, Actor
from apps.customers import selectors as customer_selectors
from apps.payments import selectors as payment_selectors
from apps.payments import services as payment_services
from apps.payments.errors import AttemptNotResolvable
from apps.payments.gateways.base import gateway_named
from apps.payments.models import AttemptStatus, PaymentAttempt

log = structlog.get_logger(__name__)

LOOKUP_BATCH = 200


def invoice_collect(*, invoice_id: UUID, actor: Actor, at: datetime) -> PaymentAttempt:
    """
    Charge the customer's default method for all that an invoice owes, and return the attempt with its outcome.

    :raises NothingToCollect: if nothing is owed
    :raises AttemptInProgress: if an earlier attempt has no outcome yet
    :raises PaymentMethodMissing: if the customer has no default method
    """
    attempt = payment_services.attempt_open(invoice_id=invoice_id, actor=actor, at=at)
    outcome = gateway_named(attempt.gateway).charge(payment_services.charge_request(attempt), at=at)
    try:
        return payment_services.attempt_record(attempt_id=attempt.id, outcome=outcome, actor=actor, at=at)
    except AttemptNotResolvable:
        # We slept through the time-out and a look-up closed the attempt; what was said now must not be lost.
        payment_services.attempt_contradiction_note(attempt_id=attempt.id, outcome=outcome, actor=actor, at=at)
        raise


def payment_resolve(*, attempt_id: UUID, actor: Actor, at: datetime) -> PaymentAttempt:
    """
    Ask the gateway that was called what became of an attempt; it is never repeated and never sent elsewhere.

    :raises AttemptNotResolvable: if its outcome is known
    """
    attempt = PaymentAttempt.objects.get(id=attempt_id)
    if attempt.status not in (AttemptStatus.SUBMITTED, AttemptStatus.UNKNOWN):
        raise AttemptNotResolvable(f"Payment {attempt.public_id} is {attempt.status}; its outcome is known.")
    outcome = gateway_named(attempt.gateway).look_up(attempt.idempotency_key, at=at)
    return payment_services.attempt_record(attempt_id=attempt.id, outcome=outcome, actor=actor, at=at)


def payments_resolve_due(*, at: datetime, customer_ids: list[UUID] | None = None) -> int:
    """Look up every attempt whose time has come, and return how many now have an outcome."""
    due = payment_selectors.attempts_to_look_up(at=at).select_related("invoice__customer__test_clock")
    if customer_ids is not None:
        due = due.filter(invoice__customer_id__in=customer_ids)
    resolved = 0
    for attempt in list(due[:LOOKUP_BATCH]):
        customer_now = customer_selectors.customer_now(customer=attempt.invoice.customer, at=at)
        try:
            after = payment_resolve(attempt_id=attempt.id, actor=SCHEDULE, at=customer_now)
        except AttemptNotResolvable:
            log.info("resolved by somebody else", attempt=attempt.public_id)
            continue
        except SoftTimeLimitExceeded:
            raise
        except Exception:  # noqa: BLE001  one bad answer must not keep the others from being heard
            log.exception("payment not looked up", attempt=attempt.public_id)
            payment_services.attempt_look_up_later(attempt_id=attempt.id, at=customer_now)
            continue
        resolved += after.status in (AttemptStatus.SUCCEEDED, AttemptStatus.FAILED)
    return resolved
