"""Read payment methods and attempts."""

from datetime import datetime
from uuid import UUID

from django.db.models import F, Q, QuerySet
from django.db.models.functions import Coalesce

from apps.common import ids
from apps.payments.errors import PaymentUnknown
from apps.payments.models import AttemptStatus, PaymentAttempt, PaymentMethod


def payment_method_default(*, customer_id: UUID) -> PaymentMethod | None:
    """Return the method that automatic collection charges."""
    return PaymentMethod.objects.filter(customer_id=customer_id, is_default=True, detached_at__isnull=True).first()


def payment_methods_of(*, customer_id: UUID) -> QuerySet[PaymentMethod]:
    """Return a customer's methods that may be charged, newest first."""
    return PaymentMethod.objects.filter(customer_id=customer_id, detached_at__isnull=True).order_by("-id")


def attempts_queryset() -> QuerySet[PaymentAttempt]:
    """Return all attempts with what lists show, newest first."""
    return PaymentAttempt.objects.select_related("invoice__customer", "method").order_by("-id")


def attempt_by_reference(reference: str) -> PaymentAttempt:
    """
    Return the attempt with this public id.

    :raises PaymentUnknown: if there is none
    """
    try:
        attempt = attempts_queryset().filter(id=PaymentAttempt.id_from_public(reference)).first()
    except ids.IdInvalid as error:
        raise PaymentUnknown(str(error)) from error
    if attempt is None:
        raise PaymentUnknown(f"There is no payment '{reference}'.")
    return attempt


def attempts_of(*, invoice_id: UUID) -> QuerySet[PaymentAttempt]:
    """Return the tries to collect an invoice, first to last."""
    return PaymentAttempt.objects.filter(invoice_id=invoice_id).select_related("method").order_by("sequence")


def attempts_to_look_up(*, at: datetime) -> QuerySet[PaymentAttempt]:
    """Return attempts whose outcome is not known and whose look-up is due by the customer's own clock."""
    return (
        PaymentAttempt.objects.annotate(now_at=Coalesce(F("invoice__customer__test_clock__now_at"), at))
        .filter(Q(status__in=[AttemptStatus.SUBMITTED, AttemptStatus.UNKNOWN]) & Q(next_lookup_at__lte=F("now_at")))
        .order_by("next_lookup_at", "id")
    )
