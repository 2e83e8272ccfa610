"""
Graduated: each tier prices its own slice of the units.

Rules: a tier holds the units above its lower bound, up to and including its upper bound; decimals count as they are.
A tier's flat fee is due once the tier is entered, that is when units lie above its lower bound. The first tier is
entered at zero units too, unless the terms say `flat_at_zero: false`. One walk over the tiers, in whole numbers.
"""

from collections.abc import Iterator
from fractions import Fraction

from apps.engine.charge_models.scaled_tiers import ScaledTiers
from apps.engine.charge_models.steps import RatedStep, text_of
from apps.engine.charge_models.terms import ChargeTerms
from apps.engine.exact import Ratio, decimal_text


def price(terms: ChargeTerms, units: Ratio, factor: Fraction) -> Ratio:
    """Return the exact amount in major units."""
    tiers = terms.scaled_tiers
    scale = units[1] * tiers.bound_denominator
    amount = 0
    for _, _, slice_amount in _slices(tiers, units, flat_at_zero=terms.flat_at_zero):
        amount += slice_amount
    return amount, scale * tiers.price_denominator


def steps(terms: ChargeTerms, units: Ratio, factor: Fraction) -> Iterator[RatedStep]:
    """Yield a step for each tier that was entered."""
    tiers = terms.scaled_tiers
    scale = units[1] * tiers.bound_denominator
    for position, (lower, upper, amount) in enumerate(_slices(tiers, units, flat_at_zero=terms.flat_at_zero)):
        tier = terms.tiers[position]
        yield RatedStep(
            kind="tier",
            from_units=text_of((lower, scale)),
            to_units=None if tier.up_to is None else decimal_text(tier.up_to),
            units=text_of((upper - lower, scale)),
            rate=decimal_text(tier.unit_rate),
            flat_fee=decimal_text(tier.flat_fee),
            amount=text_of((amount, scale * tiers.price_denominator)),
        )


def _slices(tiers: ScaledTiers, units: Ratio, *, flat_at_zero: bool) -> Iterator[tuple[int, int, int]]:
    """
    Yield lower bound, upper end and amount of each entered tier.

    Units are over `units denominator x bound denominator`, amounts over that times the price denominator.
    """
    total, unit_scale = units[0] * tiers.bound_denominator, units[1]
    fee_scale = unit_scale * tiers.bound_denominator
    lower = 0
    for bound, rate, flat_fee in tiers.bands:
        if total <= lower and (lower > 0 or not flat_at_zero):
            return
        upper = total if bound is None else min(total, bound * unit_scale)
        yield lower, upper, (upper - lower) * rate + flat_fee * fee_scale
        lower = upper if bound is None else bound * unit_scale
