"""
Flat: a fixed amount for a period.

Rules: the amount does not depend on units. It is multiplied by the served part of the period unless the terms say
`prorate: false`; what it is multiplied by stays an exact fraction.
"""

from collections.abc import Iterator
from fractions import Fraction

from apps.engine.charge_models.billable import BillableUnits
from apps.engine.charge_models.steps import RatedStep, text_of
from apps.engine.charge_models.terms import ChargeTerms
from apps.engine.exact import Ratio, decimal_text, fraction_text


def price(terms: ChargeTerms, billable: BillableUnits, factor: Fraction) -> Ratio:
    """Return the exact amount in major units."""
    assert terms.amount is not None  # noqa: S101  # the reader of terms requires it; this line is for the type checker
    return terms.prorated(terms.amount, factor)


def steps(terms: ChargeTerms, billable: BillableUnits, factor: Fraction) -> Iterator[RatedStep]:
    """Yield the single step of a fixed amount."""
    assert terms.amount is not None  # noqa: S101
    yield RatedStep(
        kind="flat",
        flat_fee=decimal_text(terms.amount),
        factor=fraction_text(factor) if terms.prorate else None,
        amount=text_of(price(terms, billable, factor)),
    )
