"""
What rating needs of the events beyond one quantity: units per matrix cell, the fold of a percentage, carried amounts.

Rules: a basis is small, exact and the same for the same events, so it is stored with the decision and rates again
without them. Which one a charge needs follows from its terms alone. Events are folded in the order given (by time of
occurrence, then arrival) and one by one, so that a million of them need no memory.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from apps.engine import documents
from apps.engine.charge_models.terms import ZERO, ChargeTerms
from apps.engine.documents import at_key
from apps.engine.errors import InvalidTerms, UnitsOutOfRange
from apps.engine.exact import add_exactly, decimal_text, multiply_exactly, subtract_exactly
from apps.engine.money import parse_decimal

_HUNDRED: Final = Decimal(100)


class BasisNeed(StrEnum):
    """What a charge wants to know about its events beside their quantity."""

    NOTHING = "nothing"  # the quantity is enough
    UNITS_BY_CELL = "units_by_cell"  # a price matrix: the units of each cell
    AMOUNT = "amount"  # dynamic: the sum of the amounts that the events carry
    EVENT_VALUES = "event_values"  # percentage: the value of each event, in order


@dataclass(frozen=True, slots=True, kw_only=True)
class EventTotals:
    """The fold of a percentage charge over its events, in order: all that its amount depends on."""

    charged_events: int = 0  # priced plainly: value x rate + fixed fee
    charged_value: Decimal = ZERO  # of those, the value above what was free
    events_at_minimum: int = 0
    events_at_maximum: int = 0
    free_events: int = 0
    free_value: Decimal = ZERO  # the free part of a charged event is in it, too

    def to_document(self) -> dict[str, str | int]:
        """Return the totals as JSON: counts as whole numbers, values as text."""
        named = ((item.name, getattr(self, item.name)) for item in fields(self))
        return {name: decimal_text(value) if isinstance(value, Decimal) else value for name, value in named}


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """At most one of the three; which one follows from the terms."""

    units_by_cell: tuple[Decimal, ...] | None = None  # in the order of the cells, the default last
    amount: Decimal | None = None
    events: EventTotals | None = None

    def to_document(self) -> dict[str, Any]:
        """Return the basis as JSON; without a basis, an empty object."""
        document: dict[str, Any] = {}
        if self.units_by_cell is not None:
            document["units_by_cell"] = [decimal_text(units) for units in self.units_by_cell]
        if self.amount is not None:
            document["amount"] = decimal_text(self.amount)
        if self.events is not None:
            document["events"] = self.events.to_document()
        return document


NO_BASIS: Final = Basis()


def basis_from_document(document: object, *, path: str) -> Basis:
    """
    Read a basis as `to_document` wrote it; an empty object is none.

    :raises InvalidTerms: if a field is unknown or no count
    :raises InvalidDecimal: if a number is not a plain decimal string
    """
    known = documents.read_mapping(document, path=path)
    documents.refuse_unknown_keys(known, known=("units_by_cell", "amount", "events"), path=path)
    units, amount, events = known.get("units_by_cell"), known.get("amount"), known.get("events")
    if units is not None and not isinstance(units, list | tuple):
        raise InvalidTerms("must be a list of decimal strings", path=at_key(path, "units_by_cell"))
    units_path = at_key(path, "units_by_cell")
    return Basis(
        units_by_cell=None
        if units is None
        else tuple(parse_decimal(item, path=at_key(units_path, index)) for index, item in enumerate(units)),
        amount=None if amount is None else parse_decimal(amount, path=at_key(path, "amount")),
        events=None if events is None else _read_totals(events, at_key(path, "events")),
    )


def basis_needed(terms: ChargeTerms) -> BasisNeed:
    """Return what rating these terms needs beside a quantity."""
    if terms.prices_by is not None:
        return BasisNeed.UNITS_BY_CELL
    return {"dynamic": BasisNeed.AMOUNT, "percentage": BasisNeed.EVENT_VALUES}.get(terms.model, BasisNeed.NOTHING)


def empty_basis(terms: ChargeTerms) -> Basis:
    """Return the basis of no events at all."""
    need = basis_needed(terms)
    if need is BasisNeed.UNITS_BY_CELL:
        return fold_units(terms, ())
    if need is BasisNeed.EVENT_VALUES:
        return fold_events(terms, ())
    return Basis(amount=ZERO) if need is BasisNeed.AMOUNT else NO_BASIS


def matrix_properties(terms: ChargeTerms) -> tuple[str, ...]:
    """Return the event properties that a price matrix looks at; none without a matrix."""
    return () if terms.prices_by is None else terms.prices_by.properties


def cell_of(terms: ChargeTerms, values: Mapping[str, str | None]) -> int:
    """
    Return the index of the first cell that matches; a property that is missing or null matches no value.

    :raises InvalidTerms: if the terms have no price matrix
    """
    if terms.prices_by is None:
        raise InvalidTerms("is missing; without a price matrix there are no cells", path="prices_by")
    return terms.prices_by.cell_of(values)


def fold_units(terms: ChargeTerms, groups: Iterable[tuple[Mapping[str, str | None], Decimal]]) -> Basis:
    """
    Return the units of each cell; the units of groups that meet in one cell are added.

    Adding is right for counts and sums. For any other aggregation, aggregate the events of each cell (`cell_of`) as one
    group, and give one group per cell.

    :raises InvalidTerms: if the terms have no price matrix
    """
    if terms.prices_by is None:
        raise InvalidTerms("is missing; without a price matrix there are no cells", path="prices_by")
    units = [ZERO] * len(terms.prices_by.cells)
    for values, count in groups:
        index = cell_of(terms, values)
        units[index] = add_exactly(units[index], count)
    return Basis(units_by_cell=tuple(units))


def fold_events(terms: ChargeTerms, values: Iterable[Decimal]) -> Basis:
    """
    Fold the values of a percentage charge's events, in order, into what its amount depends on.

    While no given allowance is used up an event is free. One whose value exceeds the rest of the free amount is charged
    on the excess. The allowance ends when the first of its two kinds is used up, so an allowance of zero is none.

    :raises UnitsOutOfRange: if a value is below zero or not finite
    """
    assert terms.rate_percent is not None  # noqa: S101  # the reader of terms requires it; this line is for the type checker
    events = {"charged": 0, "at_minimum": 0, "at_maximum": 0, "free": 0}
    charged_value = free_value = ZERO
    for value in values:
        if not value.is_finite() or value < 0:
            raise UnitsOutOfRange(
                f"an event of {value} cannot be priced by a percentage; correct it to zero or more", path="basis.events"
            )
        free_part = _free_part(terms, value, free_events=events["free"], free_value=free_value)
        if free_part is not None:
            free_value = add_exactly(free_value, free_part)
            if free_part == value:
                events["free"] += 1
                continue
        excess = value if free_part is None else subtract_exactly(value, free_part)
        clamped = _clamped(terms, excess)
        events[clamped] += 1
        if clamped == "charged":
            charged_value = add_exactly(charged_value, excess)
    return Basis(
        events=EventTotals(
            charged_events=events["charged"],
            charged_value=charged_value,
            events_at_minimum=events["at_minimum"],
            events_at_maximum=events["at_maximum"],
            free_events=events["free"],
            free_value=free_value,
        )
    )


def _free_part(terms: ChargeTerms, value: Decimal, *, free_events: int, free_value: Decimal) -> Decimal | None:
    """Return how much of an event's value is free, or None once a given allowance is used up or none is given."""
    if terms.free_events is None and terms.free_amount is None:
        return None
    if terms.free_events is not None and free_events >= terms.free_events:
        return None
    if terms.free_amount is None:
        return value
    return min(value, subtract_exactly(terms.free_amount, free_value)) if free_value < terms.free_amount else None


def _clamped(terms: ChargeTerms, value: Decimal) -> str:
    """Tell whether an event is charged plainly, at the minimum or at the maximum per event."""
    assert terms.rate_percent is not None  # noqa: S101
    if terms.min_per_event is None and terms.max_per_event is None:
        return "charged"
    hundredfold = add_exactly(
        multiply_exactly(value, terms.rate_percent), multiply_exactly(terms.fixed_fee, _HUNDRED)
    )  # the fee of the event, times 100
    if terms.min_per_event is not None and hundredfold < multiply_exactly(terms.min_per_event, _HUNDRED):
        return "at_minimum"
    if terms.max_per_event is not None and hundredfold > multiply_exactly(terms.max_per_event, _HUNDRED):
        return "at_maximum"
    return "charged"


def _read_totals(value: object, path: str) -> EventTotals:
    document = documents.read_mapping(value, path=path)
    names = [item.name for item in fields(EventTotals)]
    documents.refuse_unknown_keys(document, known=names, path=path)
    read: dict[str, Any] = {}
    for name in names:
        item = document.get(name)
        if name.endswith("_value"):
            read[name] = parse_decimal(item, path=at_key(path, name), minimum=ZERO)
        elif type(item) is not int or item < 0:
            raise InvalidTerms("must be a whole number of zero or more", path=at_key(path, name))
        else:
            read[name] = item
    return EventTotals(**read)
