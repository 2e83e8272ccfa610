"""Read documents, drafts and runs."""

from datetime import date, datetime
from uuid import UUID

from django.db.models import Case, Count, F, Q, QuerySet, Sum, Value, When
from django.db.models.functions import Coalesce

from apps.common import ids
from apps.invoices.errors import BillingEntityMissing, InvoiceUnknown
from apps.invoices.models import (
    BillingEntity,
    BillingRun,
    Invoice,
    InvoiceKind,
    InvoiceLine,
    InvoiceStatus,
    NumberSeries,
)

# Documents that count for nothing.
_DEAD = (InvoiceStatus.DISCARDED, InvoiceStatus.VOID)
# Documents that bill.
_FINAL = (InvoiceStatus.OPEN, InvoiceStatus.PAID, InvoiceStatus.UNCOLLECTIBLE)


def billing_entity_default() -> BillingEntity:
    """
    Return the entity that issues documents.

    :raises BillingEntityMissing: if there is none
    """
    entity = BillingEntity.objects.filter(is_default=True).first()
    if entity is None:
        raise BillingEntityMissing("No billing entity issues documents yet; provision the tenant again.")
    return entity


def invoices_queryset() -> QuerySet[Invoice]:
    """Return all invoices with what lists show, newest first."""
    return Invoice.objects.select_related("customer", "entity", "subscription__plan_version__plan").order_by("-id")


def invoice_by_reference(reference: str) -> Invoice:
    """
    Return the invoice with this public id or number.

    :raises InvoiceUnknown: if there is none
    """
    try:
        match = Q(id=Invoice.id_from_public(reference))
    except ids.IdInvalid:
        match = Q(number=reference)
    invoice = invoices_queryset().filter(match).first() if ids.is_searchable(reference) else None
    if invoice is None:
        raise InvoiceUnknown(f"There is no invoice '{reference}'.")
    return invoice


def invoice_line_of(*, invoice: Invoice, reference: str) -> InvoiceLine:
    """
    Return one line of an invoice by its public id.

    :raises InvoiceUnknown: if the invoice has no such line
    """
    try:
        line_id = InvoiceLine.id_from_public(reference)
    except ids.IdInvalid as error:
        raise InvoiceUnknown(str(error)) from error
    line = invoice.lines.filter(id=line_id).first()
    if line is None:
        raise InvoiceUnknown(f"Invoice {invoice} has no line '{reference}'.")
    return line


def invoice_live_of(*, period_id: UUID, kind: InvoiceKind) -> Invoice | None:
    """Return the document of a period that counts; discarded and void ones do not."""
    return Invoice.objects.filter(billing_period_id=period_id, kind=kind).exclude(status__in=_DEAD).first()


def fixed_lines_billed(*, subscription_id: UUID, service_starts_at: datetime) -> QuerySet[InvoiceLine]:
    """Return the fees on final documents of a subscription that are for time from an instant on, in printed order."""
    return (
        InvoiceLine.objects.filter(
            invoice__subscription_id=subscription_id,
            invoice__status__in=_FINAL,
            kind__in=("base_fee", "fixed_fee"),
            service_starts_at=service_starts_at,
        )
        .select_related("invoice")
        .order_by("invoice_id", "position")
    )


def usage_billed_minor(*, subscription_id: UUID, service_starts_at: datetime) -> int:
    """Return what was billed event by event, finally, for time from an instant on; before tax, in minor units."""
    lines = InvoiceLine.objects.filter(
        invoice__subscription_id=subscription_id,
        invoice__kind=InvoiceKind.USAGE,
        invoice__status__in=_FINAL,
        service_starts_at=service_starts_at,
    )
    return int(lines.aggregate(total=Sum("net_minor"))["total"] or 0)


def usage_line_billed_last(*, subscription_id: UUID, code: str, service_starts_at: datetime) -> InvoiceLine | None:
    """Return the line up to which a charge was billed event by event, finally, for time from an instant on."""
    lines = InvoiceLine.objects.filter(
        invoice__subscription_id=subscription_id,
        invoice__kind=InvoiceKind.USAGE,
        invoice__status__in=_FINAL,
        code=code,
        service_starts_at=service_starts_at,
    )
    return lines.order_by("-invoice_id").first()


def usage_drafts_of(*, period_id: UUID) -> QuerySet[Invoice]:
    """Return the drafts that bill a period event by event; there is at most one."""
    return Invoice.objects.filter(
        billing_period_id=period_id, kind=InvoiceKind.USAGE, status=InvoiceStatus.DRAFT
    ).order_by("id")


def customers_with_usage_drafts() -> list[UUID]:
    """Return the customers of drafts that bill usage event by event and wait for something, such as a tax rate."""
    drafts = Invoice.objects.filter(kind=InvoiceKind.USAGE, status=InvoiceStatus.DRAFT)
    return list(drafts.order_by("customer_id").values_list("customer_id", flat=True).distinct())


def drafts_due(*, at: datetime) -> QuerySet[Invoice]:
    """
    Return drafts whose grace is over by their customer's own clock, oldest first.

    Those with issues come last: they are tried again in case the world was mended, and never stand before others.
    """
    return (
        Invoice.objects.annotate(
            now_at=Coalesce(F("customer__test_clock__now_at"), at),
            has_issues=Case(When(issues=[], then=Value(False)), default=Value(True)),
        )
        .filter(status=InvoiceStatus.DRAFT, finalize_after_at__lte=F("now_at"))
        .order_by("has_issues", "finalize_after_at", "id")
    )


def invoice_is_overdue(*, invoice: Invoice, on_date: date) -> bool:
    """Return whether something is still owed after the due date; derived, never a status."""
    return invoice.status == InvoiceStatus.OPEN and invoice.due_date is not None and invoice.due_date < on_date


def invoices_overdue(*, on_date: date) -> QuerySet[Invoice]:
    """Return open invoices past their due date, longest overdue first."""
    return invoices_queryset().filter(status=InvoiceStatus.OPEN, due_date__lt=on_date).order_by("due_date")


def billing_runs() -> QuerySet[BillingRun]:
    """Return runs with the count of each outcome, newest first."""
    return BillingRun.objects.annotate(
        invoiced_count=Count("items", filter=Q(items__outcome="INVOICED")),
        nothing_due_count=Count("items", filter=Q(items__outcome="NOTHING_DUE")),
        parked_count=Count("items", filter=Q(items__outcome="PARKED")),
    ).order_by("-id")


def number_gaps() -> list[tuple[str, int, int]]:
    """Return (series, last number, documents) of each series whose counter and documents disagree."""
    series = NumberSeries.objects.annotate(documents=Count("invoices")).order_by("prefix")
    return [(row.prefix, row.last_number, row.documents) for row in series if row.last_number != row.documents]
