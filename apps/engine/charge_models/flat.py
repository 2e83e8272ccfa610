"""
Flat: a fixed amount for a period, once or for each of a number of seats.

Rules: without `per_quantity` the amount does not depend on units; with it, it is multiplied by the quantity of the
subscription. It is multiplied by the served part of the period unless the terms say `prorate: false`; what it is
multiplied by stays an exact fraction.
"""

from collections.abc import Iterator

from apps.engine.charge_models.billable import BillableUnits
from apps.engine.charge_models.steps import RatedStep, text_of
from apps.engine.charge_models.terms import ChargeTerms
from apps.engine.exact import Ratio, decimal_text, fraction_text


def price(terms: ChargeTerms, billable: BillableUnits) -> Ratio:
    """Return the exact amount in major units."""
    assert terms.amount is not None  # noqa: S101  # the terms require it; this line is for the type checker
    numerator, denominator = terms.prorated(terms.amount, billable.factor)
    if not terms.per_quantity:
        return numerator, denominator
    units, scale = billable.units
    return numerator * units, denominator * scale


def steps(terms: ChargeTerms, billable: BillableUnits) -> Iterator[RatedStep]:
    """Yield the single step of a fixed amount."""
    assert terms.amount is not None  # noqa: S101
    yield RatedStep(
        kind="flat",
        units=text_of(billable.units) if terms.per_quantity else None,
        flat_fee=decimal_text(terms.amount),
        factor=fraction_text(billable.factor) if terms.prorate else None,
        amount=text_of(price(terms, billable)),
    )
