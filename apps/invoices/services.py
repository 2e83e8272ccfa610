"""Write drafts, and make documents of them."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from apps.audit import services as audit_services
from apps.common import locks
from apps.common.actors import Actor
from apps.common.db import unit_of_work
from apps.common.errors import FieldProblem
from apps.customers.models import Customer
from apps.engine import hashing, invoice_draft, postings
from apps.invoices import adjustments, discounts, numbering, selectors, snapshots
from apps.invoices.errors import InvoiceNotDraft, InvoiceNotOpen, InvoiceNotReady, PaymentExceedsInvoice
from apps.invoices.inputs import DraftContext, EntityProfile
from apps.invoices.models import BillingEntity, Invoice, InvoiceLine, InvoiceStatus, InvoiceTaxLine
from apps.ledger import selectors as ledger_selectors
from apps.ledger import services as ledger_services
from apps.lifecycle.services import transition_apply
from apps.messaging import services as messaging_services


@unit_of_work
def invoice_draft_store(
    *, context: DraftContext, draft: invoice_draft.InvoiceDraft, actor: Actor, at: datetime
) -> Invoice:
    """
    Store a draft with its lines and publish that it exists; amounts in minor units of its currency.

    :raises DiscountUsedUp: if another document took the last use of a discount meanwhile
    """
    invoice = Invoice.objects.create(
        entity=context.entity,
        customer=context.customer,
        subscription=context.subscription,
        billing_period=context.billing_period,
        kind=context.kind,
        currency=draft.currency,
        discount_minor=draft.discount_minor,
        subtotal_minor=draft.subtotal_minor,
        tax_minor=draft.tax_minor,
        total_minor=draft.total_minor,
        period_starts_at=draft.period.starts_at,
        period_ends_at=draft.period.ends_at,
        drafted_at=at,
        finalize_after_at=context.finalize_after_at,
        draft_hash=draft_hash(draft),
        issues=draft_issues(draft),
    )
    _lines_store(invoice=invoice, draft=draft)
    messaging_services.event_publish(
        topic="invoices.invoice.drafted",
        aggregate_type=Invoice.entity_type(),
        aggregate_id=invoice.id,
        payload={"id": invoice.public_id, "status": "DRAFT", "customer": context.customer.public_id},
        actor=actor,
        at=at,
    )
    return invoice


@unit_of_work
def invoice_draft_replace(*, invoice_id: UUID, draft: invoice_draft.InvoiceDraft) -> Invoice:
    """
    Bring a draft up to date with facts that came in since; the same facts change nothing.

    :raises InvoiceNotDraft: if it was finalised or discarded meanwhile
    :raises DiscountUsedUp: if another document took the last use of a discount meanwhile
    """
    invoice = _draft_lock(invoice_id)
    issues = draft_issues(draft)
    if invoice.draft_hash == draft_hash(draft) and invoice.issues == issues:
        return invoice
    invoice.lines.all().delete()
    invoice.tax_lines.all().delete()
    invoice.discounts.all().delete()
    invoice.discount_minor = draft.discount_minor
    invoice.subtotal_minor, invoice.tax_minor = draft.subtotal_minor, draft.tax_minor
    invoice.total_minor, invoice.draft_hash, invoice.issues = draft.total_minor, draft_hash(draft), issues
    invoice.save(update_fields=["discount_minor", "subtotal_minor", "tax_minor", "total_minor", "draft_hash", "issues"])
    _lines_store(invoice=invoice, draft=draft)
    return invoice


@unit_of_work
def invoice_finalize(*, invoice_id: UUID, actor: Actor, at: datetime) -> Invoice:
    """
    Number the draft, freeze it with a copy of all it prints, and book the receivable.

    Credit that the customer has is used first; what a total below zero leaves becomes credit. A document on which
    nothing is owed then is paid at once: nobody can pay zero.

    :raises InvoiceNotDraft: if it was finalised or discarded meanwhile
    :raises InvoiceNotReady: naming every reason with its remedy
    """
    invoice = _draft_lock(invoice_id)
    lines = list(invoice.lines.order_by("position"))
    _ensure_ready(invoice, lines)
    invoice.issue_date = at.astimezone(ZoneInfo(invoice.entity.timezone)).date()
    invoice.due_date = invoice.issue_date + timedelta(days=invoice.customer.payment_terms_days)
    invoice.series, invoice.sequence_number, invoice.number = numbering.number_take_next(
        entity=invoice.entity, issue_date=invoice.issue_date
    )
    invoice.credit_minor = _credit_to_use_minor(invoice)
    invoice.snapshot = snapshots.snapshot_build(
        invoice=invoice,
        lines=lines,
        tax_lines=list(invoice.tax_lines.order_by("jurisdiction", "category", "rate_percent")),
        discounts=list(invoice.discounts.order_by("position")),
    )
    invoice.snapshot_hash = hashing.canonical_hash(invoice.snapshot)
    transition_apply(
        instance=invoice,
        action="finalize",
        actor=actor,
        at=at,
        topic="invoices.invoice.finalized",
        payload=_news(invoice),
        save_fields=(
            "issue_date",
            "due_date",
            "series",
            "sequence_number",
            "number",
            "credit_minor",
            "snapshot",
            "snapshot_hash",
        ),
    )
    adjustments.adjustments_apply(invoice=invoice, actor=actor, at=at)
    _book(invoice, lines, at=at)
    if invoice.due_minor == 0:
        _pay(invoice, actor=actor, at=at)
    return invoice


@unit_of_work
def invoice_discard(*, invoice_id: UUID, actor: Actor, at: datetime, reason: tuple[str, str]) -> Invoice:
    """
    Drop a draft; it never had a number, so no gap is left.

    :raises InvoiceNotDraft: if it is final
    """
    invoice = _draft_lock(invoice_id)
    transition_apply(
        instance=invoice,
        action="discard",
        actor=actor,
        at=at,
        topic="invoices.invoice.discarded",
        payload={"customer": invoice.customer.public_id},
        reason=reason,
    )
    return invoice


@unit_of_work
def invoice_payment_record(*, invoice_id: UUID, amount_minor: int, actor: Actor, at: datetime) -> Invoice:
    """
    Count a payment, in minor units, against an invoice; when nothing is owed any more it is paid.

    :raises InvoiceNotOpen: if nothing is owed on it
    :raises PaymentExceedsInvoice: if the amount is above what is owed
    """
    invoice = locks.get_for_update(Invoice, invoice_id)
    if invoice.status not in (InvoiceStatus.OPEN, InvoiceStatus.UNCOLLECTIBLE):
        raise InvoiceNotOpen(f"Invoice {invoice} is {invoice.status}; nothing can be paid on it.")
    if amount_minor > invoice.due_minor:
        raise PaymentExceedsInvoice(f"Invoice {invoice} owes {invoice.due_minor} minor units, not {amount_minor}.")
    invoice.paid_minor += amount_minor
    invoice.save(update_fields=["paid_minor"])
    if invoice.due_minor == 0:
        _pay(invoice, actor=actor, at=at)
    return invoice


@unit_of_work
def billing_entity_update(*, profile: EntityProfile, actor: Actor, at: datetime) -> BillingEntity:
    """
    Change what the issuing entity prints from now on; issued documents keep their copy.

    :raises BillingEntityMissing: if the tenant has none
    """
    entity = locks.get_for_update(BillingEntity, selectors.billing_entity_default().id)
    changes = {name: value for name, value in asdict(profile).items() if getattr(entity, name) != value}
    before = {name: str(getattr(entity, name)) for name in changes}
    for name, value in changes.items():
        setattr(entity, name, value)
    entity.save(update_fields=list(changes))
    audit_services.entry_write(
        entity=entity,
        action="update",
        actor=actor,
        at=at,
        before=before,
        after={name: str(value) for name, value in changes.items()},
    )
    return entity


def draft_hash(draft: invoice_draft.InvoiceDraft) -> str:
    """
    Return what tells whether a draft's facts changed.

    The snapshot a quantity was read under is left out: it moves with every commit elsewhere, while the same count and
    quantity of an append-only table are the same events.
    """
    document = draft.to_document()
    for line in document["lines"]:
        usage = {name: value for name, value in line["decision"]["usage"].items() if name != "snapshot"}
        line["decision"] = {**line["decision"], "usage": usage}
    return hashing.canonical_hash(document)


def draft_issues(draft: invoice_draft.InvoiceDraft) -> list[dict[str, str]]:
    """Return why a draft cannot become final, each with its remedy; empty when it can."""
    return [
        {
            "code": "tax_not_known",
            "line": code,
            "detail": f"The tax of line '{code}' is not known. Add a tax rate for the customer's country and refresh.",
        }
        for code in draft.unknown_tax_codes
    ]


def _draft_lock(invoice_id: UUID) -> Invoice:
    invoice = locks.get_for_update(Invoice, invoice_id)
    if invoice.status != InvoiceStatus.DRAFT:
        raise InvoiceNotDraft(f"Invoice {invoice} is {invoice.status}; only a draft may change.")
    return invoice


def _ensure_ready(invoice: Invoice, lines: list[InvoiceLine]) -> None:
    problems = [
        FieldProblem(pointer=f"/lines/{line.position - 1}/tax", code="tax_not_known", detail=issue["detail"])
        for line in lines
        for issue in invoice.issues
        if issue["line"] == line.code
    ]
    if not lines:
        problems.append(FieldProblem(pointer="/lines", code="empty", detail="A document needs at least one line."))
    if problems:
        raise InvoiceNotReady("The draft cannot be finalised yet: see errors.", problems=tuple(problems))


def _book(invoice: Invoice, lines: list[InvoiceLine], *, at: datetime) -> None:
    """Book what the document asks for, and what the customer's account settles of it."""
    ledger_services.transaction_post(
        template=postings.PostingTemplate.INVOICE_ISSUED,
        source_type=Invoice.entity_type(),
        source_id=invoice.id,
        customer_id=invoice.customer_id,
        facts=postings.invoice_issued_facts(
            currency=invoice.currency,
            # Revenue is what discounts leave: what was never asked for was never earned.
            lines=((line.revenue_kind, line.taxable_minor) for line in lines),
            tax_minor=invoice.tax_minor,
        ),
        booked_at=at,
        memo=f"Invoice {invoice.number}",
    )
    if invoice.credit_minor:
        ledger_services.transaction_post(
            template=postings.PostingTemplate.CREDIT_APPLIED,
            source_type=Invoice.entity_type(),
            source_id=invoice.id,
            customer_id=invoice.customer_id,
            facts=postings.CreditApplied(currency=invoice.currency, amount_minor=invoice.credit_minor),
            booked_at=at,
            memo=f"Invoice {invoice.number}",
        )


def _credit_to_use_minor(invoice: Invoice) -> int:
    """Return what the customer's account settles of a document; all of it, below zero, when the total is."""
    if invoice.total_minor <= 0:
        return invoice.total_minor
    # The customer's row orders documents that become final at once, so that no credit is used twice.
    locks.get_for_update(Customer, invoice.customer_id)
    balance_minor = ledger_selectors.account_balance_minor(
        code=postings.CUSTOMER_CREDIT, currency=invoice.currency, customer_id=invoice.customer_id
    )
    return min(invoice.total_minor, max(0, -balance_minor))


def _pay(invoice: Invoice, *, actor: Actor, at: datetime) -> None:
    transition_apply(
        instance=invoice, action="pay", actor=actor, at=at, topic="invoices.invoice.paid", payload=_news(invoice)
    )


def _news(invoice: Invoice) -> dict[str, str | int | None]:
    return {
        "number": invoice.number,
        "customer": invoice.customer.public_id,
        "currency": invoice.currency,
        "total_minor": invoice.total_minor,
        "snapshot_hash": invoice.snapshot_hash,
    }


def _lines_store(*, invoice: Invoice, draft: invoice_draft.InvoiceDraft) -> None:
    InvoiceLine.objects.bulk_create(
        InvoiceLine(
            invoice=invoice,
            position=line.position,
            code=line.code,
            kind=line.kind,
            description=line.description,
            quantity=line.quantity,
            unit_name=line.unit,
            service_starts_at=line.service_period.starts_at,
            service_ends_at=line.service_period.ends_at,
            net_minor=line.net_minor,
            discount_minor=line.discount_minor,
            tax_minor=line.tax_minor or 0,
            tax_treatment=line.tax.treatment if line.tax else "",
            tax_jurisdiction=line.tax.jurisdiction if line.tax else "",
            tax_rate_percent=line.tax.rate_percent if line.tax else None,
            decision=dict(line.decision),
            input_hash=line.rating.input_hash,
            output_hash=line.rating.output_hash,
        )
        for line in draft.lines
    )
    InvoiceTaxLine.objects.bulk_create(_tax_lines(invoice, draft.lines))
    discounts.uses_record(invoice=invoice, draft=draft)
    adjustments.adjustments_attach(invoice=invoice, draft=draft)


def _tax_lines(invoice: Invoice, lines: Iterable[invoice_draft.DraftLine]) -> list[InvoiceTaxLine]:
    groups: dict[tuple[str, str, str, str], InvoiceTaxLine] = {}
    for line in lines:
        if line.tax is None:
            continue
        tax = line.tax
        group = groups.setdefault(
            (tax.jurisdiction, tax.category, tax.treatment, str(tax.rate_percent)),
            InvoiceTaxLine(
                invoice=invoice,
                jurisdiction=tax.jurisdiction,
                category=tax.category,
                treatment=tax.treatment,
                name=str(tax.evidence.get("name", "Tax")),
                rate_percent=tax.rate_percent,
                base_minor=0,
                tax_minor=0,
            ),
        )
        group.base_minor += line.taxable_minor
        group.tax_minor += line.tax_minor or 0
    return list(groups.values())
