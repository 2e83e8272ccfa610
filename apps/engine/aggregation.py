"""
From the readings of many events to one quantity: the eight folds.

Rules: readings come in the order of their time, and of their arrival where times are equal. A fold is exact however
long it is: sums keep every digit, an average and a share of time are fractions until somebody writes them down
(`unit_rounding.quantity_decimal`). Nothing is always zero: no event, no usage.

`weighted_sum` adds deltas to a level and weighs each level by the seconds it lasted: 30 days with +10 at the beginning
and -4 after 15 days are 10 x 15/30 + 6 x 15/30 = 8. `unique_count` counts different values; with operations it counts
the values that are there at the end of the window: a value is there from its `add` to its `remove`, adding what is
there and removing what is not changes nothing. What a meter carries over is told to the fold as readings from before
the window: they set the level, or the values that are there, with which the window begins.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Final

from apps.engine.errors import InvalidPeriod, InvalidTerms
from apps.engine.exact import add_exactly, multiply_exactly
from apps.engine.unit_rounding import (
    UnitRounding,
    apply_unit_rounding,
    quantity_decimal,
    unit_rounding_from_document,
)

__all__ = [
    "Aggregation",
    "Fold",
    "Operation",
    "Reading",
    "UnitRounding",
    "aggregate",
    "apply_unit_rounding",
    "fold_readings",
    "start_fold",
    "unit_rounding_from_document",
]

_ZERO: Final = Decimal(0)
_MICROSECOND: Final = timedelta(microseconds=1)
# For values that come without a time, where none is looked at.
_TIMELESS: Final = datetime.min.replace(tzinfo=UTC)


class Aggregation(StrEnum):
    """What a meter makes of the readings of its events."""

    COUNT = "count"  # how many events
    SUM = "sum"  # the total of their values
    MAX = "max"  # the largest value; zero when there was no event
    MIN = "min"  # the smallest value; zero when there was no event
    LATEST = "latest"  # the value of the last event, by its time and then by arrival; zero when there was none
    UNIQUE_COUNT = "unique_count"  # how many different values
    WEIGHTED_SUM = "weighted_sum"  # the running total of deltas, weighted by the time it lasted
    AVERAGE = "average"  # the total of the values by the number of events


class Operation(StrEnum):
    """What an event does to a value that a unique count counts while it is there."""

    ADD = "add"  # the value is there from now on
    REMOVE = "remove"  # it is there no more


@dataclass(frozen=True, slots=True)
class Reading:
    """What a meter reads from one event."""

    occurred_at: datetime
    value: Decimal = Decimal(1)
    label: str = ""  # the value as text, for unique_count
    operation: Operation = Operation.ADD


class Fold(ABC):
    """One aggregation on its way through the readings, in order."""

    @abstractmethod
    def add(self, reading: Reading) -> None:
        """Take the next reading."""

    @abstractmethod
    def quantity(self, *, ends_at: datetime) -> Decimal | Fraction:
        """Return what the readings so far come to in the window that ends here, exactly."""

    def next_window(self, *, starts_at: datetime) -> None:
        """Begin the window that follows, with what this one leaves: the level, or the values that are there."""
        raise InvalidTerms("cannot be carried over; only weighted_sum and unique_count can", path="aggregation")


class _Count(Fold):
    def __init__(self) -> None:
        self._count = 0

    def add(self, reading: Reading) -> None:
        self._count += 1

    def quantity(self, *, ends_at: datetime) -> Decimal:
        return Decimal(self._count)


class _Sum(Fold):
    def __init__(self) -> None:
        self._total = _ZERO

    def add(self, reading: Reading) -> None:
        self._total = add_exactly(self._total, reading.value)

    def quantity(self, *, ends_at: datetime) -> Decimal:
        return self._total


class _Chosen(Fold):
    """One of the values is the quantity: the largest, the smallest or the last."""

    def __init__(self, aggregation: Aggregation) -> None:
        self._aggregation = aggregation
        self._chosen: Decimal | None = None

    def add(self, reading: Reading) -> None:
        if self._chosen is None or self._aggregation is Aggregation.LATEST:
            self._chosen = reading.value
        elif self._aggregation is Aggregation.MAX:
            self._chosen = max(self._chosen, reading.value)
        else:
            self._chosen = min(self._chosen, reading.value)

    def quantity(self, *, ends_at: datetime) -> Decimal:
        return _ZERO if self._chosen is None else self._chosen


class _UniqueCount(Fold):
    def __init__(self) -> None:
        self._present: set[str] = set()

    def add(self, reading: Reading) -> None:
        if reading.operation is Operation.ADD:
            self._present.add(reading.label)
        else:
            self._present.discard(reading.label)

    def quantity(self, *, ends_at: datetime) -> Decimal:
        return Decimal(len(self._present))

    def next_window(self, *, starts_at: datetime) -> None:
        """Keep the values that are there."""


class _WeightedSum(Fold):
    def __init__(self, starts_at: datetime) -> None:
        self._starts_at = self._until = starts_at
        self._level = self._area = _ZERO

    def add(self, reading: Reading) -> None:
        # What came before the window has lasted for none of it yet, and lasts for all of it from its beginning.
        self._advance(max(reading.occurred_at, self._until))
        self._level = add_exactly(self._level, reading.value)

    def quantity(self, *, ends_at: datetime) -> Decimal | Fraction:
        if ends_at <= self._starts_at:
            return _ZERO
        self._advance(ends_at)
        return Fraction(self._area) * Fraction(1, (ends_at - self._starts_at) // _MICROSECOND)

    def next_window(self, *, starts_at: datetime) -> None:
        self._starts_at = self._until = starts_at
        self._area = _ZERO

    def _advance(self, at: datetime) -> None:
        lasted = Decimal((at - self._until) // _MICROSECOND)
        self._area = add_exactly(self._area, multiply_exactly(self._level, lasted))
        self._until = at


class _Average(Fold):
    def __init__(self) -> None:
        self._total, self._count = _ZERO, 0

    def add(self, reading: Reading) -> None:
        self._total = add_exactly(self._total, reading.value)
        self._count += 1

    def quantity(self, *, ends_at: datetime) -> Decimal | Fraction:
        return Fraction(self._total) * Fraction(1, self._count) if self._count else _ZERO


def start_fold(*, aggregation: Aggregation, starts_at: datetime) -> Fold:
    """Return a fold that has read nothing yet, for a window that starts here."""
    if aggregation is Aggregation.COUNT:
        return _Count()
    if aggregation is Aggregation.SUM:
        return _Sum()
    if aggregation is Aggregation.UNIQUE_COUNT:
        return _UniqueCount()
    if aggregation is Aggregation.WEIGHTED_SUM:
        return _WeightedSum(starts_at)
    if aggregation is Aggregation.AVERAGE:
        return _Average()
    return _Chosen(aggregation)


def fold_readings(
    *,
    aggregation: Aggregation,
    readings: Iterable[Reading],
    starts_at: datetime,
    ends_at: datetime,
    carries_over: bool = False,
) -> Decimal | Fraction:
    """
    Return what the readings of the half-open window come to, exactly.

    :param readings: in any order of time; those of one instant in the order of their arrival
    :param carries_over: begin with what the readings from before the window leave, instead of with nothing
    :raises InvalidPeriod: if the window ends before it starts
    """
    if ends_at < starts_at:
        raise InvalidPeriod("must not lie before the start of the window", path="ends_at")
    fold = start_fold(aggregation=aggregation, starts_at=starts_at)
    for reading in sorted(readings, key=lambda reading: reading.occurred_at):
        if reading.occurred_at < ends_at and (carries_over or reading.occurred_at >= starts_at):
            fold.add(reading)
    return fold.quantity(ends_at=ends_at)


def aggregate(*, aggregation: Aggregation, values: Iterable[Decimal]) -> Decimal:
    """
    Return the quantity of values alone, in order; exact, but for an average, which is kept to 12 decimals.

    :raises InvalidTerms: if the aggregation needs to know when or what was read, not only the values
    """
    if aggregation in (Aggregation.UNIQUE_COUNT, Aggregation.WEIGHTED_SUM):
        raise InvalidTerms(f"{aggregation} needs whole readings; use fold_readings", path="aggregation")
    fold = start_fold(aggregation=aggregation, starts_at=_TIMELESS)
    for value in values:
        fold.add(Reading(_TIMELESS, value))
    return quantity_decimal(fold.quantity(ends_at=_TIMELESS))
