"""What callers hand to the metering services."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterInput:
    """A meter as it is defined: which events, which value, how they add up, how units are rounded."""

    code: str
    name: str
    event_type: str
    aggregation: str
    value_property: str = ""
    operation_property: str = ""
    has_carry_over: bool = False
    weight_property: str = ""
    unit_name: str = ""
    filters: Mapping[str, Any] = field(default_factory=dict)
    group_by: Sequence[str] = ()
    rounding: Mapping[str, Any] | None = None
    rules: Mapping[str, Any] = field(default_factory=dict)
