"""
An invoice as a pure value, before anything is stored.

Rules: one line per charge and service period; a metered charge without usage keeps its line of zero, so that "why
was this not billed" has an answer. Lines have one order whatever order the charges came in: base fee, fixed fees,
credits, usage, commitment, adjustments; then by code and start. Discounts take from rated lines, the commitment's among
them, and tax is on what they leave. An adjustment is the difference to what an earlier document billed: the discounts
and the commitment of its own period are in it already, so those of this document leave it alone. Totals are sums of
rounded lines and are asserted. A line whose tax is not known has no tax, and a draft with such a line cannot become
final: unknown is not zero. No time enters but the period, so the same facts give the same draft and the same hash.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from apps.engine import currencies
from apps.engine.charge_models import Rated, rate_charge, rate_increment
from apps.engine.commitments import SHORTFALL_CODE
from apps.engine.decisions import ENGINE_VERSION, decision_of, is_reproduced, recompute
from apps.engine.discounts import DiscountableLine, DiscountResult, discounts_apply
from apps.engine.draft_commitment import COMMITMENT_CODES, commitment_inputs
from apps.engine.draft_values import SIGNS, ChargeInput, DraftFacts, DraftLine, Effect, InvoiceDraft
from apps.engine.errors import InvalidDraft, TaxNotKnown
from apps.engine.money import ensure_bookable
from apps.engine.periods import Period
from apps.engine.tax import tax_minor

__all__ = [
    "BASE_FEE_CODE",
    "COMMITMENT_CODE",
    "ENGINE_VERSION",
    "ChargeInput",
    "DraftFacts",
    "DraftLine",
    "InvoiceDraft",
    "build_invoice_draft",
    "is_reproduced",
    "recompute",
]

BASE_FEE_CODE: Final = "base_fee"
COMMITMENT_CODE: Final = SHORTFALL_CODE
# The kinds of lines in the order in which a document shows them.
LINE_KINDS: Final = ("base_fee", "fixed_fee", "credit", "usage", "commitment", "adjustment")


def build_invoice_draft(*, facts: DraftFacts) -> InvoiceDraft:
    """
    Rate every charge of a period and put the lines in order.

    :raises InvalidDraft: if a charge stands there twice for one period, or the commitment is negative
    :raises InvalidDiscount: if a discount is given twice
    :raises CurrencyMismatch: if a discount is in another currency
    :raises UnitsOutOfRange: if a quantity cannot be priced
    :raises InvalidMoney: if an amount is larger than documents and books can hold
    :raises CurrencyUnknown: if the currency is missing, even when every amount is zero
    """
    currencies.exponent(facts.currency)
    charges = sorted(facts.charges, key=lambda charge: _order_of(charge, facts))
    _ensure_distinct(charges, facts)
    rated = [(charge, _rate(charge, facts)) for charge in charges]
    rated += [(charge, _rate(charge, facts)) for charge in list(commitment_inputs(rated=rated, facts=facts))]
    discounted = _discount(rated, facts)
    lines = tuple(
        _line(position, charge, rating, discounted, facts) for position, (charge, rating) in enumerate(rated, start=1)
    )
    subtotal_minor = sum(line.taxable_minor for line in lines)
    tax_total_minor = sum(line.tax_minor or 0 for line in lines)
    draft = InvoiceDraft(
        currency=facts.currency,
        period=facts.period,
        lines=lines,
        subtotal_minor=subtotal_minor,
        tax_minor=tax_total_minor,
        total_minor=subtotal_minor + tax_total_minor,
        discount_minor=discounted.total_minor,
        discounts=tuple(applied for applied in discounted.discounts if applied.amount_minor),
    )
    ensure_adds_up(draft=draft)
    for line in draft.lines:
        ensure_bookable(line.net_minor, facts.currency, path=line.code)
    ensure_bookable(draft.total_minor, facts.currency, path="total")
    return draft


def ensure_adds_up(*, draft: InvoiceDraft) -> None:
    """
    Check that the parts of a draft sum to its totals and that its positions are 1, 2, 3 and so on.

    :raises InvalidDraft: naming the total that disagrees
    """
    if [line.position for line in draft.lines] != list(range(1, len(draft.lines) + 1)):
        raise InvalidDraft("positions must count from 1 without a gap", path="lines")
    sums = {
        "subtotal_minor": sum(line.taxable_minor for line in draft.lines),
        "discount_minor": sum(line.discount_minor for line in draft.lines),
        "tax_minor": sum(line.tax_minor for line in draft.lines if line.tax_minor is not None),
        "total_minor": sum(line.taxable_minor + (line.tax_minor or 0) for line in draft.lines),
    }
    for name, parts_sum in sums.items():
        if getattr(draft, name) != parts_sum:
            raise InvalidDraft(f"is {getattr(draft, name)} but its parts sum to {parts_sum}", path=name)
    taken_minor = [sum(applied.parts_minor[line.position - 1] for applied in draft.discounts) for line in draft.lines]
    if [line.discount_minor for line in draft.lines] != taken_minor:
        raise InvalidDraft("what the discounts take is not what the lines give", path="discounts")


def ensure_finalizable(*, draft: InvoiceDraft) -> None:
    """
    Check that nothing about the draft is unknown.

    :raises TaxNotKnown: naming every line without a tax decision
    """
    if not draft.is_finalizable:
        codes = ", ".join(draft.unknown_tax_codes)
        raise TaxNotKnown(f"decide the tax of these lines first: {codes}", path="lines")


def _rate(charge: ChargeInput, facts: DraftFacts) -> Rated:
    rounding = charge.rounding or facts.rounding
    if charge.terms.is_metered and charge.terms.timing == "advance":
        return rate_increment(
            terms=charge.terms,
            before=charge.before,
            after=(charge.quantity, charge.basis),
            currency=facts.currency,
            rounding=rounding,
            factor=charge.factor,
        )
    return rate_charge(
        terms=charge.terms,
        quantity=charge.quantity,
        currency=facts.currency,
        rounding=rounding,
        factor=charge.factor,
        basis=charge.basis,
    )


def _kind_of(charge: ChargeInput) -> str:
    terms = charge.terms
    if charge.adjusts is not None:
        return "adjustment"
    if terms.code in COMMITMENT_CODES and not terms.is_metered:
        return "commitment"
    if charge.effect == "credit":
        return "credit"
    if terms.code == BASE_FEE_CODE and not terms.is_metered:
        return "base_fee"
    return "usage" if terms.is_metered else "fixed_fee"


def _service_period(charge: ChargeInput, facts: DraftFacts) -> Period:
    return charge.service_period or facts.period


def _order_of(charge: ChargeInput, facts: DraftFacts) -> tuple[int, str, datetime, str]:
    kind = LINE_KINDS.index(_kind_of(charge))
    return kind, charge.terms.code, _service_period(charge, facts).starts_at, _adjustment_of(charge)


def _adjustment_of(charge: ChargeInput) -> str:
    return "" if charge.adjusts is None else str(charge.adjusts["id"])


def _ensure_distinct(charges: list[ChargeInput], facts: DraftFacts) -> None:
    seen: set[tuple[str, datetime, Effect, str]] = set()
    for charge in charges:
        key = (charge.terms.code, _service_period(charge, facts).starts_at, charge.effect, _adjustment_of(charge))
        if charge.terms.code in COMMITMENT_CODES and charge.adjusts is None:
            raise InvalidDraft("is made by the draft itself; give the commitment", path=charge.terms.code)
        if key in seen:
            raise InvalidDraft("stands there twice for the same period; bill it once", path=charge.terms.code)
        seen.add(key)


def _plan_of(charge: ChargeInput, facts: DraftFacts) -> Mapping[str, Any]:
    return charge.plan or {"code": facts.plan_code, "version": facts.plan_version}


def _net_minor(charge: ChargeInput, rating: Rated) -> int:
    return SIGNS[charge.effect] * rating.amount_minor


def _discount(rated: list[tuple[ChargeInput, Rated]], facts: DraftFacts) -> DiscountResult:
    lines = [
        DiscountableLine(
            code=charge.terms.code,
            plan_code=_plan_of(charge, facts)["code"],
            net_minor=0 if charge.adjusts is not None else _net_minor(charge, rating),
        )
        for charge, rating in rated
    ]
    return discounts_apply(lines=lines, discounts=facts.discounts, currency=facts.currency)


def _line(
    position: int, charge: ChargeInput, rating: Rated, discounted: DiscountResult, facts: DraftFacts
) -> DraftLine:
    terms, net_minor = charge.terms, _net_minor(charge, rating)
    discount_minor = discounted.line_totals_minor[position - 1]
    service_period = _service_period(charge, facts)
    line_tax_minor = None
    if charge.tax is not None:
        line_tax_minor = tax_minor(
            net_minor=net_minor - discount_minor,
            decision=charge.tax,
            currency=facts.currency,
            rounding=facts.tax_rounding,
        )
    return DraftLine(
        position=position,
        code=terms.code,
        kind=_kind_of(charge),
        description=terms.description or terms.code.replace("_", " ").capitalize(),
        service_period=service_period,
        quantity=charge.quantity,
        unit=terms.unit or terms.meter or "",
        net_minor=net_minor,
        discount_minor=discount_minor,
        tax_minor=line_tax_minor,
        tax=charge.tax,
        rating=rating,
        decision=decision_of(
            rating=rating,
            plan=_plan_of(charge, facts),
            period=service_period,
            meter_version=charge.meter_version,
            usage=charge.usage,
            tax=charge.tax,
            tax_minor=line_tax_minor,
        )
        | ({} if charge.effect == "bill" else {"effect": charge.effect})
        | ({} if charge.adjusts is None else {"adjusts": dict(charge.adjusts)})
        | _discounts_document(position, discounted),
    )


def _discounts_document(position: int, discounted: DiscountResult) -> dict[str, Any]:
    """Return what the decision of a line says about its discounts: nothing when none takes anything from it."""
    taken = [
        {"id": applied.terms.id, "code": applied.terms.code, "amount_minor": applied.parts_minor[position - 1]}
        for applied in discounted.discounts
        if applied.parts_minor[position - 1]
    ]
    return {"discounts": taken} if taken else {}
