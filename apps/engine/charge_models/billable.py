"""
Which units of a period are billed, and where on the ladder of tiers they lie.

Rules: units count from zero through the period and the included ones come first, so what is billed is the stretch
above them. A plain rate needs the length of the stretch only; tiers also need to know where it begins.
"""

from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from apps.engine.charge_models.terms import ChargeTerms
from apps.engine.exact import Ratio


class BillableUnits(NamedTuple):
    """The units above `start`, up to and including `end`: whole numbers over one denominator, not reduced."""

    start: int
    end: int
    denominator: int

    @property
    def units(self) -> Ratio:
        """How many units are billed."""
        return self.end - self.start, self.denominator


def billable_units(terms: ChargeTerms, quantity: Decimal, factor: Fraction) -> BillableUnits:
    """Return the units above the included ones; when usage stays below those, no units, where the included ones end."""
    used, denominator = quantity.as_integer_ratio()
    if not terms.included_units:
        return BillableUnits(0, used, denominator)
    included, included_denominator = terms.prorated(terms.included_units, factor)
    start = included * denominator
    return BillableUnits(start, max(start, used * included_denominator), denominator * included_denominator)
