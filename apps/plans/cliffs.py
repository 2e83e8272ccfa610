"""
Cliffs: places where one more unit changes the price of a charge by far more, or less, than a unit costs.

Pure. The engine prices the units at every bound of the terms and a millionth of a unit above; what the two prices
differ by is the cliff. Between bounds no model has one. A whole-volume rate falls at its bounds (a customer saves by
using more), a package or a tier's flat fee rises. Whether that is meant is for the plan's author to say: cliffs are
warnings, and only a plan's own `cliff_limit` makes them stand against publishing.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import islice
from typing import Final

from apps.engine.charge_models import BasisNeed, ChargeTerms, basis_needed, rate_charge
from apps.engine.charge_models.rating import UNITS_MAX
from apps.engine.charge_models.terms import CELL_KEYS
from apps.engine.exact import Rounding, add_exactly, decimal_text, multiply_exactly
from apps.engine.money import minor_to_text

_STEP: Final = Decimal("0.000001")
# Tiers, cells and charges multiply; what is looked at on a page or before publishing stays bounded.
PLACES_MAX: Final = 5_000
# Two prices are each rounded to the minor unit, so a difference of one may be rounding alone.
_NOISE_MINOR: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Cliff:
    """A jump of the price right above a number of units; below zero where the price falls."""

    charge_code: str
    at_units: Decimal
    jump_minor: int
    currency: str
    cell: str = ""  # of a price matrix, in words

    @property
    def is_rise(self) -> bool:
        """Whether one more unit costs more, rather than less."""
        return self.jump_minor > 0

    def __str__(self) -> str:
        jump = minor_to_text(abs(self.jump_minor), self.currency)
        where = f"{self.charge_code} ({self.cell})" if self.cell else self.charge_code
        verb = "adds" if self.is_rise else "takes off"
        return f"{where}: the next unit above {decimal_text(self.at_units)} {verb} {jump} {self.currency}"


def cliffs_of(*, charges: Iterable[ChargeTerms], currency: str) -> list[Cliff]:
    """
    Return the cliffs of every metered charge that is priced by its units, in the order of the charges.

    Of a plan with more bounds than anybody reads, the first `PLACES_MAX` are looked at.

    :raises EngineError: if the units at a bound cannot be priced
    """
    places = (place for terms in charges if _is_by_units(terms) for place in _places(terms))
    return [cliff for place in islice(places, PLACES_MAX) for cliff in _cliff(*place, currency)]


def _is_by_units(terms: ChargeTerms) -> bool:
    return terms.is_metered and basis_needed(terms) in (BasisNeed.NOTHING, BasisNeed.UNITS_BY_CELL)


def _places(terms: ChargeTerms) -> Iterator[tuple[ChargeTerms, Decimal, str]]:
    """Yield plain terms, a bound of theirs and the cell in words, for a charge or for each cell of its matrix."""
    if terms.prices_by is None:
        yield from ((terms, units, "") for units in _bounds(terms))
        return
    for cell in terms.prices_by.cells:
        # Other cells without units add a constant to both prices, so a cell is looked at by itself.
        price = cell.price or terms
        alone = replace(terms, prices_by=None, model=price.model, **{key: getattr(price, key) for key in CELL_KEYS})
        words = ", ".join(f"{name} {value}" for name, value in cell.when) or "default"
        yield from ((alone, units, words) for units in _bounds(alone))


def _bounds(terms: ChargeTerms) -> list[Decimal]:
    """Return the measured units at which a price may jump: its own bounds, counted with and without included units."""
    own = [tier.up_to for tier in terms.tiers if tier.up_to is not None]
    if terms.package_size is not None:
        own.append(terms.package_size)
    included = terms.included_units
    scale = Decimal(1)
    if terms.unit_transform is not None and terms.unit_transform.divide_by is not None:
        scale = terms.unit_transform.divide_by
    points = {included, *own, *(add_exactly(bound, included) for bound in own)}
    measured = (multiply_exactly(point, scale) for point in points)
    return sorted(point for point in measured if 0 < point < UNITS_MAX - 1)


def _cliff(terms: ChargeTerms, units: Decimal, cell: str, currency: str) -> Iterator[Cliff]:
    below, above = (
        rate_charge(terms=terms, quantity=quantity, currency=currency, rounding=Rounding.HALF_UP).amount_minor
        for quantity in (units, add_exactly(units, _STEP))
    )
    if abs(above - below) > _NOISE_MINOR:
        yield Cliff(charge_code=terms.code, at_units=units, jump_minor=above - below, currency=currency, cell=cell)
