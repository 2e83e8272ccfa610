"""
A commitment to spend: a discount up to it, another rate above it, and the shortfall below it.

Rules: usage lines stay at list price; what the commitment changes stands on lines of its own, each rounded once and
each only when it is not zero. With L the list value of a period's usage, d the discount and C the commitment for the
served part of the period:

- L x (1 - d) up to C: the customer pays C, which is the discounted usage and a shortfall.
- Above: C covers usage of C / (1 - d) at list price, and the rest of L is charged x the overage factor.

Both say the same where they meet, so the total never jumps.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from apps.engine.errors import InvalidTerms, UnitsOutOfRange
from apps.engine.exact import Rounding, decimal_text, ratio_text, round_ratio
from apps.engine.money import minor_to_text

DISCOUNT_CODE: Final = "commitment_discount"
OVERAGE_CODE: Final = "commitment_overage"
SHORTFALL_CODE: Final = "minimum_commitment"

_ONE: Final = Fraction(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentTerms:
    """What a customer commits to spend on usage in a whole period, and what that is worth to the seller."""

    amount_minor: int
    discount_percent: Decimal = Decimal(0)  # on list prices, up to the commitment
    overage_factor: Decimal = Decimal(1)  # on list prices, above it; zero: usage above it is free

    def __post_init__(self) -> None:
        if self.amount_minor < 0:
            raise InvalidTerms("must not be below zero", path="commitment.amount")
        if not 0 <= self.discount_percent < 100:
            raise InvalidTerms(
                "must lie from 0 to below 100: at 100 no usage would ever reach the commitment; "
                "use a base fee for usage that is free",
                path="commitment.discount_percent",
            )
        if not self.overage_factor.is_finite() or self.overage_factor < 0:
            raise InvalidTerms("must be zero or more; 1 charges list prices", path="commitment.overage_factor")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentLine:
    """One line that a commitment adds; a discount is below zero. `usage` is the evidence to store with it."""

    code: str
    description: str
    amount_minor: int
    usage: Mapping[str, Any] = field(default_factory=dict)


def minimum_part_minor(*, whole_minor: int, factor: Fraction) -> int:
    """Return the minimum of a served part of a period, in minor units; parts of a unit are left out."""
    return whole_minor * factor.numerator // factor.denominator


def commitment_lines(
    *,
    terms: CommitmentTerms,
    counted_minor: int,
    billed_before_minor: int = 0,
    factor: Fraction = _ONE,
    currency: str,
    rounding: Rounding,
) -> tuple[CommitmentLine, ...]:
    """
    Return what a commitment adds to the document that closes a period: discount, overage, shortfall.

    `counted_minor` is the list value of the period's usage on this document, `billed_before_minor` that on earlier
    ones. Usage lines and these lines together come to at least the commitment.

    :raises UnitsOutOfRange: if a counted value is below zero, or the factor is not from 0 to 1
    :raises CurrencyUnknown: if the currency is not on the ISO list
    """
    for path, value in (("counted_minor", counted_minor), ("billed_before_minor", billed_before_minor)):
        if value < 0:
            raise UnitsOutOfRange(f"is {value}; usage at list price is zero or more", path=path)
    if not 0 <= factor <= 1:
        raise UnitsOutOfRange(f"{factor} is not a part of a period; it lies from 0 to 1", path="factor")
    listed_minor = counted_minor + billed_before_minor
    committed_minor = _rounded(terms.amount_minor * factor, rounding)
    kept = _ONE - Fraction(terms.discount_percent) * Fraction(1, 100)
    period = {
        "commitment_minor": str(committed_minor),
        "list_minor": str(listed_minor),
        "discount_percent": decimal_text(terms.discount_percent),
    }
    if listed_minor * kept <= committed_minor:
        discounted_minor = _rounded(listed_minor * kept, rounding)
        lines = (
            _discount_line(discounted_minor - listed_minor, {**period, "covered": _major(listed_minor, currency)}),
            CommitmentLine(
                code=SHORTFALL_CODE,
                description="Minimum commitment",
                amount_minor=committed_minor - discounted_minor,
                usage={"minimum_minor": str(committed_minor), "counted_minor": str(discounted_minor)},
            ),
        )
    else:
        covered = Fraction(committed_minor * kept.denominator, kept.numerator)
        period["covered"] = _major(covered, currency)
        overage = (listed_minor - covered) * (Fraction(terms.overage_factor) - 1)
        lines = (
            _discount_line(committed_minor - _rounded(covered, rounding), period),
            CommitmentLine(
                code=OVERAGE_CODE,
                description="Usage above the commitment",
                amount_minor=_rounded(overage, rounding),
                usage={**period, "overage_factor": decimal_text(terms.overage_factor)},
            ),
        )
    return tuple(line for line in lines if line.amount_minor)


def _discount_line(amount_minor: int, usage: Mapping[str, Any]) -> CommitmentLine:
    return CommitmentLine(
        code=DISCOUNT_CODE, description="Commitment discount", amount_minor=amount_minor, usage=dict(usage)
    )


def _rounded(value: Fraction, rounding: Rounding) -> int:
    return round_ratio(value.numerator, value.denominator, rounding)


def _major(minor: Fraction | int, currency: str) -> str:
    """Return an exact amount of minor units in major units, as exact text."""
    scale = Fraction(minor_to_text(1, currency))
    major = minor * scale
    return ratio_text(major.numerator, major.denominator)
