"""The tables under a row's facts: what belongs to it, each figure a link to the rows behind it."""

from collections.abc import Callable, Iterable
from typing import Any

from django.db.models import Count, Model, Q
from django.urls import reverse
from django.utils.html import format_html

from apps.audit import selectors as audit_selectors
from apps.backoffice import correction_panels, late_panels, subscription_panels
from apps.backoffice.tables import ROWS_SHOWN, Column, Panel
from apps.common import formatting
from apps.common.admin import badge, money_cell, record_link, words_before_colon
from apps.customers.models import Customer, TestClock
from apps.identity.models import User
from apps.invoices.admin import STATUS_TONES as INVOICE_TONES
from apps.invoices.models import BillingRun, Invoice, InvoiceLine
from apps.ledger import selectors as ledger_selectors
from apps.lifecycle.models import LifecycleModel
from apps.payments import selectors as payment_selectors
from apps.payments.admin import STATUS_TONES as PAYMENT_TONES
from apps.payments.models import PaymentAttempt
from apps.plans.models import Plan, PlanVersion
from apps.subscriptions.models import Subscription


def panels_of(*, record: Model, user: User) -> list[Panel]:
    """Return the panels of a row that the user may read."""
    panels: list[Panel] = []
    if user.has_perm("records.view"):
        for model, make in _MAKERS:
            if isinstance(record, model):
                panels += make(record)
    if isinstance(record, LifecycleModel) and user.has_perm("audit.view"):
        panels.append(_history(record))
    return panels


def _invoice(invoice: Invoice) -> list[Panel]:
    lines = invoice.lines.order_by("position")
    return [
        Panel(
            title="Lines",
            columns=(
                Column("#"),
                Column("Description"),
                Column("Service period"),
                Column("Quantity", True),
                Column("Net", True),
                Column("Tax", True),
                Column("Why"),
            ),
            rows=[_line(line, invoice) for line in lines],
            empty="Nothing is charged on this document.",
        ),
        Panel(
            title="Tax",
            columns=(
                Column("Name"),
                Column("Where"),
                Column("Treatment"),
                Column("Rate", True),
                Column("Base", True),
                Column("Tax", True),
            ),
            rows=[
                [
                    tax.name,
                    tax.jurisdiction,
                    tax.treatment.replace("_", " "),
                    f"{formatting.number_text(tax.rate_percent)} %",
                    money_cell(tax.base_minor, invoice.currency),
                    money_cell(tax.tax_minor, invoice.currency),
                ]
                for tax in invoice.tax_lines.all()
            ],
            empty="No tax was determined.",
        ),
        _payments(payment_selectors.attempts_of(invoice_id=invoice.id)),
        _postings(Invoice._meta.label_lower, invoice),
    ]


def _line(line: InvoiceLine, invoice: Invoice) -> list[Any]:
    explain = format_html(
        '<a href="{}">Explain<span class="ch-unseen"> line {}</span></a>',
        reverse("admin:line_explain", args=[line.public_id]),
        line.position,
    )
    return [
        line.position,
        record_link(line, line.description),
        formatting.period_text(line.service_starts_at, line.service_ends_at, invoice.customer.timezone),
        f"{formatting.number_text(line.quantity)} {line.unit_name}".strip(),
        money_cell(line.net_minor, invoice.currency),
        money_cell(line.tax_minor, invoice.currency),
        explain,
    ]


def _payments(attempts: Iterable[PaymentAttempt]) -> Panel:
    return Panel(
        title="Payments",
        columns=(
            Column("Try", True),
            Column("Opened"),
            Column("Method"),
            Column("Amount", True),
            Column("Status"),
            Column("Reason"),
            Column("Resolved"),
        ),
        rows=[
            [
                attempt.sequence,
                record_link(attempt, formatting.instant_text(attempt.opened_at)),
                attempt.method.label,
                money_cell(attempt.amount_minor, attempt.currency),
                badge(words_before_colon(attempt, "status"), PAYMENT_TONES[str(attempt.status)]),
                attempt.failure_code,
                formatting.instant_text(attempt.resolved_at) if attempt.resolved_at else "",
            ]
            for attempt in attempts
        ],
        empty="Nobody has tried to collect yet.",
    )


def _postings(source_type: str, record: Model) -> Panel:
    entries = ledger_selectors.transactions_of(source_type=source_type, source_id=record.pk)
    return Panel(
        title="Ledger postings",
        columns=(Column("Booked"), Column("Entry"), Column("Account"), Column("Debit", True), Column("Credit", True)),
        rows=[
            [
                formatting.instant_text(entry.booked_at),
                record_link(entry, entry.template.replace("_", " ")),
                f"{posting.account.code} {posting.account.name}",
                money_cell(posting.amount_minor, posting.currency) if posting.amount_minor > 0 else "",
                money_cell(-posting.amount_minor, posting.currency) if posting.amount_minor < 0 else "",
            ]
            for entry in entries
            for posting in sorted(entry.postings.all(), key=lambda p: (-p.amount_minor, p.account.code))
        ],
        empty="Nothing is booked for it yet.",
    )


def _attempt(attempt: PaymentAttempt) -> list[Panel]:
    return [_postings(PaymentAttempt._meta.label_lower, attempt)]


def _invoices(title: str, invoices: Iterable[Invoice]) -> Panel:
    return Panel(
        title=title,
        columns=(
            Column("Number"),
            Column("Issued"),
            Column("Due"),
            Column("Status"),
            Column("Total", True),
            Column("Owed", True),
        ),
        rows=[
            [
                record_link(invoice, invoice.number or "draft"),
                formatting.date_text(invoice.issue_date) if invoice.issue_date else "",
                formatting.date_text(invoice.due_date) if invoice.due_date else "",
                badge(words_before_colon(invoice, "status"), INVOICE_TONES[str(invoice.status)]),
                money_cell(invoice.total_minor, invoice.currency),
                money_cell(invoice.due_minor, invoice.currency),
            ]
            for invoice in invoices
        ],
        empty="No document yet. The first comes when a billing period ends, or at the start of a plan with fees.",
    )


def _customer(customer: Customer) -> list[Panel]:
    subscriptions = customer.subscriptions.select_related("plan_version__plan").order_by("-id")[:ROWS_SHOWN]
    methods = payment_selectors.payment_methods_of(customer_id=customer.id)
    return [
        Panel(
            title="Subscriptions",
            columns=(Column("Plan"), Column("Status"), Column("Since"), Column("Code")),
            rows=[
                [
                    record_link(row, str(row.plan_version)),
                    words_before_colon(row, "status"),
                    formatting.instant_text(row.starts_at, customer.timezone),
                    row.external_id or "",
                ]
                for row in subscriptions
            ],
            empty="On no plan yet. Subscriptions are made over the API.",
        ),
        _invoices("Latest invoices", customer.invoices.order_by("-id")[:ROWS_SHOWN]),
        Panel(
            title="Payment methods",
            columns=(Column("Label"), Column("Gateway"), Column("Default")),
            rows=[[record_link(method), method.gateway, "yes" if method.is_default else ""] for method in methods],
            empty="None on file: invoices are issued, and nothing is collected automatically.",
        ),
    ]


def _subscription(subscription: Subscription) -> list[Panel]:
    return [
        *subscription_panels.subscription_panels(subscription),
        _invoices("Invoices", subscription.invoices.order_by("-id")[:ROWS_SHOWN]),
    ]


def _run(run: BillingRun) -> list[Panel]:
    items = run.items.select_related("invoice", "billing_period__subscription__customer").order_by("id")[:ROWS_SHOWN]
    return [
        Panel(
            title="Outcomes",
            columns=(Column("Customer"), Column("Outcome"), Column("Invoice"), Column("Total", True), Column("Reason")),
            rows=[
                [
                    record_link(item.billing_period, item.billing_period.subscription.customer.name),
                    words_before_colon(item, "outcome"),
                    record_link(item.invoice, item.invoice.number or "draft") if item.invoice else "",
                    money_cell(item.invoice.total_minor, item.invoice.currency) if item.invoice else "",
                    item.reason,
                ]
                for item in items
            ],
            empty="No period was due.",
        )
    ]


def _plan(plan: Plan) -> list[Panel]:
    return [
        Panel(
            title="Versions",
            columns=(
                Column("Version"),
                Column("Status"),
                Column("Effective"),
                Column("Published"),
                Column("Subscriptions", True),
            ),
            rows=[
                [
                    record_link(version),
                    words_before_colon(version, "status"),
                    formatting.instant_text(version.effective_at),
                    formatting.instant_text(version.published_at) if version.published_at else "",
                    version.subscription_count,
                ]
                for version in plan.versions.select_related("plan")
                .annotate(subscription_count=Count("subscriptions", filter=~Q(subscriptions__status="ENDED")))
                .order_by("-version")
            ],
            empty="No version yet. Apply a pricing document to make one.",
        )
    ]


def _plan_version(version: PlanVersion) -> list[Panel]:
    return [
        Panel(
            title="Charges",
            columns=(Column("#", True), Column("Code"), Column("Model"), Column("Meter"), Column("Billed in")),
            rows=[
                [charge.position, record_link(charge), charge.model, record_link(charge.meter), charge.timing]
                for charge in version.charges.select_related("meter").order_by("position")
            ],
            empty="It charges nothing.",
        ),
        features_panel(version),
    ]


def features_panel(version: PlanVersion) -> Panel:
    """Return what a version grants."""
    return Panel(
        title="Features",
        columns=(
            Column("Code"),
            Column("Granted"),
            Column("Limit", True),
            Column("Meter"),
            Column("When exceeded"),
        ),
        rows=[
            [
                record_link(feature),
                "yes" if feature.is_granted else "no",
                "unlimited"
                if feature.is_unlimited
                else ("" if feature.limit_units is None else formatting.number_text(feature.limit_units)),
                record_link(feature.meter),
                feature.on_exceed,
            ]
            for feature in version.features.select_related("meter").order_by("code")
        ],
        empty="It grants no feature by name.",
    )


def _clock(clock: TestClock) -> list[Panel]:
    return [
        Panel(
            title="Customers on this clock",
            columns=(Column("Name"), Column("Code")),
            rows=[[record_link(row), row.external_id] for row in clock.customers.order_by("name")[:ROWS_SHOWN]],
            empty="Nobody lives by it. Name the clock when you make a customer over the API.",
        )
    ]


def _history(record: LifecycleModel) -> Panel:
    entries = audit_selectors.entries_of(entity_type=record.entity_type(), entity_id=record.pk)[:ROWS_SHOWN]
    return Panel(
        title="History",
        columns=(Column("When"), Column("Action"), Column("By"), Column("From"), Column("To"), Column("Why")),
        rows=[
            [
                record_link(entry, formatting.instant_text(entry.at)),
                entry.action.replace("_", " "),
                entry.actor_label,
                entry.before.get("status", ""),
                entry.after.get("status", ""),
                " ".join(part for part in (entry.reason_code, entry.comment) if part),
            ]
            for entry in entries
        ],
        empty="Nothing has happened to it yet.",
    )


_MAKERS: tuple[tuple[type[Model], Callable[[Any], list[Panel]]], ...] = (
    (Invoice, _invoice),
    (PaymentAttempt, _attempt),
    (Customer, _customer),
    (Subscription, _subscription),
    (BillingRun, _run),
    (Plan, _plan),
    (PlanVersion, _plan_version),
    (TestClock, _clock),
    *correction_panels.MAKERS,
    *late_panels.MAKERS,
)
