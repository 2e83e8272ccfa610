"""From counted events to a quantity and to what a charge needs beside it: one fold for stored and hand-written events.

The unit rounding of a meter applies to each cell of a price matrix as it does to the whole: a cell is billed like a
quantity of its own. The values of a percentage charge and the amounts of a dynamic one are not rounded at all.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from apps.engine.aggregation import Aggregation, Reading, aggregate, start_fold
from apps.engine.charge_models.basis import (
    NO_BASIS,
    Basis,
    BasisNeed,
    basis_needed,
    cell_of,
    fold_events,
    matrix_properties,
)
from apps.engine.charge_models.terms import ChargeTerms
from apps.engine.exact import add_exactly, decimal_text
from apps.engine.unit_rounding import apply_unit_rounding, quantity_decimal, unit_rounding_from_document
from apps.metering.errors import EventAmountInvalid
from apps.metering.inputs import MeterInput
from apps.metering.models import Meter
from apps.metering.usage_tables_sql import VALUE_PATTERN

MeterDefinition = Meter | MeterInput
_AMOUNT: Final = re.compile(VALUE_PATTERN)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageQuantity:
    """How much was used: billable units, the plain aggregate, how many events, and the snapshot that was read."""

    quantity: Decimal
    raw: Decimal
    event_count: int
    snapshot: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageMeasure:
    """A quantity and the basis of a charge, both of the same events."""

    usage: UsageQuantity
    basis: Basis


@dataclass(frozen=True, slots=True)
class CountedEvent:
    """An event that a meter counts: what it reads, the properties that were asked for, its group, how to name it."""

    reading: Reading
    texts: tuple[str | None, ...] = ()
    group: str = "{}"  # the grouping as JSON text
    name: str = ""


class Tally:
    """One meter's fold over one window, and how many of the window's own events it has read."""

    __slots__ = ("_fold", "event_count", "starts_at")

    def __init__(self, *, meter: MeterDefinition, starts_at: datetime) -> None:
        # Where an event stands for several, what is counted is what they stand for.
        is_weighed = meter.aggregation == Aggregation.COUNT and meter.weight_property != ""
        kind = Aggregation.SUM if is_weighed else Aggregation(meter.aggregation)
        self._fold = start_fold(aggregation=kind, starts_at=starts_at)
        self.starts_at = starts_at
        self.event_count = 0

    def add(self, reading: Reading) -> None:
        """Take the next reading; one from before the window is carried over and not counted."""
        self._fold.add(reading)
        self.event_count += reading.occurred_at >= self.starts_at

    def exact(self, *, ends_at: datetime) -> Decimal | Fraction:
        """Return what the window that ends here comes to."""
        return self._fold.quantity(ends_at=ends_at)

    def next_window(self, *, starts_at: datetime) -> None:
        """Begin the following window with what this one leaves."""
        self._fold.next_window(starts_at=starts_at)
        self.starts_at = starts_at
        self.event_count = 0


def one_spelling(quantity: Decimal | Fraction) -> Decimal:
    """Return a quantity as the decimal with one spelling: equal totals hash alike, whatever zeros a database keeps."""
    return Decimal(decimal_text(quantity_decimal(quantity)))


def billable_units(*, meter: MeterDefinition, exact: Decimal | Fraction) -> Decimal:
    """Return the units that a meter's exact aggregate bills."""
    if meter.rounding is None:
        return one_spelling(exact)
    return apply_unit_rounding(exact, unit_rounding_from_document(meter.rounding))


def usage_quantity_of(
    *, meter: MeterDefinition, exact: Decimal | Fraction, event_count: int, snapshot: str
) -> UsageQuantity:
    """Return the quantity of a meter's exact aggregate."""
    return UsageQuantity(
        quantity=billable_units(meter=meter, exact=exact),
        raw=one_spelling(exact),
        event_count=event_count,
        snapshot=snapshot,
    )


def fold_quantity(
    *, meter: MeterDefinition, events: Iterable[CountedEvent], starts_at: datetime, ends_at: datetime, snapshot: str
) -> UsageQuantity:
    """Return what the events, in order, come to in a window."""
    tally = Tally(meter=meter, starts_at=starts_at)
    for event in events:
        tally.add(event.reading)
    return usage_quantity_of(
        meter=meter, exact=tally.exact(ends_at=ends_at), event_count=tally.event_count, snapshot=snapshot
    )


def properties_needed(terms: ChargeTerms) -> tuple[str, ...]:
    """Return the event properties that the basis of a charge is made of."""
    if basis_needed(terms) is BasisNeed.AMOUNT:
        return (str(terms.amount_property),)
    return matrix_properties(terms)


def fold_basis(
    *,
    meter: MeterDefinition,
    terms: ChargeTerms,
    events: Iterable[CountedEvent],
    starts_at: datetime,
    ends_at: datetime,
) -> Basis:
    """
    Return what a charge needs beside the quantity, from events in order whose texts are the `properties_needed`.

    :raises EventAmountInvalid: if an event of a dynamic charge does not carry an amount
    :raises EngineError: if the values cannot be priced by these terms
    """
    need = basis_needed(terms)
    if need is BasisNeed.EVENT_VALUES:
        return fold_events(terms, (event.reading.value for event in events))
    if need is BasisNeed.AMOUNT:
        total = Decimal(0)
        for event in events:
            total = add_exactly(total, _amount(event, str(terms.amount_property)))
        return Basis(amount=one_spelling(total))
    if need is BasisNeed.NOTHING:
        return NO_BASIS
    cells = _Cells(terms)
    tallies = [Tally(meter=meter, starts_at=starts_at) for _ in range(cells.count)]
    for event in events:
        tallies[cells.index(event.texts)].add(event.reading)
    return Basis(
        units_by_cell=tuple(billable_units(meter=meter, exact=tally.exact(ends_at=ends_at)) for tally in tallies)
    )


def fold_group_totals(
    *, meter: MeterDefinition, terms: ChargeTerms, totals: Iterable[tuple[Sequence[str | None], Decimal]]
) -> Basis:
    """Return the units of each cell of a price matrix from the totals of groups: their sum, or the largest of them."""
    cells = _Cells(terms)
    values: list[list[Decimal]] = [[] for _ in range(cells.count)]
    for texts, total in totals:
        values[cells.index(tuple(texts))].append(total)
    joined = Aggregation.MAX if meter.aggregation == Aggregation.MAX else Aggregation.SUM
    return Basis(
        units_by_cell=tuple(
            billable_units(meter=meter, exact=aggregate(aggregation=joined, values=of_cell)) for of_cell in values
        )
    )


class _Cells:
    """The cells of a price matrix; each combination of values is looked up once."""

    def __init__(self, terms: ChargeTerms) -> None:
        assert terms.prices_by is not None  # noqa: S101  only asked of terms that need units by cell
        self.count = len(terms.prices_by.cells)
        self._terms = terms
        self._properties = matrix_properties(terms)
        self._known: dict[tuple[str | None, ...], int] = {}

    def index(self, texts: tuple[str | None, ...]) -> int:
        if texts not in self._known:
            values: Mapping[str, Any] = dict(zip(self._properties, texts, strict=True))
            self._known[texts] = cell_of(self._terms, values)
        return self._known[texts]


def _amount(event: CountedEvent, name: str) -> Decimal:
    (text,) = event.texts
    if text is None or not _AMOUNT.fullmatch(text) or Decimal(text) < 0:
        lack = "carries none" if text is None else f"carries {text[:40]!r}"
        raise EventAmountInvalid(
            f"A dynamic charge adds up 'properties.{name}', and {event.name} {lack}; it needs a plain decimal of zero "
            "or more. Events are never changed: price the period by other terms, and let the meter's rules require the "
            "property, so that the door refuses the next one.",
            facts={"event": event.name, "property": name},
        )
    return Decimal(text)
