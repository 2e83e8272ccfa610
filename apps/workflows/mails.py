"""Which mail is written when; the words are in templates/emails."""

from datetime import datetime
from uuid import UUID

from django.template.loader import render_to_string

from apps.common import formatting
from apps.engine.money import Money
from apps.entitlements.models import UsageCap
from apps.invoices.models import Invoice
from apps.metering.limit_models import LimitOrigin, UsageThreshold
from apps.notifications import services as notification_services
from apps.payments.models import PaymentAttempt
from apps.workflows import links


def invoice_issued_mail(*, invoice_id: UUID, wall_at: datetime) -> None:
    """Write and send the mail about an issued invoice, once; customers without an address get none."""
    invoice = Invoice.objects.select_related("customer", "entity").get(id=invoice_id)
    _mail(
        kind="invoice_finalized",
        source=invoice,
        recipient=invoice.customer.email,
        subject=f"Invoice {invoice.number} from {invoice.entity.legal_name}",
        facts={
            "invoice": invoice,
            "total": str(Money(invoice.total_minor, invoice.currency)),
            "owed": str(Money(invoice.due_minor, invoice.currency)) if invoice.credit_minor else "",
            "discounts": [
                {
                    "name": discount.name,
                    "code": discount.code,
                    "amount": str(Money(discount.amount_minor, invoice.currency)),
                }
                for discount in invoice.discounts.order_by("position")
            ],
            "link": links.portal_invoice_url(invoice),
        },
        wall_at=wall_at,
    )


def payment_receipt_mail(*, attempt_id: UUID, wall_at: datetime) -> None:
    """Write and send the receipt of a payment, once."""
    _payment_mail("payment_receipt", "Payment received for invoice {number}", attempt_id, wall_at)


def payment_failed_mail(*, attempt_id: UUID, wall_at: datetime) -> None:
    """Write and send the notice that a payment failed, once."""
    _payment_mail("payment_failed", "Payment failed for invoice {number}", attempt_id, wall_at)


def _payment_mail(kind: str, subject: str, attempt_id: UUID, wall_at: datetime) -> None:
    attempt = PaymentAttempt.objects.select_related("invoice__customer", "invoice__entity", "method").get(id=attempt_id)
    _mail(
        kind=kind,
        source=attempt,
        recipient=attempt.invoice.customer.email,
        subject=subject.format(number=attempt.invoice.number),
        facts={
            "attempt": attempt,
            "invoice": attempt.invoice,
            "amount": str(Money(attempt.amount_minor, attempt.currency)),
            "link": links.portal_invoice_url(attempt.invoice),
        },
        wall_at=wall_at,
    )


def usage_threshold_mail(*, threshold_id: UUID, wall_at: datetime) -> None:
    """Write and send the mail about a share of a limit that usage has come to, once; to the approver of a cap, too."""
    threshold = UsageThreshold.objects.select_related("limit__customer", "limit__meter").get(id=threshold_id)
    limit, customer = threshold.limit, threshold.limit.customer
    cap = UsageCap.objects.filter(id=limit.source_id).first() if limit.origin == LimitOrigin.CUSTOMER else None
    facts: dict[str, object] = {
        "threshold": threshold,
        "limit": limit,
        "customer": customer,
        "cap": cap,
        "used": formatting.number_text(f"{threshold.used_units:f}", customer.locale),
        "of": formatting.number_text(f"{threshold.limit_units:f}", customer.locale),
        "resets": formatting.instant_text(limit.ends_at, customer.timezone, customer.locale),
        "link": links.tenant_url("/portal/limits/"),
    }
    subject = f"{limit.meter.name}: {threshold.percent} % of the limit is used"
    recipients = {"usage_threshold": customer.email}
    if cap is not None and cap.approver_email:
        recipients["usage_cap_approver"] = cap.approver_email
    for kind, recipient in recipients.items():
        _mail(kind=kind, source=threshold, recipient=recipient, subject=subject, facts=facts, wall_at=wall_at)


def _mail(
    *,
    kind: str,
    source: Invoice | PaymentAttempt | UsageThreshold,
    recipient: str,
    subject: str,
    facts: dict[str, object],
    wall_at: datetime,
) -> None:
    if not recipient:
        return
    mail = notification_services.mail_queue(
        kind=kind,
        source_type=source._meta.label_lower,
        source_id=source.id,
        recipient=recipient,
        subject=subject,
        body=render_to_string(f"emails/{kind}.txt", facts),
        at=wall_at,
    )
    notification_services.mail_send(mail_id=mail.id, at=wall_at)
