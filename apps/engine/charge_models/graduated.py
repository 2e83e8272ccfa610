"""
Graduated: each tier prices the billable units that lie in it. On an amount of money it is `graduated_percentage`.

Rules: bounds count all units of the period, included ones too. A tier holds the units above its lower bound, up to and
including its upper bound; decimals count as they are. Included units lie at the bottom of the ladder and cost nothing,
so a tier below their end prices nothing, and the tier in which they end prices its rest. A tier's flat fee is due once
a billable unit lies in it. The first tier's is due from zero units on, whatever is included, unless the terms say
`flat_at_zero: false`. One walk over the tiers, in whole numbers.
"""

from collections.abc import Iterator

from apps.engine.charge_models.billable import BillableUnits
from apps.engine.charge_models.scaled_tiers import ScaledTiers
from apps.engine.charge_models.steps import RatedStep, text_of
from apps.engine.charge_models.terms import ChargeTerms
from apps.engine.exact import Ratio


def price(terms: ChargeTerms, billable: BillableUnits) -> Ratio:
    """Return the exact amount in major units."""
    tiers = terms.scaled_tiers
    scale = billable.denominator * tiers.bound_denominator
    amount = 0
    for _, _, slice_amount in _slices(tiers, billable, flat_at_zero=terms.flat_at_zero):
        amount += slice_amount
    return amount, scale * tiers.price_denominator


def steps(terms: ChargeTerms, billable: BillableUnits) -> Iterator[RatedStep]:
    """Yield a step for each tier that was entered: its own bounds, and the billable units in it."""
    tiers = terms.scaled_tiers
    scale = billable.denominator * tiers.bound_denominator
    for position, units, amount in _slices(tiers, billable, flat_at_zero=terms.flat_at_zero):
        tier = terms.tiers[position]
        lower = terms.tiers[position - 1].texts.up_to if position else None
        yield RatedStep(
            kind="tier",
            tier=str(position + 1),
            from_units=lower or "0",
            to_units=tier.texts.up_to,
            units=text_of((units, scale)),
            rate=tier.texts.rate,
            percent=tier.texts.percent,
            flat_fee=tier.texts.flat_fee,
            amount=text_of((amount, scale * tiers.price_denominator)),
        )


def _slices(tiers: ScaledTiers, billable: BillableUnits, *, flat_at_zero: bool) -> Iterator[tuple[int, int, int]]:
    """
    Yield position, billable units and amount of each entered tier.

    Units are over `billable denominator x bound denominator`, amounts over that times the price denominator.
    """
    start, end = billable.start * tiers.bound_denominator, billable.end * tiers.bound_denominator
    fee_scale = billable.denominator * tiers.bound_denominator
    lower = 0
    for position, (bound, rate, flat_fee) in enumerate(tiers.bands):
        upper = end if bound is None else bound * billable.denominator
        units = max(0, min(end, upper) - max(start, lower))
        if units or (position == 0 and flat_at_zero):
            yield position, units, units * rate + flat_fee * fee_scale
        if end <= upper:
            return
        lower = upper
