"""
Which units of a period are billed, and where on the ladder of tiers they lie.

Rules: measured units are transformed first; then units count from zero through the period and the included ones come
first, so what is billed is the stretch above them. A plain rate needs the length of the stretch only; tiers also need
to know where it begins. The cells of a price matrix count their own units, and use up the included ones in their order.
"""

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Final, NamedTuple

from apps.engine.aggregation import apply_unit_rounding
from apps.engine.charge_models.basis import NO_BASIS, Basis
from apps.engine.charge_models.terms import ChargeTerms, PriceMatrix
from apps.engine.exact import Ratio

WHOLE: Final = Fraction(1)


class BillableUnits(NamedTuple):
    """
    The units above `start`, up to and including `end`: whole numbers over one denominator, not reduced.

    With them goes what else a model may price: the served part of the period, and the basis of the events.
    """

    start: int
    end: int
    denominator: int
    factor: Fraction = WHOLE
    basis: Basis = NO_BASIS

    @property
    def units(self) -> Ratio:
        """How many units are billed."""
        return self.end - self.start, self.denominator


class BillablePart(NamedTuple):
    """The units of one cell of a price matrix, and the terms that price them; without a matrix, those of the charge."""

    cell: int | None
    measured: Decimal
    terms: ChargeTerms
    billable: BillableUnits
    included: Ratio  # how many of the units are free


def billable_units(terms: ChargeTerms, quantity: Decimal, factor: Fraction, basis: Basis = NO_BASIS) -> BillableUnits:
    """Return the units above the included ones; when usage stays below those, no units, where the included ones end."""
    if terms.unit_transform is not None:
        quantity = apply_unit_rounding(quantity, terms.unit_transform)
    used, denominator = quantity.as_integer_ratio()
    if not terms.included_units:
        return BillableUnits(0, used, denominator, factor, basis)
    included, included_denominator = terms.prorated(terms.included_units, factor)
    start = included * denominator
    end = max(start, used * included_denominator)
    return BillableUnits(start, end, denominator * included_denominator, factor, basis)


def billable_parts(terms: ChargeTerms, quantity: Decimal, factor: Fraction, basis: Basis) -> Iterator[BillablePart]:
    """Yield the units of each cell that has any, or whose price is due without any; without a matrix, the one part."""
    if terms.prices_by is not None:
        yield from _parts_by_cell(terms, terms.prices_by, factor, basis)
        return
    billable = billable_units(terms, quantity, factor, basis)
    used = apply_unit_rounding(quantity, terms.unit_transform)
    included = Fraction(used) - Fraction(*billable.units) if terms.included_units else Fraction(0)
    yield BillablePart(None, quantity, terms, billable, included.as_integer_ratio())


def _parts_by_cell(terms: ChargeTerms, matrix: PriceMatrix, factor: Fraction, basis: Basis) -> Iterator[BillablePart]:
    left = Fraction(*terms.prorated(terms.included_units, factor))
    for index, (cell, units) in enumerate(zip(matrix.cells, basis.units_by_cell or (), strict=True)):
        used = Fraction(apply_unit_rounding(units, terms.unit_transform))
        free = min(left, used)
        left -= free
        scale = used.denominator * free.denominator
        billable = BillableUnits(int(free * scale), int(used * scale), scale, factor)
        yield BillablePart(index, units, cell.price or terms, billable, free.as_integer_ratio())
