"""
Volume: one tier prices every billable unit of the period.

Rules: the tier that holds all used units, included ones too, prices all billable units at its rate, plus its flat fee.
Without a billable unit nothing is due but the first tier's flat fee, and that not if the terms say
`flat_at_zero: false`. So at a bound the price can fall with one more unit; a graduated price cannot.
"""

from collections.abc import Iterator

from apps.engine.charge_models.billable import BillableUnits
from apps.engine.charge_models.steps import RatedStep, text_of
from apps.engine.charge_models.terms import ChargeTerms
from apps.engine.exact import Ratio


def price(terms: ChargeTerms, billable: BillableUnits) -> Ratio:
    """Return the exact amount in major units."""
    position = tier_position(terms, billable)
    if position is None:
        return 0, 1
    tiers = terms.scaled_tiers
    _, rate, flat_fee = tiers.bands[position]
    units, denominator = billable.units
    return units * rate + flat_fee * denominator, denominator * tiers.price_denominator


def steps(terms: ChargeTerms, billable: BillableUnits) -> Iterator[RatedStep]:
    """Yield the single step of the tier that prices all units."""
    position = tier_position(terms, billable)
    if position is None:
        return
    tier = terms.tiers[position]
    lower = terms.tiers[position - 1].texts.up_to if position else None
    yield RatedStep(
        kind="volume",
        tier=str(position + 1),
        from_units=lower or "0",
        to_units=tier.texts.up_to,
        units=text_of(billable.units),
        rate=tier.texts.rate,
        flat_fee=tier.texts.flat_fee,
        amount=text_of(price(terms, billable)),
    )


def tier_position(terms: ChargeTerms, billable: BillableUnits) -> int | None:
    """Return the index of the tier that prices the units; None when nothing is due at all."""
    if billable.end == billable.start:
        return 0 if terms.flat_at_zero else None
    tiers = terms.scaled_tiers
    used = billable.end * tiers.bound_denominator
    for position, (bound, _, _) in enumerate(tiers.bands):
        if bound is None or used <= bound * billable.denominator:
            return position
    raise AssertionError("the last tier is open")
