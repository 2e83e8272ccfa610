"""Documents and runs in the back office."""

from datetime import UTC
from typing import Any

from django.contrib.admin import SimpleListFilter
from django.db.models import F, QuerySet, Value
from django.db.models.functions import Coalesce, TruncDate
from django.http import HttpRequest
from unfold.decorators import display

from apps.common import clock, formatting
from apps.common.admin import EMPTY, RecordAdmin, badge, money_cell, money_column, status_column, words_before_colon
from apps.customers import selectors as customer_selectors
from apps.invoices import adjustment_admin, selectors
from apps.invoices.models import (
    BillingEntity,
    BillingRun,
    BillingRunItem,
    Invoice,
    InvoiceDiscount,
    InvoiceLine,
    NumberSeries,
)

STATUS_TONES = {
    "DRAFT": "warning",
    "OPEN": "info",
    "PAID": "success",
    "DISCARDED": "neutral",
    "VOID": "neutral",
    "UNCOLLECTIBLE": "danger",
}


class OverdueFilter(SimpleListFilter):
    """Open and past the due date; derived, so no status to filter by."""

    title = "overdue"
    parameter_name = "overdue"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the one choice there is."""
        return [("yes", "Past the due date")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Invoice]) -> QuerySet[Invoice]:
        """Return what is still owed after its due date."""
        if self.value() != "yes":
            return queryset
        # By the clock each customer lives at, as the home page counts them.
        now_at = Coalesce(F("customer__test_clock__now_at"), Value(clock.now()))
        return queryset.annotate(today=TruncDate(now_at, tzinfo=UTC)).filter(status="OPEN", due_date__lt=F("today"))


class InvoiceAdmin(RecordAdmin):
    """Documents."""

    purpose = "Drafts wait out their grace for late usage; then they get a number and never change again."
    list_display = ("number_text", "customer", "status_badge", "issue_date", "due_date", "total_money", "due_money")
    list_display_links = ("number_text",)
    list_filter = ("status", OverdueFilter, "kind", "currency")
    search_fields = ("number", "customer__name", "customer__external_id", "customer__email")
    list_select_related = ("customer__test_clock",)
    date_hierarchy = "issue_date"
    fact_fields = (
        "number_text",
        "customer",
        "status_badge",
        "kind",
        "period",
        "issue_date",
        "due_date",
        "discount_money",
        "subtotal_money",
        "tax_money",
        "total_money",
        "credit_money",
        "paid_money",
        "due_money",
        "subscription",
        "entity",
        "drafted_at",
        "finalize_after_at",
        "finalized_at",
        "paid_at",
        "snapshot_hash",
    )

    discount_money = money_column("discount_minor", "Discount")
    subtotal_money = money_column("subtotal_minor", "Subtotal")
    tax_money = money_column("tax_minor", "Tax")
    total_money = money_column("total_minor", "Total")
    credit_money = money_column("credit_minor", "Account credit used")
    paid_money = money_column("paid_minor", "Paid so far")

    @display(description="Number", ordering="number")
    def number_text(self, invoice: Invoice) -> str:
        """Return the number, or that there is none yet."""
        return invoice.number or "draft"

    @display(description="Status", ordering="status")
    def status_badge(self, invoice: Invoice) -> str:
        """Return the status; an open invoice past its due date is said to be overdue."""
        if _is_overdue(invoice):
            return badge("Overdue", "danger")
        return badge(words_before_colon(invoice, "status"), STATUS_TONES[str(invoice.status)])

    @display(description="Owed")
    def due_money(self, invoice: Invoice) -> str:
        """Return what is still to be paid."""
        return money_cell(invoice.due_minor, invoice.currency)

    @display(description="Period")
    def period(self, invoice: Invoice) -> str:
        """Return the billed interval in the customer's own days."""
        return formatting.period_text(invoice.period_starts_at, invoice.period_ends_at, invoice.customer.timezone)

    def banner(self, record: Invoice) -> tuple[str, str] | None:
        """Return what stands in the way of a draft, or that an invoice is overdue."""
        if record.status == "DRAFT" and record.issues:
            reasons = " ".join(str(issue.get("detail") or issue.get("code")) for issue in record.issues)
            return "danger", f"This draft cannot be finalised: {reasons}"
        if record.due_date is not None and _is_overdue(record):
            return "warning", f"Overdue: it was due on {formatting.date_text(record.due_date)}."
        return None


def _is_overdue(invoice: Invoice) -> bool:
    now_at = customer_selectors.customer_now(customer=invoice.customer, at=clock.now())
    return selectors.invoice_is_overdue(invoice=invoice, on_date=now_at.date())


class InvoiceLineAdmin(RecordAdmin):
    """Lines with their rating decisions."""

    purpose = "Every priced line, with the decision that made it. The explain page reads the events behind it again."
    list_display = ("invoice", "position", "description", "kind", "quantity_text", "net_money", "tax_money")
    list_filter = ("kind",)
    search_fields = ("code", "description", "invoice__number")
    list_select_related = ("invoice",)
    ordering = ("-id",)
    fact_fields = (
        "invoice",
        "position",
        "code",
        "kind",
        "description",
        "quantity_text",
        "net_money",
        "discount_money",
        "tax_money",
        "service_starts_at",
        "service_ends_at",
        "tax_treatment",
        "tax_jurisdiction",
        "input_hash",
        "output_hash",
        "decision",
    )

    net_money = money_column("net_minor", "Net", currency="invoice.currency")
    discount_money = money_column("discount_minor", "Discount", currency="invoice.currency")
    tax_money = money_column("tax_minor", "Tax", currency="invoice.currency")

    @display(description="Quantity", ordering="quantity")
    def quantity_text(self, line: InvoiceLine) -> str:
        """Return the quantity with its unit."""
        return f"{formatting.number_text(line.quantity)} {line.unit_name}".strip()


class InvoiceDiscountAdmin(RecordAdmin):
    """What discounts took."""

    purpose = "What each discount took from a document, and which of its uses that was. A dead document frees its uses."
    list_display = ("invoice", "code", "name", "amount_money", "use_number", "uses_max", "is_counted")
    list_filter = ("is_counted",)
    search_fields = ("code", "name", "invoice__number")
    list_select_related = ("invoice",)
    ordering = ("-id",)
    fact_fields = (
        "invoice",
        "applied_discount",
        "code",
        "name",
        "amount_money",
        "use_number",
        "uses_max",
        "is_counted",
    )

    amount_money = money_column("amount_minor", "Taken off", currency="invoice.currency")


class BillingEntityAdmin(RecordAdmin):
    """Who issues."""

    purpose = "The legal persons that issue documents, and how each of them determines tax."
    list_display = ("code", "legal_name", "country", "tax_regime", "timezone", "is_default")
    search_fields = ("code", "legal_name")
    fact_fields = (
        "code",
        "legal_name",
        "address",
        "country",
        "tax_id",
        "tax_regime",
        "timezone",
        "is_default",
        "grace_hours",
        "footer",
    )


class NumberSeriesAdmin(RecordAdmin):
    """Gapless counters."""

    purpose = "Gapless counters. The number is taken in the transaction that finalises, so a failure gives it back."
    list_display = ("prefix", "entity", "kind", "year", "last_number")
    list_select_related = ("entity",)
    fact_fields = ("prefix", "entity", "kind", "year", "last_number")


class BillingRunAdmin(RecordAdmin):
    """Executions of the cycle close."""

    purpose = "Each run closes the periods that are due and has an outcome for every one of them."
    list_display = ("started_at", "trigger", "status_badge", "invoiced", "nothing_due", "parked", "completed_at")
    list_filter = ("status", "trigger")
    ordering = ("-id",)
    fact_fields = ("started_at", "trigger", "status_badge", "invoiced", "nothing_due", "parked", "completed_at")

    status_badge = status_column({"RUNNING": "info", "COMPLETED": "success"})

    def get_queryset(self, request: HttpRequest) -> QuerySet[BillingRun]:
        """Return runs with the count of each outcome."""
        return selectors.billing_runs()

    @display(description="Invoiced")
    def invoiced(self, run: BillingRun) -> int:
        """Return how many periods were invoiced."""
        return int(run.invoiced_count)  # type: ignore[attr-defined]

    @display(description="Nothing due")
    def nothing_due(self, run: BillingRun) -> int:
        """Return how many periods owed nothing."""
        return int(run.nothing_due_count)  # type: ignore[attr-defined]

    @display(description="Parked")
    def parked(self, run: BillingRun) -> Any:
        """Return how many periods wait for a person."""
        count = int(run.parked_count)  # type: ignore[attr-defined]
        return badge(str(count), "warning") if count else count


class BillingRunItemAdmin(RecordAdmin):
    """Outcomes."""

    purpose = "What each run did with each period."
    list_display = ("run", "customer", "outcome_badge", "invoice", "reason")
    list_filter = ("outcome",)
    list_select_related = ("run", "invoice", "billing_period__subscription__customer")
    ordering = ("-id",)
    fact_fields = ("run", "customer", "billing_period", "outcome_badge", "invoice", "reason")

    outcome_badge = status_column(
        {"INVOICED": "success", "NOTHING_DUE": "neutral", "PARKED": "warning"}, field="outcome", title="Outcome"
    )

    @display(description="Customer")
    def customer(self, item: BillingRunItem) -> str:
        """Return whose period it was."""
        return item.billing_period.subscription.customer.name or EMPTY


RECORDS = (
    *adjustment_admin.RECORDS,
    (Invoice, InvoiceAdmin),
    (InvoiceLine, InvoiceLineAdmin),
    (InvoiceDiscount, InvoiceDiscountAdmin),
    (BillingRun, BillingRunAdmin),
    (BillingRunItem, BillingRunItemAdmin),
    (BillingEntity, BillingEntityAdmin),
    (NumberSeries, NumberSeriesAdmin),
)
