"""
Terms compiled for pricing many quantities: the same amounts as `rate_charge`, without the line that explains them.

Rules: a price by rates and tiers is a row of straight pieces, so it is kept as whole numbers: where a piece ends, what
it starts from, what a unit adds. Included units, proration, discount and limits are worked into them once, and what is
left per quantity is a search, a multiplication and the one rounding. Everything else is priced as in `rating`.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Final, NamedTuple

from apps.engine import currencies
from apps.engine.charge_models.basis import NO_BASIS, Basis
from apps.engine.charge_models.billable import WHOLE
from apps.engine.charge_models.rating import UNITS_MAX, ensure_priceable_inputs, rate_charge
from apps.engine.charge_models.terms import ZERO, ChargeTerms
from apps.engine.exact import Rounding, round_ratio

Rater = Callable[[Decimal], int]
_UNITS_MAX: Final = int(UNITS_MAX)
_STRAIGHT: Final = ("per_unit", "overage", "graduated", "graduated_percentage", "volume")


class _Piece(NamedTuple):
    """Amount = `fixed` + units x `rate`, for all units of the period up to and including `up_to`."""

    up_to: Fraction | None
    fixed: Fraction
    rate: Fraction


def compile_rater(
    *, terms: ChargeTerms, currency: str, rounding: Rounding, factor: Fraction = WHOLE, basis: Basis = NO_BASIS
) -> Rater:
    """
    Return a function from a quantity to its amount in minor units; it refuses what `rate_charge` refuses.

    :raises UnitsOutOfRange: if the factor is not from 0 to 1
    :raises CurrencyUnknown: if the currency is missing or not on the ISO list
    """
    scale = 10 ** currencies.exponent(currency)
    ensure_priceable_inputs(ZERO, factor)
    if terms.model in _STRAIGHT and terms.prices_by is None and terms.unit_transform is None and basis is NO_BASIS:
        return _straight_rater(terms, scale, rounding, factor)

    def rate(quantity: Decimal) -> int:
        """Return the amount of a quantity in minor units."""
        return rate_charge(
            terms=terms, quantity=quantity, currency=currency, rounding=rounding, factor=factor, basis=basis
        ).amount_minor

    return rate


def _straight_rater(terms: ChargeTerms, scale: int, rounding: Rounding, factor: Fraction) -> Rater:
    share = scale * (1 - Fraction(terms.discount_percent) * Fraction(1, 100))
    included = Fraction(*terms.prorated(terms.included_units, factor))
    pieces = [_Piece(piece.up_to, piece.fixed * share, piece.rate * share) for piece in _pieces(terms, included)]
    ends = [piece.up_to for piece in pieces if piece.up_to is not None]
    low, high = (
        None if limit is None else Fraction(*terms.prorated(limit, factor)) * scale
        for limit in (terms.min_amount, terms.max_amount)
    )
    end_scale = math.lcm(*(end.denominator for end in ends))
    price_scale = math.lcm(
        *(number.denominator for piece in pieces for number in (piece.fixed, piece.rate)),
        *(limit.denominator for limit in (low, high) if limit is not None),
    )
    bounds = [int(end * end_scale) for end in ends]
    lines = [(int(piece.fixed * price_scale), int(piece.rate * price_scale)) for piece in pieces]
    minimum = None if low is None else int(low * price_scale)
    maximum = None if high is None else int(high * price_scale)

    is_half_up = rounding is Rounding.HALF_UP

    def rate(quantity: Decimal) -> int:
        """Return the amount of a quantity in minor units."""
        try:
            units, denominator = quantity.as_integer_ratio()
        except (ValueError, OverflowError):  # not a number, or not a finite one: refused in words below
            units, denominator = -1, 1
        if not 0 <= units <= _UNITS_MAX * denominator:
            ensure_priceable_inputs(quantity, factor)
        fixed, unit_rate = lines[bisect_left(bounds, -(-units * end_scale // denominator))]
        amount = fixed * denominator + unit_rate * units
        if maximum is not None and amount > maximum * denominator:
            amount = maximum * denominator
        if minimum is not None and amount < minimum * denominator:
            amount = minimum * denominator
        whole = denominator * price_scale
        # The usual rounding, written out for what is never below zero: the call would cost as much as all the rest.
        return (2 * amount + whole) // (2 * whole) if is_half_up else round_ratio(amount, whole, rounding)

    return rate


def _pieces(terms: ChargeTerms, included: Fraction) -> Iterator[_Piece]:
    """Yield the pieces of a price: first the included units, then each tier that reaches above them."""
    zero = Fraction(0)
    if not terms.tiers:
        rate = Fraction(terms.unit_rate or ZERO)
        yield _Piece(included, zero, zero)
        yield _Piece(None, -included * rate, rate)
        return
    at_zero = Fraction(terms.tiers[0].flat_fee) if terms.flat_at_zero else zero
    yield _Piece(included, at_zero, zero)
    due, lower = zero, zero
    for position, tier in enumerate(terms.tiers):
        upper = None if tier.up_to is None else Fraction(tier.up_to)
        rate, fee, start = Fraction(*tier.rate), Fraction(tier.flat_fee), max(included, lower)
        lower = upper or zero
        if upper is not None and upper <= included:
            due += at_zero if position == 0 else zero
        elif terms.model == "volume":
            yield _Piece(upper, fee - included * rate, rate)
        else:
            yield _Piece(upper, due + fee - start * rate, rate)
            due += fee + ((upper or zero) - start) * rate
