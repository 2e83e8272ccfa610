"""
The steps by which a rated amount came about, as exact text.

Rules: no sentences here, only fields; the amounts of all steps of a line sum to its exact amount.
"""

from dataclasses import dataclass, fields
from typing import Literal

from apps.engine.exact import Ratio, ratio_text

StepKind = Literal["included", "flat", "per_unit", "tier", "maximum", "minimum"]


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

    def to_document(self) -> dict[str, str]:
        """Return the fields that the step has."""
        named = ((item.name, getattr(self, item.name)) for item in fields(self))
        return {name: value for name, value in named if value is not None}


def text_of(value: Ratio) -> str:
    """Return the exact text of a ratio."""
    return ratio_text(*value)
