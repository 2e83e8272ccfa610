"""Rate a billed period again, as it was priced then, with the usage as of now; the difference becomes an adjustment.

The lines of the final document carry their own terms, so the same engine that made them makes them again: first with
the usage that was billed, which must give the document back to the cent, then with the usage of now. Discounts and
commitments of the period take part, so a difference is what the document would have asked for, less what it and the
adjustments since have asked for. Nothing is rewritten.
"""

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

from apps.engine import invoice_draft, periods
from apps.engine.charge_models import charge_from_document
from apps.engine.charge_models.basis import basis_from_document
from apps.engine.decisions import measured_from_document
from apps.engine.draft_values import DraftFacts, DraftLine, InvoiceDraft
from apps.engine.errors import EngineError
from apps.engine.exact import Rounding, decimal_text
from apps.engine.money import parse_decimal
from apps.engine.tax import tax_decision_from_document
from apps.invoices import adjustments
from apps.invoices import selectors as invoice_selectors
from apps.invoices.adjustment_models import AdjustmentLine
from apps.invoices.inputs import AdjustmentLineInput
from apps.invoices.models import Invoice, InvoiceKind, InvoiceLine, InvoiceStatus
from apps.metering import late_usage, retention_months
from apps.metering import selectors as metering_selectors
from apps.metering.errors import UsageMonthArchived
from apps.metering.late_usage import WindowInput
from apps.metering.models import Meter
from apps.plans.models import PlanVersion
from apps.subscriptions import discounts as subscription_discounts
from apps.subscriptions.models import BillingPeriod
from apps.workflows import drafting
from apps.workflows.errors import ReratingRefused

_FINAL = (InvoiceStatus.OPEN, InvoiceStatus.PAID, InvoiceStatus.UNCOLLECTIBLE)
_Key = tuple[str, datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerating:
    """A period rated again: its document, what it comes to by now, and each charge's difference."""

    period: BillingPeriod
    invoice: Invoice
    plan_version: PlanVersion | None
    owed_minor: int
    billed_minor: int
    differences: tuple[AdjustmentLineInput, ...]
    snapshots: dict[UUID, str]  # by meter: as what its usage was read
    quantities: dict[UUID, tuple[Decimal, Decimal]]  # by meter: billed so far, and now

    @property
    def amount_minor(self) -> int:
        """Return the difference before tax, in minor units; above zero the customer owes it."""
        return self.owed_minor - self.billed_minor

    def windows(self) -> Iterator[WindowInput]:
        """Yield the windows that were read, those of meters among them that the document did not bill."""
        for meter_id, snapshot in self.snapshots.items():
            yield WindowInput(
                customer_id=self.invoice.customer_id,
                subscription_id=self.period.subscription_id,
                meter_id=meter_id,
                starts_at=self.period.starts_at,
                ends_at=self.period.ends_at,
                snapshot=snapshot,
            )


def period_rerate(*, period: BillingPeriod, version: PlanVersion | None = None) -> Rerating:
    """
    Rate a period again and return how that differs from what it was billed; nothing is stored.

    :param version: the plan version by which it should have been priced; without one, as it was priced
    :raises ReratingRefused: if it has no final document, or the document cannot be made again from what it stored
    """
    invoice = _document_of(period)
    _ensure_events_at_hand(period)
    priced = adjustments.rerated_last(period_id=period.id)
    if version is None and priced is not None:
        # A rule that was found wrong once is not the rule by which late usage is priced.
        version = priced.plan_version
    lines = [line for line in invoice.lines.order_by("position") if line.kind != "adjustment"]
    desk = _Desk(period=period, invoice=invoice)
    try:
        desk.ensure_reproduced(lines)
        inputs = [*desk.inputs_again(lines)] if version is None else [*desk.inputs_by(version, lines)]
        draft = desk.draft(inputs, version)
    except EngineError as error:
        raise ReratingRefused(f"The usage of invoice {invoice} cannot be rated again: {error.detail}") from error
    settled = adjustments.settled_lines(period_id=period.id)
    before = _before(lines, settled)
    owed = _by_key(draft)
    return Rerating(
        period=period,
        invoice=invoice,
        plan_version=version,
        owed_minor=sum(line.taxable_minor for line in draft.lines),
        billed_minor=sum(state.amount_minor for state in before.values()),
        differences=tuple(_differences(invoice, before, owed)),
        snapshots=_snapshots(draft),
        quantities=_quantities(before, draft),
    )


@dataclass(slots=True, kw_only=True)
class _Billed:
    """What was asked for one charge so far, by the document and by adjustments since."""

    amount_minor: int
    quantity: Decimal
    kind: str
    description: str
    unit_name: str
    service_ends_at: datetime
    decision: dict[str, Any]
    line: str
    tax: dict[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Desk:
    """One final document and its period."""

    period: BillingPeriod
    invoice: Invoice

    def ensure_reproduced(self, lines: list[InvoiceLine]) -> None:
        """
        Check that what the document stored gives the document, line for line.

        :raises ReratingRefused: naming the first line that it does not give
        """
        inputs = [_input_of(line) for line in lines if line.kind != "commitment"]
        again = {key: sum(line.taxable_minor for line in found) for key, found in _by_key(self.draft(inputs)).items()}
        for key, state in _before(lines, []).items():
            if again.pop(key, 0) != state.amount_minor:
                raise ReratingRefused(
                    f"Line '{key[0]}' of invoice {self.invoice} cannot be made again from what it stored; settle the "
                    "difference by hand."
                )
        if any(again.values()):
            raise ReratingRefused(f"Invoice {self.invoice} would have had further lines; settle it by hand.")

    def inputs_again(self, lines: list[InvoiceLine]) -> Iterator[invoice_draft.ChargeInput]:
        """Yield the charges of the document on their own terms, with the usage of now."""
        for line in lines:
            if line.kind != "commitment":
                yield _input_of(line, measured=line.kind == "usage")

    def inputs_by(self, version: PlanVersion, lines: list[InvoiceLine]) -> Iterator[invoice_draft.ChargeInput]:
        """Yield what the time of the period costs on another version; fees for other times stay as they were billed."""
        period = self._on(version)
        yield from drafting.served_inputs(
            subscription=period.subscription, period=period, entity=self.invoice.entity, at=self.invoice.drafted_at
        )
        for line in lines:
            is_served = line.service_starts_at == period.starts_at and line.kind != "credit"
            if line.kind not in ("usage", "commitment") and not is_served:
                yield _input_of(line)

    def draft(self, inputs: list[invoice_draft.ChargeInput], version: PlanVersion | None = None) -> InvoiceDraft:
        """Return the document that charges make, with the discounts and the commitment of the period."""
        period = self.period if version is None else self._on(version)
        own = period.plan_version
        return invoice_draft.build_invoice_draft(
            facts=DraftFacts(
                currency=self.invoice.currency,
                rounding=Rounding(own.rounding),
                period=periods.Period(period.starts_at, period.ends_at),
                charges=tuple(inputs),
                plan_code=own.plan.code,
                plan_version=own.version,
                discounts=tuple(self._discounts()),
                **drafting.committed_facts(
                    subscription=period.subscription,
                    period=period,
                    entity=self.invoice.entity,
                    at=self.invoice.drafted_at,
                ),
            )
        )

    def _on(self, version: PlanVersion) -> BillingPeriod:
        """Return the period as if it had been agreed on another version; in memory only."""
        period = copy.copy(self.period)
        period.plan_version = version
        return period

    def _discounts(self) -> Iterator[Any]:
        """Yield the discounts of the document, and those without a limit of uses that found nothing to take."""
        used = [use.applied_discount for use in self.invoice.discounts.select_related("applied_discount")]
        unlimited = subscription_discounts.discounts_in_force(
            subscription=self.period.subscription, billed_at=self.period.ends_at
        ).filter(uses_max__isnull=True, applied_at__lte=self.invoice.drafted_at)
        found = {discount.id: discount for discount in (*unlimited, *used)}
        for discount in found.values():
            yield subscription_discounts.discount_terms(discount)


def windows_of(*, invoice: Invoice) -> Iterator[WindowInput]:
    """Yield the windows that a document billed, each with the snapshot that its line was rated under."""
    for line in invoice.lines.filter(kind="usage").order_by("position"):
        usage = line.decision.get("usage") or {}
        if usage.get("meter") and invoice.subscription_id is not None:
            yield WindowInput(
                customer_id=invoice.customer_id,
                subscription_id=invoice.subscription_id,
                meter_id=Meter.id_from_public(usage["meter"]),
                starts_at=line.service_starts_at,
                ends_at=line.service_ends_at,
                snapshot=usage["snapshot"],
            )


def _document_of(period: BillingPeriod) -> Invoice:
    invoice = invoice_selectors.invoice_live_of(period_id=period.id, kind=InvoiceKind.CYCLE)
    if invoice is None or invoice.status not in _FINAL:
        raise ReratingRefused(
            f"Period {period.public_id} has no final document; its usage is on the document that it will have.",
        )
    return invoice


def _ensure_events_at_hand(period: BillingPeriod) -> None:
    """
    Check that the raw events of the period are here: without them it would seem that most of it was never used.

    :raises ReratingRefused: naming the months that are in the archive
    """
    try:
        retention_months.months_require(starts_at=period.starts_at, ends_at=period.ends_at)
    except UsageMonthArchived as archived:
        raise ReratingRefused(archived.detail) from archived


def _input_of(line: InvoiceLine, *, measured: bool = False) -> invoice_draft.ChargeInput:
    decision = line.decision
    currency = line.invoice.currency
    terms = charge_from_document(decision["terms"], currency=currency, path="terms", is_catalog=False)
    quantity = parse_decimal(decision["quantity"], path="quantity")
    basis = basis_from_document(decision.get("basis") or {}, path="basis")
    usage: dict[str, Any] = decision["usage"]
    if measured:
        measure = metering_selectors.usage_measure(
            meter=Meter.objects.get(id=Meter.id_from_public(usage["meter"])),
            terms=terms,
            customer_id=line.invoice.customer_id,
            subscription_id=line.invoice.subscription_id,
            starts_at=line.service_starts_at,
            ends_at=line.service_ends_at,
        )
        now = measure.usage
        quantity, basis = now.quantity, measure.basis
        usage = {
            **usage,
            "event_count": now.event_count,
            "raw_quantity": decimal_text(now.raw),
            "snapshot": now.snapshot,
        }
    before, tax = decision.get("before"), decision["tax"]
    return invoice_draft.ChargeInput(
        terms=terms,
        quantity=quantity,
        basis=basis,
        before=None if before is None else measured_from_document(before, path="before"),
        meter_version=decision["meter_version"],
        usage=usage,
        tax=None if tax is None else tax_decision_from_document(tax),
        factor=Fraction(decision["factor"]),
        service_period=periods.Period(line.service_starts_at, line.service_ends_at),
        effect=decision.get("effect", "bill"),
        rounding=Rounding(decision["rounding"]),
        plan=decision["plan"],
    )


def _by_key(draft: InvoiceDraft) -> dict[_Key, list[DraftLine]]:
    found: dict[_Key, list[DraftLine]] = {}
    for line in draft.lines:
        found.setdefault((line.code, line.service_period.starts_at), []).append(line)
    return found


def _before(lines: Iterable[InvoiceLine], settled: Iterable[AdjustmentLine]) -> dict[_Key, _Billed]:
    """Return what was asked for each charge so far; the newest quantity and decision count, the amounts add up."""
    states: dict[_Key, _Billed] = {}
    for line in lines:
        key = (line.code, line.service_starts_at)
        state = states.get(key)
        if state is not None:
            state.amount_minor += line.taxable_minor
            continue
        states[key] = _Billed(
            amount_minor=line.taxable_minor,
            quantity=line.quantity,
            kind=line.kind,
            description=line.description,
            unit_name=line.unit_name,
            service_ends_at=line.service_ends_at,
            decision=line.decision,
            line=line.public_id,
            tax=line.decision["tax"],
        )
    for part in settled:
        key = (part.code, part.service_starts_at)
        state = states.get(key)
        if state is None:
            state = states[key] = _Billed(
                amount_minor=0,
                quantity=Decimal(0),
                kind=part.kind,
                description=part.description,
                unit_name=part.unit_name,
                service_ends_at=part.service_ends_at,
                decision={},
                line="",
                tax=part.tax,
            )
        state.amount_minor += part.amount_minor
        state.quantity = Decimal(part.after["quantity"])
        state.decision = part.after["decision"]
    return states


def _differences(
    invoice: Invoice, before: dict[_Key, _Billed], owed: dict[_Key, list[DraftLine]]
) -> Iterator[AdjustmentLineInput]:
    for key in sorted({*before, *owed}):
        state, lines = before.get(key), owed.get(key, [])
        billed_minor = state.amount_minor if state else 0
        owed_minor = sum(line.taxable_minor for line in lines)
        if owed_minor == billed_minor:
            continue
        line = lines[0] if lines else None
        quantity_before = state.quantity if state else Decimal(0)
        quantity_after = line.quantity if line else Decimal(0)
        ends_at = line.service_period.ends_at if line else state.service_ends_at  # type: ignore[union-attr]
        yield AdjustmentLineInput(
            code=key[0],
            kind=line.kind if line else state.kind,  # type: ignore[union-attr]
            description=line.description if line else state.description,  # type: ignore[union-attr]
            quantity=quantity_after - quantity_before,
            unit_name=line.unit if line else state.unit_name,  # type: ignore[union-attr]
            service_starts_at=key[1],
            service_ends_at=ends_at,
            amount_minor=owed_minor - billed_minor,
            tax=state.tax if state else (line.tax.to_document() if line and line.tax else None),
            before={
                "invoice": invoice.number,
                "line": state.line if state else "",
                "amount_minor": billed_minor,
                "quantity": decimal_text(quantity_before),
                "decision": state.decision if state else {},
            },
            after={
                "amount_minor": owed_minor,
                "quantity": decimal_text(quantity_after),
                "decision": dict(line.decision) if line else {},
            },
        )


def _snapshots(draft: InvoiceDraft) -> dict[UUID, str]:
    first: dict[UUID, str] = {}
    for line in draft.lines:
        usage = line.decision["usage"]
        if line.kind == "usage" and usage.get("meter"):
            meter_id = Meter.id_from_public(usage["meter"])
            known = first.setdefault(meter_id, usage["snapshot"])
            first[meter_id] = min(known, usage["snapshot"], key=late_usage.snapshot_age)
    return first


def _quantities(before: dict[_Key, _Billed], draft: InvoiceDraft) -> dict[UUID, tuple[Decimal, Decimal]]:
    found: dict[UUID, tuple[Decimal, Decimal]] = {}
    for line in draft.lines:
        usage = line.decision["usage"]
        if line.kind == "usage" and usage.get("meter"):
            state = before.get((line.code, line.service_period.starts_at))
            found.setdefault(
                Meter.id_from_public(usage["meter"]), (state.quantity if state else Decimal(0), line.quantity)
            )
    return found
