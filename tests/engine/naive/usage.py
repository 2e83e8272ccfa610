"""From a list of events to one quantity, by counting on fingers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that happened; the place in its list is the order of arrival."""

    at: datetime
    value: Fraction = Fraction(0)
    name: str = ""  # what a unique count counts
    operation: str = "add"


def inside(events: Sequence[Event], starts_at: datetime, ends_at: datetime) -> list[Event]:
    """Return the events of a window: its start belongs to it, its end does not."""
    return [event for event in events if starts_at <= event.at < ends_at]


def in_order(events: Sequence[Event]) -> list[Event]:
    """Return the events by time; those of one instant in order of arrival."""
    return sorted(events, key=lambda event: event.at)  # sorting keeps the order of equals


def count(events: Sequence[Event]) -> Fraction:
    """Count the events."""
    return Fraction(len(events))


def total(events: Sequence[Event]) -> Fraction:
    """Add the values."""
    return sum((event.value for event in events), Fraction(0))


def largest(events: Sequence[Event]) -> Fraction:
    """Return the largest value; zero without events."""
    return max((event.value for event in events), default=Fraction(0))


def smallest(events: Sequence[Event]) -> Fraction:
    """Return the smallest value; zero without events."""
    return min((event.value for event in events), default=Fraction(0))


def latest(events: Sequence[Event]) -> Fraction:
    """Return the value of the last event; zero without events."""
    return in_order(events)[-1].value if events else Fraction(0)


def mean(events: Sequence[Event]) -> Fraction:
    """Return the exact average; zero without events."""
    return total(events) / len(events) if events else Fraction(0)


def unique(events: Sequence[Event], carried: frozenset[str] = frozenset()) -> Fraction:
    """Count what is on the list after all was added and removed."""
    names = set(carried)
    for event in in_order(events):
        if event.operation == "remove":
            names.discard(event.name)
        else:
            names.add(event.name)
    return Fraction(len(names))


def weighted(events: Sequence[Event], starts_at: datetime, ends_at: datetime, carried: Fraction) -> Fraction:
    """Look at the running total once in every second of the window, and average what was seen."""
    second = timedelta(seconds=1)
    running, seen, seconds = carried, Fraction(0), 0
    moment = starts_at
    while moment < ends_at:
        running += sum((event.value for event in events if event.at == moment), Fraction(0))
        seen += running
        seconds += 1
        moment += second
    return seen / seconds
