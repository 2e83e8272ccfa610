"""
What each charge model makes of the units of one period.

`used` counts every unit of the period, `included` those that cost nothing. The included units are the first ones,
so the billed units are those above `included` and up to `used`.
"""

import math
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from tests.engine.naive.numbers import number

Document = Mapping[str, Any]


def units_price(document: Document, used: Fraction, included: Fraction) -> Fraction:
    """Price units by the model that the document names."""
    billed = max(Fraction(0), used - included)
    model = document["model"]
    if model in ("per_unit", "overage"):
        return billed * number(document["unit_rate"])
    if model == "package":
        packages = math.ceil(billed / number(document["package_size"]))
        return packages * number(document["package_price"])
    if model == "graduated":
        return graduated(document, used, included, rate_key="unit_rate", rate_is_of=1)
    if model == "graduated_percentage":
        return graduated(document, used, included, rate_key="rate_percent", rate_is_of=100)
    if model == "volume":
        return volume(document, used, billed)
    raise AssertionError(f"{model} does not price units")


def tiers_with_bounds(document: Document) -> Iterator[tuple[int, Fraction, Fraction | None, Document]]:
    """Yield position, lower bound (outside), upper bound (inside; nothing when open) and the tier."""
    lower = Fraction(0)
    for position, tier in enumerate(document["tiers"]):
        upper = None if tier["up_to"] is None else number(tier["up_to"])
        yield position, lower, upper, tier
        if upper is not None:
            lower = upper


def graduated(document: Document, used: Fraction, included: Fraction, *, rate_key: str, rate_is_of: int) -> Fraction:
    """Walk up the ladder: each tier prices the billed units that lie in it."""
    total = Fraction(0)
    for position, lower, upper, tier in tiers_with_bounds(document):
        begins = max(lower, included)
        ends = used if upper is None else min(used, upper)
        in_this_tier = ends - begins if ends > begins else Fraction(0)
        total += in_this_tier * number(tier[rate_key]) / rate_is_of
        if in_this_tier > 0 or (position == 0 and document.get("flat_at_zero", True)):
            total += number(tier.get("flat_fee", "0"))
    return total


def volume(document: Document, used: Fraction, billed: Fraction) -> Fraction:
    """Find the tier that holds all used units, included ones too; it prices every billed unit."""
    if billed == 0:
        first = document["tiers"][0]
        return number(first.get("flat_fee", "0")) if document.get("flat_at_zero", True) else Fraction(0)
    for _, lower, upper, tier in tiers_with_bounds(document):
        if used > lower and (upper is None or used <= upper):
            return billed * number(tier["unit_rate"]) + number(tier.get("flat_fee", "0"))
    raise AssertionError("the last tier is open")


def percentage(document: Document, values: list[Fraction]) -> Fraction:
    """Charge event by event, in their order, until the list is done."""
    events_left = None if document.get("free_events") is None else int(document["free_events"])
    amount_left = None if document.get("free_amount") is None else number(document["free_amount"])
    has_allowance = events_left is not None or amount_left is not None
    total = Fraction(0)
    for value in values:
        is_free = has_allowance and events_left != 0 and amount_left != 0
        if not is_free:
            total += event_fee(document, value)
        elif amount_left is not None and value > amount_left:
            total += event_fee(document, value - amount_left)
            amount_left = Fraction(0)
        else:
            events_left = None if events_left is None else events_left - 1
            amount_left = None if amount_left is None else amount_left - value
    return total


def event_fee(document: Document, value: Fraction) -> Fraction:
    """Charge one event: its share, the fixed fee, then not less than the least and not more than the most."""
    fee = value * number(document["rate_percent"]) / 100 + number(document.get("fixed_fee") or "0")
    if document.get("min_per_event") is not None and fee < number(document["min_per_event"]):
        fee = number(document["min_per_event"])
    if document.get("max_per_event") is not None and fee > number(document["max_per_event"]):
        fee = number(document["max_per_event"])
    return fee
