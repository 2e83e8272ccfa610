"""
Usage as it was, times a factor: what a rehearsal with a simulated spike is rated on.

Every quantity, the units of each cell of a price matrix, carried amounts and the value of each event are multiplied.
The fold of a percentage over events cannot be multiplied afterwards, because allowances and bounds are not; so the
events are folded on terms that are scaled the other way round: a value times three against an allowance is the value
against a third of it, and its fee at a rate is the value at three times the rate.
"""

from dataclasses import replace
from decimal import Context, Decimal
from typing import Final

from apps.engine.charge_models import BasisNeed, ChargeTerms, Measured, basis_needed
from apps.engine.exact import multiply_exactly

FACTOR_MAX: Final = 1000
# A third of an allowance has no last digit; fifty of them are more than any amount of money shows.
_DIVISION: Final = Context(prec=50)


def terms_to_measure(*, terms: ChargeTerms, factor: Decimal) -> ChargeTerms:
    """Return the terms on which events are folded so that `scaled` makes of it the fold of scaled events."""
    if factor in (0, 1) or basis_needed(terms) is not BasisNeed.EVENT_VALUES:
        return terms
    assert terms.rate_percent is not None  # noqa: S101  # the reader of terms requires it
    free = terms.free_amount
    return replace(
        terms,
        rate_percent=multiply_exactly(terms.rate_percent, factor),
        free_amount=None if free is None else _DIVISION.divide(free, factor),
    )


def scaled(*, measured: Measured, factor: Decimal) -> Measured:
    """Return a quantity and a basis times a factor; a factor of zero is no usage at all, and so no events."""
    quantity, basis = measured
    if factor == 1:
        return measured
    cells, events = basis.units_by_cell, basis.events
    if events is not None and factor == 0:
        events = type(events)()
    elif events is not None:
        events = replace(
            events,
            charged_value=multiply_exactly(events.charged_value, factor),
            free_value=multiply_exactly(events.free_value, factor),
        )
    return multiply_exactly(quantity, factor), replace(
        basis,
        units_by_cell=None if cells is None else tuple(multiply_exactly(units, factor) for units in cells),
        amount=None if basis.amount is None else multiply_exactly(basis.amount, factor),
        events=events,
    )
