"""The customer's pages. Every row comes through the viewer, so a foreign id finds nothing."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import structlog
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.views.decorators.http import require_POST

from apps.common import formatting
from apps.common.errors import DomainError
from apps.engine.errors import EngineError
from apps.invoices import selectors as invoice_selectors
from apps.invoices import snapshots
from apps.invoices.documents import events_csv, pdf
from apps.invoices.errors import InvoiceUnknown
from apps.invoices.models import Invoice, InvoiceLine, InvoiceStatus
from apps.payments import selectors as payment_selectors
from apps.payments.models import AttemptStatus, PaymentAttempt
from apps.portal import agreements, usage
from apps.portal.access import CHOSEN_CUSTOMER, Viewer, customer_page, page_context
from apps.subscriptions.models import Subscription
from apps.workflows import cycle_close, explanations

log = structlog.get_logger(__name__)

PAGE_SIZE = 25
LATEST_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceRow:
    """An invoice as lists show it."""

    id: str
    number: str
    issued: str
    due: str
    period: str
    total: str
    owed: str
    state: str
    tone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What the running period would cost if it ended now; or why that is not known."""

    plan: str
    total: str
    lines: list[tuple[str, str]]
    problem: str


@customer_page
def home(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """Show usage now, the next invoice as it stands, and the latest invoices."""
    at = viewer.now()
    running = usage.subscriptions_usage(viewer=viewer, at=at)
    latest = _issued(viewer)[:LATEST_SHOWN]
    context = page_context(
        request,
        viewer,
        title="Overview",
        at=formatting.instant_text(at, viewer.customer.timezone, viewer.locale),
        agreements=agreements.agreements_of(viewer=viewer),
        running=running,
        estimates=[_estimate(viewer, row.subscription, at) for row in running],
        invoices=[_row(invoice, viewer, at.date()) for invoice in latest],
    )
    return TemplateResponse(request, "portal/home.html", context)


@customer_page
def invoices(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """List issued invoices, newest first."""
    page = Paginator(_issued(viewer), PAGE_SIZE).get_page(request.GET.get("page"))
    today = viewer.now().date()
    rows = [_row(invoice, viewer, today) for invoice in page]
    context = page_context(request, viewer, title="Invoices", page=page, invoices=rows)
    return TemplateResponse(request, "portal/invoices.html", context)


@customer_page
def invoice(request: HttpRequest, viewer: Viewer, reference: str) -> HttpResponse:
    """Show one invoice as it was issued, with what became of its payment."""
    found = viewer.invoice(reference)
    document: dict[str, Any] = found.snapshot or {}
    attempts = payment_selectors.attempts_of(invoice_id=found.id)
    context = page_context(
        request,
        viewer,
        title=f"Invoice {found.number}",
        row=_row(found, viewer, viewer.now().date()),
        seller=document["seller"],
        buyer=document["buyer"],
        lines=[_line(line, found, viewer) for line in document["lines"]],
        discounts=[
            {**discount, "amount": _money(f"-{discount['amount']}", found.currency, viewer)}
            for discount in document.get("discounts", [])
        ],
        taxes=[_tax(tax, found.currency, viewer) for tax in document["taxes"]],
        totals={name: _money(text, found.currency, viewer) for name, text in document["totals"].items()},
        credit=_credit(document["totals"], found.currency, viewer),
        paid=formatting.money_text(found.paid_minor, found.currency, viewer.locale),
        payments=[_payment(attempt, viewer) for attempt in attempts],
    )
    return TemplateResponse(request, "portal/invoice.html", context)


@customer_page
def invoice_pdf(request: HttpRequest, viewer: Viewer, reference: str) -> HttpResponse:
    """Return the invoice's PDF."""
    found = viewer.invoice(reference)
    response = HttpResponse(pdf.invoice_pdf(invoice_id=found.id), content_type="application/pdf")
    response["Content-Disposition"] = f'attachment; filename="{found.number}.pdf"'
    return response


@customer_page
def line(request: HttpRequest, viewer: Viewer, reference: str, line_reference: str) -> HttpResponse:
    """Explain a line, from its stored decision and the events behind it."""
    found = viewer.invoice(reference)
    explained = explanations.line_explain(line=_line_of(found, line_reference))
    context = page_context(
        request,
        viewer,
        title=f"{explained.line.description}, explained",
        row=_row(found, viewer, viewer.now().date()),
        line=explained.line,
        amount=formatting.money_text(explained.line.net_minor, found.currency, viewer.locale),
        explained=explained,
        explanation=explained.explanation,
        period=formatting.period_text(
            explained.line.service_starts_at,
            explained.line.service_ends_at,
            viewer.customer.timezone,
            viewer.locale,
        ),
        events=[_event(event, viewer) for event in explained.sample],
    )
    return TemplateResponse(request, "portal/line.html", context)


@customer_page
def line_events(request: HttpRequest, viewer: Viewer, reference: str, line_reference: str) -> HttpResponse:
    """Return the events behind a line as CSV."""
    found = _line_of(viewer.invoice(reference), line_reference)
    events = explanations.line_events(line=found, limit=events_csv.ROWS_MAX)
    response = HttpResponse(events_csv.events_csv(events=events), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{found.public_id}-events.csv"'
    return response


@customer_page
def choose(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """Look at another of one's own customers."""
    chosen = request.POST.get("customer", "")
    if chosen not in {customer.public_id for customer in viewer.customers}:
        raise Http404("There is no such customer.")
    request.session[CHOSEN_CUSTOMER] = chosen
    return redirect("portal:home")


choose_posted = require_POST(choose)


def _issued(viewer: Viewer) -> Any:
    return (
        invoice_selectors.invoices_queryset()
        .filter(customer=viewer.customer)
        .exclude(status__in=[InvoiceStatus.DRAFT, InvoiceStatus.DISCARDED])
        .defer("snapshot")
    )


def _estimate(viewer: Viewer, subscription: Subscription, at: datetime) -> Estimate:
    plan = subscription.plan_version.plan.name
    try:
        document = cycle_close.invoice_preview(subscription=subscription, actor=viewer.actor, at=at)
    except (DomainError, EngineError) as error:
        log.warning("estimate not possible", subscription=subscription.public_id, reason=str(error))
        return Estimate(plan=plan, total="", lines=[], problem="The estimate is not available right now.")
    currency = subscription.plan_version.currency
    if document["totals"] is None:
        return Estimate(plan=plan, total=formatting.money_text(0, currency, viewer.locale), lines=[], problem="")
    return Estimate(
        plan=plan,
        total=_money(document["totals"]["total"], currency, viewer),
        lines=[(row["description"], _money(row["net"], currency, viewer)) for row in document["lines"]],
        problem="",
    )


def _row(found: Invoice, viewer: Viewer, today: date) -> InvoiceRow:
    state, tone = _state(found, today)
    return InvoiceRow(
        id=found.public_id,
        number=str(found.number),
        issued=formatting.date_text(found.issue_date, viewer.locale) if found.issue_date else "",
        due=formatting.date_text(found.due_date, viewer.locale) if found.due_date else "",
        period=formatting.period_text(
            found.period_starts_at, found.period_ends_at, viewer.customer.timezone, viewer.locale
        ),
        total=formatting.money_text(found.total_minor, found.currency, viewer.locale),
        owed=formatting.money_text(found.due_minor, found.currency, viewer.locale),
        state=state,
        tone=tone,
    )


def _credit(totals: dict[str, str], currency: str, viewer: Viewer) -> tuple[str, str] | None:
    words = snapshots.account_credit_words(totals)
    return None if words is None else (words[0], _money(words[1], currency, viewer))


def _state(found: Invoice, today: date) -> tuple[str, str]:
    if found.status == InvoiceStatus.PAID:
        return "Paid", "success"
    if found.status == InvoiceStatus.VOID:
        return "Cancelled", "neutral"
    if found.status == InvoiceStatus.UNCOLLECTIBLE:
        return "Not paid", "danger"
    if invoice_selectors.invoice_is_overdue(invoice=found, on_date=today):
        return "Overdue", "danger"
    return "To be paid", "info"


def _line(row: dict[str, Any], found: Invoice, viewer: Viewer) -> dict[str, Any]:
    period = row["service_period"]
    return {
        "id": row["id"],
        "position": row["position"],
        "description": row["description"],
        "period": formatting.period_text(
            formatting.instant_parse(period["starts_at"]),
            formatting.instant_parse(period["ends_at"]),
            viewer.customer.timezone,
            viewer.locale,
        ),
        "quantity": f"{formatting.number_text(row['quantity'], viewer.locale)} {row['unit']}".strip(),
        "net": _money(row["net"], found.currency, viewer),
        "discount": _money(f"-{row['discount']}", found.currency, viewer) if "discount" in row else "",
    }


def _tax(row: dict[str, str], currency: str, viewer: Viewer) -> dict[str, str]:
    return {
        "name": f"{row['name']} {formatting.number_text(row['rate_percent'], viewer.locale)} %",
        "base": _money(row["base"], currency, viewer),
        "treatment": "" if row["treatment"] == "taxed" else row["treatment"].replace("_", " "),
        "tax": _money(row["tax"], currency, viewer),
    }


def _event(event: dict[str, Any], viewer: Viewer) -> dict[str, str]:
    occurred_at = formatting.instant_parse(event["occurred_at"])
    return {
        "occurred": formatting.instant_text(occurred_at, viewer.customer.timezone, viewer.locale, has_seconds=True),
        "id": event["id"],
        "type": event["type"],
        "quantity": "" if event["quantity"] is None else formatting.number_text(event["quantity"], viewer.locale),
    }


_PAYMENT_WORDS = {
    AttemptStatus.CREATED: ("Being sent", "info"),
    AttemptStatus.SUBMITTED: ("In progress", "info"),
    AttemptStatus.UNKNOWN: ("Being checked", "info"),
    AttemptStatus.SUCCEEDED: ("Paid", "success"),
    AttemptStatus.FAILED: ("Failed, nothing was taken", "danger"),
}


def _payment(attempt: PaymentAttempt, viewer: Viewer) -> dict[str, str]:
    words, tone = _PAYMENT_WORDS[AttemptStatus(attempt.status)]
    return {
        "at": formatting.instant_text(attempt.opened_at, viewer.customer.timezone, viewer.locale),
        "method": attempt.method.label,
        "amount": formatting.money_text(attempt.amount_minor, attempt.currency, viewer.locale),
        "state": words,
        "tone": tone,
        "reason": attempt.failure_code.replace("_", " "),
    }


def _line_of(found: Invoice, reference: str) -> InvoiceLine:
    try:
        return invoice_selectors.invoice_line_of(invoice=found, reference=reference)
    except InvoiceUnknown as error:
        raise Http404(error.detail) from error


def _money(text: str, currency: str, viewer: Viewer) -> str:
    return formatting.decimal_amount_text(text, currency, viewer.locale)
