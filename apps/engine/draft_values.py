"""
What an invoice draft is made of and what it is: plain values, computed elsewhere.

Rules: amounts are whole minor units; a key stands in a document only where it says something, so that the hash of a
draft does not change when a later version learns to say more.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, Literal

from apps.engine.charge_models import NO_BASIS, Basis, ChargeTerms, Measured, Rated
from apps.engine.commitments import CommitmentTerms
from apps.engine.discounts import AppliedAmount, DiscountTerms
from apps.engine.exact import Rounding
from apps.engine.hashing import canonical_hash
from apps.engine.periods import Period
from apps.engine.tax import TaxDecision

# bill: the amount is due; credit: it was billed before and is given back; waive: it is shown and costs nothing.
Effect = Literal["bill", "credit", "waive"]
SIGNS: Final[Mapping[Effect, int]] = {"bill": 1, "credit": -1, "waive": 0}
_WHOLE: Final = Fraction(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeInput:
    """One charge to be billed: its terms, the measured quantity with its evidence, and how it is taxed."""

    terms: ChargeTerms
    quantity: Decimal = Decimal(1)
    basis: Basis = NO_BASIS
    before: Measured | None = None  # of a metered charge in advance: what was billed already, event by event
    meter_version: int | None = None
    usage: Mapping[str, Any] = field(default_factory=dict)
    tax: TaxDecision | None = None
    factor: Fraction = _WHOLE
    service_period: Period | None = None  # None: the period of the draft; a fee in advance names the next one
    effect: Effect = "bill"
    rounding: Rounding | None = None  # None: that of the draft
    plan: Mapping[str, Any] | None = None  # None: that of the draft; fees of the next period may be another plan's
    adjusts: Mapping[str, Any] | None = None  # what an earlier document billed, when this is the difference to it


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
    commitment: CommitmentTerms | None = None
    commitment_factor: Fraction = _WHOLE
    commitment_billed_before_minor: int = 0  # what counts of the same period on earlier documents
    commitment_tax: TaxDecision | None = None
    tax_rounding: Rounding = Rounding.HALF_UP
    discounts: tuple[DiscountTerms, ...] = ()


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
    net_minor: int  # before discounts
    tax_minor: int | None  # on what discounts leave; None: not known
    tax: TaxDecision | None
    rating: Rated
    decision: Mapping[str, Any]
    discount_minor: int = 0

    @property
    def taxable_minor(self) -> int:
        """What discounts leave of the line, in minor units: the amount that is taxed and owed."""
        return self.net_minor - self.discount_minor

    def to_document(self) -> dict[str, Any]:
        """Return the line as JSON without the rating, which its decision can rebuild."""
        document = {
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
        return document | ({"discount_minor": self.discount_minor} if self.discount_minor else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceDraft:
    """
    The lines and totals of an invoice, in minor units.

    `subtotal_minor` is what discounts leave of the lines; `tax_minor` is the tax of the lines where it is known.
    """

    currency: str
    period: Period
    lines: tuple[DraftLine, ...]
    subtotal_minor: int
    tax_minor: int
    total_minor: int
    discount_minor: int = 0
    discounts: tuple[AppliedAmount, ...] = ()  # those that take something, in their order

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
        document = {
            "currency": self.currency,
            "period": self.period.to_document(),
            "lines": [line.to_document() for line in self.lines],
            "subtotal_minor": self.subtotal_minor,
            "tax_minor": self.tax_minor,
            "total_minor": self.total_minor,
        }
        # Without discounts the document, and so its hash, is what it was before there were any.
        if self.discounts:
            document["discount_minor"] = self.discount_minor
            document["discounts"] = [applied.to_document() for applied in self.discounts]
        return document
