"""A whole charge: unit transform, included units, price, discount, maximum, minimum, one rounding."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from tests.engine.naive.models import Document, percentage, units_price
from tests.engine.naive.numbers import number, number_or_nothing, rounded_to_places, to_minor

Group = tuple[Mapping[str, str | None], Fraction]


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What was used, in each of the ways a model may want to know it."""

    quantity: Fraction = Fraction(0)
    groups: Sequence[Group] = ()  # units by the values of properties, for a price matrix
    event_values: Sequence[Fraction] = ()  # in order, for a percentage
    amounts: Sequence[Fraction] = ()  # carried by the events, for a dynamic charge


def charge_amount(document: Document, usage: Usage, factor: Fraction = Fraction(1)) -> Fraction:
    """Return the exact amount of a charge; `factor` is the part of the period that was served."""
    shrinks = document.get("prorate")
    if shrinks is None:
        shrinks = document["model"] == "flat"
    part = factor if shrinks else Fraction(1)

    amount = price_before_modifiers(document, usage, part)
    amount -= amount * number(document.get("discount_percent") or "0") / 100
    maximum = number_or_nothing(document, "max_amount")
    if maximum is not None and amount > maximum * part:
        amount = maximum * part
    minimum = number_or_nothing(document, "min_amount")
    if minimum is not None and amount < minimum * part:
        amount = minimum * part
    return amount


def charge_minor(document: Document, usage: Usage, *, currency: str, mode: str, factor: Fraction = Fraction(1)) -> int:
    """Return the amount as it stands on the invoice: rounded once, at the very end."""
    return to_minor(charge_amount(document, usage, factor), currency, mode)


def increment_minor(document: Document, before: Usage, after: Usage, *, currency: str, mode: str) -> int:
    """Return what one more event costs when each is billed at once: the bill with it less the bill without it."""
    with_it = charge_minor(document, after, currency=currency, mode=mode)
    return with_it - charge_minor(document, before, currency=currency, mode=mode)


def price_before_modifiers(document: Document, usage: Usage, part: Fraction) -> Fraction:
    """Return the price, before any discount and limit."""
    model = document["model"]
    if model == "flat":
        times = usage.quantity if document.get("per_quantity") else 1
        return number(document["amount"]) * times * part
    if model == "dynamic":
        return sum(usage.amounts, Fraction(0))
    if model == "percentage":
        return percentage(document, list(usage.event_values))
    included = number(document.get("included_units") or "0") * part
    if document.get("prices_by") is None:
        return units_price(document, transformed(document, usage.quantity), included)
    return matrix_price(document, usage.groups, included)


def transformed(document: Document, quantity: Fraction) -> Fraction:
    """Divide and round what was measured into what is sold."""
    transform = document.get("unit_transform")
    if transform is None:
        return quantity
    divided = quantity / number(transform.get("divide_by") or "1")
    return rounded_to_places(divided, transform.get("precision", 0), transform["mode"])


def matrix_price(document: Document, groups: Sequence[Group], included: Fraction) -> Fraction:
    """Put each group of units into the first cell that matches it; each cell prices what it holds."""
    cells = matrix_cells(document)
    held = [Fraction(0) for _ in cells]
    for values, units in groups:
        held[first_match(cells, values)] += units
    total = Fraction(0)
    for (_, price), measured in zip(cells, held, strict=True):
        used = transformed(document, measured)
        included_here = min(included, used)
        included -= included_here
        total += units_price(cell_document(document, price), used, included_here)
    return total


def matrix_cells(document: Document) -> list[tuple[Mapping[str, str], Document]]:
    """Return condition and price of each cell in their order; the last one takes whatever is left."""
    matrix = document["prices_by"]
    if "property" in matrix:
        cells = [({matrix["property"]: value}, price) for value, price in matrix["match"].items()]
    else:
        cells = [(entry["when"], entry["price"]) for entry in matrix["match"]]
    return [*cells, ({}, matrix["default"])]


def first_match(cells: Sequence[tuple[Mapping[str, str], Document]], values: Mapping[str, str | None]) -> int:
    """Return the number of the first cell all of whose conditions hold."""
    for position, (when, _) in enumerate(cells):
        if all(values.get(key) == wanted for key, wanted in when.items()):
            return position
    raise AssertionError("the default has no condition")


def cell_document(document: Document, price: Document) -> dict[str, Any]:
    """Return the price of a cell as a charge of its own; an empty price is the price of the charge."""
    if not price:
        return dict(document)
    if "model" in price:
        return dict(price)
    if set(price) == {"unit_rate"}:
        return {"model": "per_unit", **price}
    return {"model": document["model"], **price}
