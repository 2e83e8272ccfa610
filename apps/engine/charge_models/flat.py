"""
Flat: a fixed amount for a period.

Rules: the amount does not depend on units. It is multiplied by the served part of the period unless the terms say
`prorate: false`; what it is multiplied by stays an exact fraction.
"""

from collections.abc import Iterator
from fractions import Fraction

from apps.engine.charge_models.steps import RatedStep, text_of
from apps.engine.charge_models.terms import ChargeTerms
from apps.engine.exact import Ratio, decimal_text, fraction_text


def price(terms: ChargeTerms, units: Ratio, factor: Fraction) -> Ratio:
    """Return the exact amount in major units."""
    assert terms.amount is not None  # noqa: S101  # the reader of terms requires it; this line is for the type checker
    numerator, denominator = terms.amount.as_integer_ratio()
    if not terms.prorate:
        return numerator, denominator
    return numerator * factor.numerator, denominator * factor.denominator


def steps(terms: ChargeTerms, units: Ratio, factor: Fraction) -> Iterator[RatedStep]:
    """Yield the single step of a fixed amount."""
    assert terms.amount is not None  # noqa: S101
    yield RatedStep(
        kind="flat",
        flat_fee=decimal_text(terms.amount),
        factor=fraction_text(factor) if terms.prorate else None,
        amount=text_of(price(terms, units, factor)),
    )
