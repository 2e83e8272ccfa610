"""Adjustments as lines of a draft: on the customer's next document, or on a document of their own."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from apps.common import formatting, locks
from apps.common.actors import Actor
from apps.common.db import unit_of_work
from apps.engine import invoice_draft, periods
from apps.engine.charge_models import ChargeTerms
from apps.engine.exact import Rounding
from apps.engine.money import minor_to_text
from apps.engine.tax import TaxDecision, tax_decision_from_document
from apps.invoices import adjustments
from apps.invoices import selectors as invoice_selectors
from apps.invoices import services as invoice_services
from apps.invoices.adjustment_models import Adjustment, AdjustmentLine, AdjustmentReason, AdjustmentStatus
from apps.invoices.errors import AdjustmentDecided
from apps.invoices.inputs import DraftContext
from apps.invoices.models import BillingEntity, Invoice, InvoiceKind, InvoiceStatus
from apps.subscriptions.models import BillingPeriod
from apps.taxes import selectors as tax_selectors

_REASONS = {
    AdjustmentReason.LATE_USAGE: "Usage that came, or was corrected, after the period was billed.",
    AdjustmentReason.PRICING_RULE: "The period was priced by a wrong rule and was rated again.",
}


def waiting_inputs(*, period: BillingPeriod, entity: BillingEntity, at: datetime) -> list[invoice_draft.ChargeInput]:
    """Return the lines of a customer's approved adjustments for the document that closes a period."""
    customer = period.subscription.customer
    live = invoice_selectors.invoice_live_of(period_id=period.id, kind=InvoiceKind.CYCLE)
    draft_id = live.id if live is not None and live.status == InvoiceStatus.DRAFT else None
    lines = adjustments.adjustment_lines_waiting(
        customer_id=customer.id, currency=period.plan_version.currency, draft_id=draft_id
    )
    return [*_inputs(lines, entity=entity, at=at)]


@unit_of_work
def adjustment_bill_alone(*, adjustment_id: UUID, actor: Actor, at: datetime) -> Invoice:
    """
    Make a document of one adjustment, final at once; below zero it becomes credit of the customer's account.

    A document whose tax is not known waits as a draft, with its reasons.

    :raises AdjustmentDecided: if it is not approved, or stands on a document already
    """
    adjustment = locks.get_for_update(Adjustment, adjustment_id)
    if adjustment.status != AdjustmentStatus.APPROVED or adjustment.invoice_id is not None:
        raise AdjustmentDecided(f"Adjustment {adjustment.public_id} is {adjustment.status} or stands on a document.")
    entity = invoice_selectors.billing_entity_default()
    draft = _draft_alone(adjustments.lines_of(adjustment_ids=[adjustment.id]), entity=entity, at=at)
    context = DraftContext(
        entity=entity,
        customer=adjustment.customer,
        subscription=adjustment.subscription,
        billing_period=None,
        kind=InvoiceKind.ADJUSTMENT,
        finalize_after_at=at,
    )
    invoice = invoice_services.invoice_draft_store(context=context, draft=draft, actor=actor, at=at)
    if invoice.issues:
        return invoice
    return invoice_services.invoice_finalize(invoice_id=invoice.id, actor=actor, at=at)


def draft_alone_again(*, invoice: Invoice, at: datetime) -> invoice_draft.InvoiceDraft | None:
    """Return the draft of a document of adjustments with what is known by now, such as its tax."""
    attached = adjustments.adjustments_queryset().filter(invoice=invoice).values_list("id", flat=True)
    lines = adjustments.lines_of(adjustment_ids=attached)
    return _draft_alone(lines, entity=invoice.entity, at=at) if lines else None


def _draft_alone(lines: list[AdjustmentLine], *, entity: BillingEntity, at: datetime) -> invoice_draft.InvoiceDraft:
    plan = lines[0].after.get("decision", {}).get("plan") or {"code": "", "version": 0}
    return invoice_draft.build_invoice_draft(
        facts=invoice_draft.DraftFacts(
            currency=lines[0].adjustment.currency,
            rounding=Rounding.HALF_UP,
            period=_whole_of(lines),
            charges=tuple(_inputs(lines, entity=entity, at=at)),
            plan_code=str(plan["code"]),
            plan_version=int(plan["version"]),
        )
    )


def _whole_of(lines: Iterable[AdjustmentLine]) -> periods.Period:
    spans = [(line.service_starts_at, line.service_ends_at) for line in lines]
    return periods.Period(
        min(starts_at for starts_at, _ends_at in spans), max(ends_at for _starts_at, ends_at in spans)
    )


def _inputs(
    lines: Iterable[AdjustmentLine], *, entity: BillingEntity, at: datetime
) -> Iterator[invoice_draft.ChargeInput]:
    for line in lines:
        adjustment = line.adjustment
        decision: dict[str, Any] = line.after.get("decision") or line.before.get("decision") or {}
        yield invoice_draft.ChargeInput(
            terms=ChargeTerms(
                code=line.code,
                model="flat",
                amount=Decimal(minor_to_text(abs(line.amount_minor), adjustment.currency)),
                prorate=False,
                description=_description(line),
                tax_category=(decision.get("terms") or {}).get("tax_category"),
            ),
            tax=_tax(line, decision, entity=entity, at=at),
            service_period=periods.Period(line.service_starts_at, line.service_ends_at),
            effect="bill" if line.amount_minor > 0 else "credit",
            plan=decision.get("plan"),
            adjusts={
                "id": adjustment.public_id,
                "line": line.public_id,
                "kind": line.kind,
                "reason": _REASONS.get(AdjustmentReason(adjustment.reason_code), adjustment.comment or "Agreed."),
                "invoice": str(line.before.get("invoice", "")),
                "billed_minor": int(line.before.get("amount_minor", 0)),
                "owed_minor": int(line.after.get("amount_minor", 0)),
                "quantity_before": str(line.before.get("quantity", "0")),
                "quantity_after": str(line.after.get("quantity", "0")),
            },
        )


def _description(line: AdjustmentLine) -> str:
    period = line.adjustment.billing_period
    timezone = period.timezone if period is not None else "UTC"
    span = formatting.period_text(line.service_starts_at, line.service_ends_at, timezone)
    word = "usage" if line.kind == "usage" else "the period"
    return f"{line.description[:120]}: adjustment for {word} of {span}"[:200]


def _tax(line: AdjustmentLine, decision: dict[str, Any], *, entity: BillingEntity, at: datetime) -> TaxDecision | None:
    """Return how the adjusted line was taxed; where nothing was billed before, what holds now."""
    if line.tax is not None:
        return tax_decision_from_document(line.tax)
    customer = line.adjustment.customer
    return tax_selectors.tax_decide(
        regime=entity.tax_regime,
        seller_country=entity.country,
        buyer_country=customer.country,
        buyer_region=customer.region,
        category=(decision.get("terms") or {}).get("tax_category"),
        on_date=at.astimezone(ZoneInfo(entity.timezone)).date(),
    )
