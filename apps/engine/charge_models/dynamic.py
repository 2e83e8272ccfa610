"""
Dynamic: every event carries its own amount, and the charge is their sum.

Rules: the sum is exact and rounded once with the line, so a thousand events of a tenth of a cent are a dollar.
"""

from collections.abc import Iterator

from apps.engine.charge_models.billable import BillableUnits
from apps.engine.charge_models.steps import RatedStep, text_of
from apps.engine.charge_models.terms import ZERO, ChargeTerms
from apps.engine.exact import Ratio


def price(terms: ChargeTerms, billable: BillableUnits) -> Ratio:
    """Return the exact amount in major units."""
    return (billable.basis.amount or ZERO).as_integer_ratio()


def steps(terms: ChargeTerms, billable: BillableUnits) -> Iterator[RatedStep]:
    """Yield the single step of the sum that the events carry."""
    yield RatedStep(kind="dynamic", units=text_of(billable.units), amount=text_of(price(terms, billable)))
