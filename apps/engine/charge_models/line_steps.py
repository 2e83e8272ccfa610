"""
How the exact amount of a line came about, step by step, from its inputs.

Rules: the steps are derived on request and never stored apart from their hash; their amounts sum to the exact amount.
Each modifier is a step of its own: transform and included units before the price, discount, maximum and minimum after.
"""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Final, Literal

from apps.engine.aggregation import apply_unit_rounding
from apps.engine.charge_models.basis import Basis
from apps.engine.charge_models.billable import BillablePart, billable_parts
from apps.engine.charge_models.registry import CHARGE_MODELS
from apps.engine.charge_models.steps import RatedStep, text_of
from apps.engine.charge_models.terms import ChargeTerms
from apps.engine.exact import Ratio, decimal_text

Adjustment = tuple[Literal["discount", "maximum", "minimum"], Ratio]
_ON_A_LADDER: Final = ("graduated",)


def line_steps(terms: ChargeTerms, quantity: Decimal, factor: Fraction, basis: Basis) -> Iterator[RatedStep]:
    """Yield the steps of a line: for each priced part what was done to its units and its price, then the limits."""
    before = Fraction(0)
    for part in billable_parts(terms, quantity, factor, basis):
        model = CHARGE_MODELS[part.terms.model]
        amount = Fraction(*model.price(part.terms, part.billable))
        before += amount
        if part.cell is not None and not amount and not part.measured:
            continue  # a matrix may have a thousand cells, and most customers touch three
        for step in (*_unit_steps(terms, part), *model.steps(part.terms, part.billable)):
            yield step if part.cell is None else replace(step, cell=str(part.cell + 1))
    for kind, after in adjustments(terms, before.as_integer_ratio(), factor):
        difference = Fraction(*after) - before
        yield RatedStep(
            kind=kind,
            flat_fee=None if kind == "discount" else text_of(after),
            percent=decimal_text(terms.discount_percent) if kind == "discount" else None,
            amount=text_of(difference.as_integer_ratio()),
        )
        before = Fraction(*after)


def adjustments(terms: ChargeTerms, priced: Ratio, factor: Fraction) -> Iterator[Adjustment]:
    """Yield the discount, and each limit that changed the amount, with the amount it left."""
    amount = priced
    if terms.discount_percent:
        numerator, denominator = terms.discount_percent.as_integer_ratio()
        amount = amount[0] * (100 * denominator - numerator), amount[1] * 100 * denominator
        yield "discount", amount
    if terms.max_amount is not None:
        maximum = terms.prorated(terms.max_amount, factor)
        if _is_above(amount, maximum):
            amount = maximum
            yield "maximum", amount
    if terms.min_amount is not None:
        minimum = terms.prorated(terms.min_amount, factor)
        if _is_above(minimum, amount):
            yield "minimum", minimum


def _unit_steps(terms: ChargeTerms, part: BillablePart) -> Iterator[RatedStep]:
    """Yield what was done to the units of a part before they were priced; `terms` are those of the whole charge."""
    if terms.unit_transform is not None:
        yield RatedStep(
            kind="transform",
            measured=decimal_text(part.measured),
            units=decimal_text(apply_unit_rounding(part.measured, terms.unit_transform)),
            amount="0",
        )
    is_whole = part.cell is None
    if terms.included_units and (is_whole or part.included[0]):
        yield RatedStep(
            kind="included",
            # Where they lie is said only where it matters: graduated tiers count them, a plain rate does not.
            from_units="0" if part.terms.model in _ON_A_LADDER else None,
            to_units=text_of((part.billable.start, part.billable.denominator)),
            units=text_of(part.included),
            rate="0",
            amount="0",
        )


def _is_above(left: Ratio, right: Ratio) -> bool:
    return left[0] * right[1] > right[0] * left[1]
