"""
The steps of a rated line in words and as rows of a table.

Rules: one sentence and one row per step, in the order in which they happened; a number is shown exactly as it was used,
and a fraction that does not end is shown as such, with its first digits beside it. Every kind of step has its words
here: a new kind without any is an error and not a silence.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from apps.engine.charge_models import ChargeTerms, Rated, RatedStep
from apps.engine.exact import Rounding, ratio_text, round_ratio, scaled_text

_DIGITS_SHOWN: Final = 6
ROUNDING_WORDS: Final[Mapping[str, str]] = {
    "half_up": "to the nearest, a half away from zero",
    "half_even": "to the nearest, a half to the even digit",
    "ceil": "up",
    "floor": "down",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplanationRow:
    """One row of the table behind an amount; every number is exact text."""

    label: str
    units: str
    rate: str
    flat_fee: str
    amount: str


def readable(text: str) -> str:
    """Return an exact number for reading: decimals as they are, "1/3" as "0.333333... (exactly 1/3)"."""
    if "/" not in text:
        return text
    value = Fraction(text)
    sign = "-" if value < 0 else ""
    digits = round_ratio(abs(value.numerator) * 10**_DIGITS_SHOWN, value.denominator, Rounding.FLOOR)
    return f"{sign}{scaled_text(digits, _DIGITS_SHOWN)}... (exactly {text})"


def amount_words(line: Rated, text: str) -> str:
    """Return an exact amount with its currency."""
    return f"{readable(text)} {line.currency}"


def units_words(line: Rated, units: str) -> str:
    """Return a number of units with the name that the terms give them."""
    return f"{readable(units)} {line.terms.unit or 'units'}"


def fraction_words(value: Fraction) -> str:
    """Return the exact text of a fraction."""
    return ratio_text(value.numerator, value.denominator)


def rounding_words(*, divide_by: str | None, mode: str, precision: int) -> str:
    """Say how measured units became billed ones: ", divided by 1000 and rounded up to a whole number"."""
    divided = f", divided by {divide_by}" if divide_by not in (None, "1") else ""
    if precision < 0:
        digits = f"a multiple of {10**-precision}"
    else:
        digits = f"{precision} digits after the point" if precision else "a whole number"
    return f"{divided} and rounded {ROUNDING_WORDS[mode]} to {digits}"


def included_words(line: Rated) -> str | None:
    """Say what is included, how much of it was used, and what is billed; None where nothing is included."""
    steps = [step for step in line.steps if step.kind == "included"]
    if not steps:
        return None
    used = sum((Fraction(step.units or "0") for step in steps), Fraction(0))
    if steps[0].cell is not None:
        numerator, denominator = line.terms.prorated(line.terms.included_units, line.factor)
        included = ratio_text(numerator, denominator)
        place = ", used up by the prices in their order"
    else:
        included = steps[0].to_units or "0"
        place = ", taken from the bottom of the tiers" if is_at_the_bottom(steps[0]) else ""
    return (
        f"{units_words(line, included)} are included{place}; {readable(fraction_words(used))} of them were used, and "
        f"{units_words(line, fraction_words(line.billable_quantity))} are billed."
    )


def is_at_the_bottom(step: RatedStep) -> bool:
    """Tell whether included units lie on a ladder of tiers, and not merely before a plain rate."""
    return step.kind == "included" and step.from_units is not None


def formula_of(line: Rated) -> list[str]:
    """Return a sentence for every step that has a price, and the sum when there are several."""
    steps = [step for step in line.steps if step.kind != "included"]
    sentences = [f"{_cell_words(line.terms, step)}{_SENTENCES[step.kind](line, step)}" for step in steps]
    priced = [step for step in steps if step.kind not in ("transform", "free_events")]
    if len(priced) > 1:
        sentences.append(f"Together {amount_words(line, fraction_words(line.amount_exact))}.")
    if not priced:
        what = "No billable unit entered a tier" if line.terms.tiers else "Nothing was used"
        sentences.append(f"{what}, so the amount is {amount_words(line, '0')}.")
    return sentences


def row_of(line: Rated, step: RatedStep) -> ExplanationRow:
    """Return the row of a step."""
    label = _LABELS.get(step.kind, step.kind.replace("_", " ").capitalize())
    if is_at_the_bottom(step):
        label = "Included, from the bottom"
    elif step.kind in ("tier", "volume"):
        label = _bounds_words(step).capitalize() + (", all units" if step.kind == "volume" else "")
    elif step.size is not None:
        label = f"Packages of {step.size}"
    rate = step.rate or (f"{step.percent} %" if step.percent is not None else "")
    return ExplanationRow(
        label=f"{_cell_words(line.terms, step)}{label}",
        units=step.units or "",
        rate=rate,
        flat_fee=step.flat_fee or "",
        amount=step.amount,
    )


def _cell_words(terms: ChargeTerms, step: RatedStep) -> str:
    """Name the cell of a price matrix that a step belongs to, by the values it is for."""
    if step.cell is None or terms.prices_by is None:
        return ""
    when = terms.prices_by.cells[int(step.cell) - 1].when
    named = ", ".join(f'{name} "{value}"' for name, value in when)
    return f"{named or 'Everything else'}: "


def _bounds_words(step: RatedStep) -> str:
    return f"above {step.from_units}" + (f" up to {step.to_units}" if step.to_units else "")


def _fee_words(line: Rated, step: RatedStep, why: str) -> str:
    return "" if step.flat_fee in (None, "0") else f" + {step.flat_fee} {line.currency} {why}"


def _counted(step: RatedStep, noun: str) -> str:
    return f"{step.count} {noun}" if step.count == "1" else f"{step.count} {noun}s"


def _transform(line: Rated, step: RatedStep) -> str:
    transform = line.terms.unit_transform
    assert transform is not None  # noqa: S101  # the step is made from it
    document = transform.to_document()
    divide_by = document["divide_by"]
    how = rounding_words(
        divide_by=None if divide_by is None else str(divide_by),
        mode=transform.mode.value,
        precision=transform.precision,
    )
    return f"{readable(step.measured or '0')} measured{how}: {units_words(line, step.units or '0')}."


def _flat(line: Rated, step: RatedStep) -> str:
    amount = amount_words(line, step.amount)
    times = f" x {units_words(line, step.units)}" if step.units is not None else ""
    part = f" x {step.factor} of the period" if step.factor not in (None, "1") else ""
    if not times and not part:
        return f"A fixed {amount}."
    return f"{step.flat_fee} {line.currency}{times}{part} = {amount}."


def _per_unit(line: Rated, step: RatedStep) -> str:
    return f"{units_words(line, step.units or '0')} x {step.rate} {line.currency} = {amount_words(line, step.amount)}."


def _tier(line: Rated, step: RatedStep) -> str:
    fee, amount = _fee_words(line, step, "for entering"), amount_words(line, step.amount)
    if step.percent is not None:
        price = f"{step.percent} percent of {amount_words(line, step.units or '0')}"
    else:
        price = f"{units_words(line, step.units or '0')} x {step.rate} {line.currency}"
    return f"Tier {step.tier}, {_bounds_words(step)}: {price}{fee} = {amount}."


def _volume(line: Rated, step: RatedStep) -> str:
    fee, amount = _fee_words(line, step, "for the tier"), amount_words(line, step.amount)
    price = f"{units_words(line, step.units or '0')} x {step.rate} {line.currency}"
    place = f"Tier {step.tier}, {_bounds_words(step)}, holds all units used and prices all billed ones"
    return f"{place}: {price}{fee} = {amount}."


def _package(line: Rated, step: RatedStep) -> str:
    begun = f"{units_words(line, step.units or '0')} begin {_counted(step, 'package')} of {step.size}"
    return f"{begun}: {step.count} x {step.rate} {line.currency} = {amount_words(line, step.amount)}."


def _free_events(line: Rated, step: RatedStep) -> str:
    value = amount_words(line, step.units or "0")
    return f"{_counted(step, 'event')} free of charge; with the free part of others, a value of {value}."


def _events(line: Rated, step: RatedStep) -> str:
    fee = f" + {step.count} x {step.flat_fee} {line.currency}" if step.flat_fee not in (None, "0") else ""
    value, amount = amount_words(line, step.units or "0"), amount_words(line, step.amount)
    return f"{_counted(step, 'event')}: {step.percent} percent of {value}{fee} = {amount}."


def _clamped(line: Rated, step: RatedStep) -> str:
    which = "minimum" if step.kind == "events_at_minimum" else "maximum"
    price = f"{step.count} x {step.rate} {line.currency}"
    return f"{_counted(step, 'event')} at the {which} per event: {price} = {amount_words(line, step.amount)}."


def _dynamic(line: Rated, step: RatedStep) -> str:
    return f'The events carry {amount_words(line, step.amount)} in "{line.terms.amount_property}".'


def _discount(line: Rated, step: RatedStep) -> str:
    return f"A discount of {step.percent} percent: {amount_words(line, step.amount.removeprefix('-'))} less."


def _limit(line: Rated, step: RatedStep) -> str:
    change = "less" if step.kind == "maximum" else "more"
    limit, difference = amount_words(line, step.flat_fee or "0"), step.amount.removeprefix("-")
    return f"The {step.kind} of {limit} applies: {amount_words(line, difference)} {change}."


def _with_event(line: Rated, step: RatedStep) -> str:
    return f"With the event, {units_words(line, step.units or '0')} cost {amount_words(line, step.amount)}."


def _without_event(line: Rated, step: RatedStep) -> str:
    billed = amount_words(line, step.amount.removeprefix("-"))
    return f"Without it, {units_words(line, step.units or '0')} cost {billed}, which was billed before."


_SENTENCES: Final[Mapping[str, Callable[[Rated, RatedStep], str]]] = {
    "transform": _transform,
    "flat": _flat,
    "per_unit": _per_unit,
    "tier": _tier,
    "volume": _volume,
    "package": _package,
    "free_events": _free_events,
    "events": _events,
    "events_at_minimum": _clamped,
    "events_at_maximum": _clamped,
    "dynamic": _dynamic,
    "discount": _discount,
    "maximum": _limit,
    "minimum": _limit,
    "with_event": _with_event,
    "without_event": _without_event,
}
_LABELS: Final[Mapping[str, str]] = {
    "transform": "Measured, then divided and rounded",
    "free_events": "Free events",
    "events": "Events",
    "dynamic": "Carried by the events",
    "without_event": "Billed before",
}
