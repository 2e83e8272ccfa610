"""
Per unit: every billable unit costs the same. The preset `overage` is this model with included units required.

Rules: amount = units above the included ones x rate; parts of a unit cost their part.
"""

from collections.abc import Iterator

from apps.engine.charge_models.billable import BillableUnits
from apps.engine.charge_models.steps import RatedStep, text_of
from apps.engine.charge_models.terms import ChargeTerms
from apps.engine.exact import Ratio, decimal_text


def price(terms: ChargeTerms, billable: BillableUnits) -> Ratio:
    """Return the exact amount in major units."""
    assert terms.unit_rate is not None  # noqa: S101  # the terms require it; this line is for the type checker
    numerator, denominator = terms.unit_rate.as_integer_ratio()
    return (billable.end - billable.start) * numerator, billable.denominator * denominator


def steps(terms: ChargeTerms, billable: BillableUnits) -> Iterator[RatedStep]:
    """Yield the single step of a plain rate."""
    assert terms.unit_rate is not None  # noqa: S101
    yield RatedStep(
        kind="per_unit",
        units=text_of(billable.units),
        rate=decimal_text(terms.unit_rate),
        amount=text_of(price(terms, billable)),
    )
