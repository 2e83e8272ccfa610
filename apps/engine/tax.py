"""
Tax on a line: a decision made elsewhere, applied here.

Rules: a decision carries its evidence and is copied, never looked up again. Unknown is not zero: a line without a
decision stays without one, and what holds it cannot be finalised. Tax is exclusive and rounded once per line. A rate
above zero goes with the treatment `taxed` and with no other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from apps.engine import currencies, documents
from apps.engine.errors import InvalidTax
from apps.engine.exact import Rounding, decimal_text, round_ratio
from apps.engine.money import parse_decimal

RATE_PERCENT_MAX: Final = Decimal(100)

# What each treatment means; the word stands on documents and in the books.
TREATMENTS: Final[Mapping[str, str]] = {
    "taxed": "the rate applies",
    "zero_rated": "taxable at a rate of zero",
    "exempt": "outside tax by a rule named in the evidence",
    "reverse_charge": "the customer accounts for the tax",
    "not_registered": "the seller is not registered in the jurisdiction",
    "out_of_scope": "the supply is not taxed there at all",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxDecision:
    """How one line is taxed, where, at which rate, and why."""

    category: str
    jurisdiction: str
    rate_percent: Decimal
    treatment: str
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.treatment not in TREATMENTS:
            raise InvalidTax(f"must be one of {', '.join(TREATMENTS)}, not {self.treatment!r}", path="treatment")
        if not self.rate_percent.is_finite() or not 0 <= self.rate_percent <= RATE_PERCENT_MAX:
            raise InvalidTax("must lie from 0 to 100 percent", path="rate_percent")
        if self.treatment != "taxed" and self.rate_percent:
            raise InvalidTax(f'must be 0 with the treatment "{self.treatment}"', path="rate_percent")

    def to_document(self) -> dict[str, Any]:
        """Return the decision as JSON, the rate as a decimal string."""
        return {
            "category": self.category,
            "jurisdiction": self.jurisdiction,
            "rate_percent": decimal_text(self.rate_percent),
            "treatment": self.treatment,
            "evidence": dict(self.evidence),
        }


def tax_decision_from_document(document: Mapping[str, Any], *, path: str = "tax") -> TaxDecision:
    """
    Read a stored decision.

    :raises InvalidTax: if the decision contradicts itself
    :raises InvalidTerms: if a field is missing or unknown
    """
    fields = documents.read_mapping(document, path=path)
    known = ("category", "jurisdiction", "rate_percent", "treatment", "evidence")
    documents.refuse_unknown_keys(fields, known=known, path=path)
    return TaxDecision(
        category=documents.read_text(fields, "category", path=path, is_required=True) or "",
        jurisdiction=documents.read_text(fields, "jurisdiction", path=path, is_required=True) or "",
        rate_percent=parse_decimal(fields.get("rate_percent"), path=documents.at_key(path, "rate_percent")),
        treatment=documents.read_text(fields, "treatment", path=path, is_required=True) or "",
        evidence=documents.read_mapping(fields.get("evidence") or {}, path=documents.at_key(path, "evidence")),
    )


def tax_minor(*, net_minor: int, decision: TaxDecision, currency: str, rounding: Rounding = Rounding.HALF_UP) -> int:
    """
    Return the tax on a net amount, both in minor units, rounded once.

    :raises CurrencyUnknown: if the currency is not on the ISO list
    """
    currencies.exponent(currency)
    numerator, denominator = decision.rate_percent.as_integer_ratio()
    return round_ratio(net_minor * numerator, denominator * 100, rounding)
