"""
The steps by which a rated amount came about, as exact text.

Rules: no sentences here, only fields; the amounts of all steps of a line sum to its exact amount.
"""

from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Final, Literal

from apps.engine.exact import Ratio, ratio_text

StepKind = Literal[
    "transform",
    "included",
    "flat",
    "per_unit",
    "tier",
    "volume",
    "package",
    "events",
    "free_events",
    "events_at_minimum",
    "events_at_maximum",
    "dynamic",
    "discount",
    "maximum",
    "minimum",
    "with_event",
    "without_event",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RatedStep:
    """One step; numbers are decimals when they end ("0.125") and reduced fractions when not ("1/3")."""

    kind: StepKind
    amount: str
    tier: str | None = None
    from_units: str | None = None
    to_units: str | None = None
    units: str | None = None
    rate: str | None = None
    flat_fee: str | None = None
    factor: str | None = None
    cell: str | None = None  # the number of the cell of a price matrix, from 1, the default last
    measured: str | None = None  # the units before they were transformed
    percent: str | None = None
    size: str | None = None  # units in one package
    count: str | None = None  # packages, or events

    def to_document(self) -> dict[str, str]:
        """Return the fields that the step has."""
        return {name: value for name, value in zip(_NAMES, _VALUES(self), strict=True) if value is not None}


_NAMES: Final = tuple(item.name for item in fields(RatedStep))
_VALUES: Final = attrgetter(*_NAMES)


def text_of(value: Ratio) -> str:
    """Return the exact text of a ratio."""
    return ratio_text(*value)
