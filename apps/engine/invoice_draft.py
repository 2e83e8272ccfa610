"""
An invoice as a pure value, before anything is stored.

Rules: one line per charge and service period; a metered charge without usage keeps its line of zero, so that "why
was this not billed" has an answer. Lines have one order whatever order the charges came in: base fee, fixed fees,
usage, commitment; then by code and start. Totals are sums of rounded lines and are asserted. A line whose tax is not
known has no tax, and a draft with such a line cannot become final: unknown is not zero. No time enters but the
period, so the same facts give the same draft and the same hash.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, Literal

from apps.engine import currencies
from apps.engine.charge_models import ChargeTerms, RatedLine, rate_charge
from apps.engine.decisions import ENGINE_VERSION, decision_of, is_reproduced, recompute
from apps.engine.errors import InvalidDraft, TaxNotKnown
from apps.engine.exact import Rounding
from apps.engine.hashing import canonical_hash
from apps.engine.money import minor_to_text
from apps.engine.periods import Period
from apps.engine.tax import TaxDecision, tax_minor

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
COMMITMENT_CODE: Final = "minimum_commitment"
# The kinds of lines in the order in which a document shows them.
LINE_KINDS: Final = ("base_fee", "fixed_fee", "credit", "usage", "commitment")
_WHOLE: Final = Fraction(1)

# bill: the amount is due; credit: it was billed before and is given back; waive: it is shown and costs nothing.
Effect = Literal["bill", "credit", "waive"]
_SIGNS: Final[Mapping[Effect, int]] = {"bill": 1, "credit": -1, "waive": 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeInput:
    """One charge to be billed: its terms, the measured quantity with its evidence, and how it is taxed."""

    terms: ChargeTerms
    quantity: Decimal = Decimal(1)
    meter_version: int | None = None
    usage: Mapping[str, Any] = field(default_factory=dict)
    tax: TaxDecision | None = None
    factor: Fraction = _WHOLE
    service_period: Period | None = None  # None: the period of the draft; a fee in advance names the next one
    effect: Effect = "bill"
    rounding: Rounding | None = None  # None: that of the draft
    plan: Mapping[str, Any] | None = None  # None: that of the draft; fees of the next period may be another plan's


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftFacts:
    """Everything an invoice for one period is made of."""

    currency: str
    rounding: Rounding
    period: Period
    charges: tuple[ChargeInput, ...]
    plan_code: str
    plan_version: int
    minimum_commitment_minor: int | None = None
    commitment_billed_before_minor: int = 0  # net amounts of the same period on earlier documents
    commitment_tax: TaxDecision | None = None
    tax_rounding: Rounding = Rounding.HALF_UP


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftLine:
    """One line: amounts in minor units, the rating behind it, and the decision to store."""

    position: int
    code: str
    kind: str
    description: str
    service_period: Period
    quantity: Decimal
    unit: str
    net_minor: int
    tax_minor: int | None  # None: not known
    tax: TaxDecision | None
    rating: RatedLine
    decision: Mapping[str, Any]

    def to_document(self) -> dict[str, Any]:
        """Return the line as JSON without the rating, which its decision can rebuild."""
        return {
            "position": self.position,
            "code": self.code,
            "kind": self.kind,
            "description": self.description,
            "service_period": self.service_period.to_document(),
            "quantity": self.decision["quantity"],
            "unit": self.unit,
            "net_minor": self.net_minor,
            "tax_minor": self.tax_minor,
            "decision": dict(self.decision),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceDraft:
    """The lines and totals of an invoice, in minor units; `tax_minor` is the tax of the lines where it is known."""

    currency: str
    period: Period
    lines: tuple[DraftLine, ...]
    subtotal_minor: int
    tax_minor: int
    total_minor: int

    @property
    def unknown_tax_codes(self) -> tuple[str, ...]:
        """The codes of the lines that lack a tax decision."""
        return tuple(line.code for line in self.lines if line.tax_minor is None)

    @property
    def is_finalizable(self) -> bool:
        """Whether every line has a tax decision."""
        return not self.unknown_tax_codes

    @property
    def hash(self) -> str:
        """The hash of every line, its decision and the totals."""
        return canonical_hash(self.to_document())

    def to_document(self) -> dict[str, Any]:
        """Return the draft as JSON, amounts in minor units as whole numbers."""
        return {
            "currency": self.currency,
            "period": self.period.to_document(),
            "lines": [line.to_document() for line in self.lines],
            "subtotal_minor": self.subtotal_minor,
            "tax_minor": self.tax_minor,
            "total_minor": self.total_minor,
        }


def build_invoice_draft(*, facts: DraftFacts) -> InvoiceDraft:
    """
    Rate every charge of a period and put the lines in order.

    :raises InvalidDraft: if a charge stands there twice for one period, or the commitment is negative
    :raises UnitsOutOfRange: if a quantity cannot be priced
    :raises CurrencyUnknown: if the currency is missing, even when every amount is zero
    """
    currencies.exponent(facts.currency)
    charges = sorted(facts.charges, key=lambda charge: _order_of(charge, facts))
    _ensure_distinct(charges, facts)
    rated = [(charge, _rate(charge, facts)) for charge in charges]
    commitment = _commitment_input(rated, facts)
    if commitment is not None:
        rated.append((commitment, _rate(commitment, facts)))
    lines = tuple(_line(position, charge, rating, facts) for position, (charge, rating) in enumerate(rated, start=1))
    subtotal_minor = sum(line.net_minor for line in lines)
    tax_total_minor = sum(line.tax_minor or 0 for line in lines)
    draft = InvoiceDraft(
        currency=facts.currency,
        period=facts.period,
        lines=lines,
        subtotal_minor=subtotal_minor,
        tax_minor=tax_total_minor,
        total_minor=subtotal_minor + tax_total_minor,
    )
    ensure_adds_up(draft=draft)
    return draft


def ensure_adds_up(*, draft: InvoiceDraft) -> None:
    """
    Check that the parts of a draft sum to its totals and that its positions are 1, 2, 3 and so on.

    :raises InvalidDraft: naming the total that disagrees
    """
    if [line.position for line in draft.lines] != list(range(1, len(draft.lines) + 1)):
        raise InvalidDraft("positions must count from 1 without a gap", path="lines")
    sums = {
        "subtotal_minor": sum(line.net_minor for line in draft.lines),
        "tax_minor": sum(line.tax_minor for line in draft.lines if line.tax_minor is not None),
        "total_minor": sum(line.net_minor + (line.tax_minor or 0) for line in draft.lines),
    }
    for name, parts_sum in sums.items():
        if getattr(draft, name) != parts_sum:
            raise InvalidDraft(f"is {getattr(draft, name)} but its parts sum to {parts_sum}", path=name)


def ensure_finalizable(*, draft: InvoiceDraft) -> None:
    """
    Check that nothing about the draft is unknown.

    :raises TaxNotKnown: naming every line without a tax decision
    """
    if not draft.is_finalizable:
        codes = ", ".join(draft.unknown_tax_codes)
        raise TaxNotKnown(f"decide the tax of these lines first: {codes}", path="lines")


def _rate(charge: ChargeInput, facts: DraftFacts) -> RatedLine:
    return rate_charge(
        terms=charge.terms,
        quantity=charge.quantity,
        currency=facts.currency,
        rounding=charge.rounding or facts.rounding,
        factor=charge.factor,
    )


def _kind_of(charge: ChargeInput) -> str:
    terms = charge.terms
    if charge.effect == "credit":
        return "credit"
    if terms.code in (BASE_FEE_CODE, COMMITMENT_CODE) and not terms.is_metered:
        return "base_fee" if terms.code == BASE_FEE_CODE else "commitment"
    return "usage" if terms.is_metered else "fixed_fee"


def _service_period(charge: ChargeInput, facts: DraftFacts) -> Period:
    return charge.service_period or facts.period


def _order_of(charge: ChargeInput, facts: DraftFacts) -> tuple[int, str, datetime]:
    kind = LINE_KINDS.index(_kind_of(charge))
    return kind, charge.terms.code, _service_period(charge, facts).starts_at


def _ensure_distinct(charges: list[ChargeInput], facts: DraftFacts) -> None:
    seen: set[tuple[str, datetime, Effect]] = set()
    for charge in charges:
        key = (charge.terms.code, _service_period(charge, facts).starts_at, charge.effect)
        if charge.terms.code == COMMITMENT_CODE:
            raise InvalidDraft("is made by the draft itself; give minimum_commitment_minor", path=charge.terms.code)
        if key in seen:
            raise InvalidDraft("stands there twice for the same period; bill it once", path=charge.terms.code)
        seen.add(key)


def _commitment_input(rated: list[tuple[ChargeInput, RatedLine]], facts: DraftFacts) -> ChargeInput | None:
    """Return the charge that tops the period up to its minimum commitment, if anything is missing."""
    minimum_minor = facts.minimum_commitment_minor
    if minimum_minor is None:
        return None
    if minimum_minor < 0:
        raise InvalidDraft("must not be below zero", path="minimum_commitment_minor")
    counted_minor = facts.commitment_billed_before_minor + sum(
        _SIGNS[charge.effect] * rating.amount_minor
        for charge, rating in rated
        if _service_period(charge, facts) == facts.period
    )
    shortfall_minor = minimum_minor - counted_minor
    if shortfall_minor <= 0:
        return None
    terms = ChargeTerms(
        code=COMMITMENT_CODE,
        model="flat",
        amount=Decimal(minor_to_text(shortfall_minor, facts.currency)),
        prorate=False,
        description="Minimum commitment",
    )
    usage = {"minimum_minor": str(minimum_minor), "counted_minor": str(counted_minor)}
    return ChargeInput(terms=terms, usage=usage, tax=facts.commitment_tax)


def _line(position: int, charge: ChargeInput, rating: RatedLine, facts: DraftFacts) -> DraftLine:
    terms, net_minor = charge.terms, _SIGNS[charge.effect] * rating.amount_minor
    service_period = _service_period(charge, facts)
    line_tax_minor = None
    if charge.tax is not None:
        line_tax_minor = tax_minor(
            net_minor=net_minor, decision=charge.tax, currency=facts.currency, rounding=facts.tax_rounding
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
        tax_minor=line_tax_minor,
        tax=charge.tax,
        rating=rating,
        decision=decision_of(
            rating=rating,
            plan=charge.plan or {"code": facts.plan_code, "version": facts.plan_version},
            period=service_period,
            meter_version=charge.meter_version,
            usage=charge.usage,
            tax=charge.tax,
            tax_minor=line_tax_minor,
        )
        | ({} if charge.effect == "bill" else {"effect": charge.effect}),
    )
