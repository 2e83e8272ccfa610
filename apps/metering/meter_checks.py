"""
Judge an event by the meters that read it: can each of them count it?

The checks are as strict as the trigger that adds the totals up, so that no accepted event can make that trigger fail.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from apps.engine.aggregation import Operation
from apps.metering.errors import EventRefused
from apps.metering.event_checks import value_text
from apps.metering.models import Meter, MeterAggregation
from apps.metering.usage_tables_sql import LABEL_LENGTH_MAX, VALUE_PATTERN, WEIGHT_PATTERN

_UNSIGNED = re.compile(VALUE_PATTERN.removeprefix("-?"))
_WEIGHT = re.compile(WEIGHT_PATTERN)
# The values of a grouping stand in the primary key of the totals, whose entries have a size limit.
DIMENSION_LENGTH_MAX: Final = 100
DIMENSIONS_BYTES_MAX: Final = 2_000


@dataclass(slots=True)
class MeterTerms:
    """What of a meter decides whether it can count an event; what each event would ask of it is answered once."""

    code: str
    aggregation: str
    value_property: str
    operation_property: str
    filters: Mapping[str, Any]
    group_by: tuple[str, ...]
    rules: Mapping[str, Any]
    is_current: bool
    weight_property: str = ""
    has_bounds: bool = field(init=False)
    reads_label: bool = field(init=False)
    reads_number: bool = field(init=False)

    def __post_init__(self) -> None:
        self.has_bounds = "min" in self.rules or "max" in self.rules
        self.reads_label = self.aggregation == MeterAggregation.UNIQUE_COUNT
        self.reads_number = not self.reads_label and self.aggregation != MeterAggregation.COUNT

    @property
    def can_refuse(self) -> bool:
        """Return whether there is any event of its type that the meter refuses."""
        asks_values = bool(self.rules or self.weight_property or self.reads_label or self.reads_number)
        return bool(self.group_by) or (self.is_current and asks_values)

    @classmethod
    def of(cls, meter: Meter) -> "MeterTerms":
        """Return the terms of a meter."""
        return cls(
            code=meter.code,
            aggregation=meter.aggregation,
            value_property=meter.value_property,
            operation_property=meter.operation_property,
            filters=meter.filters,
            group_by=tuple(meter.group_by),
            rules=meter.rules,
            is_current=meter.retired_at is None,
            weight_property=meter.weight_property,
        )


def meters_check(properties: Mapping[str, Any], *, quantity: str | None, meters: Iterable[MeterTerms]) -> None:
    """
    Require that every meter that reads an event with these properties can count it, and that its rules are kept.

    A retired version goes on counting for the plans that were sold with it, where it can; it makes no new demands
    on values: what it cannot add up is left out of it by `usage_tables_sql.EVENT_MATCHES`.

    :raises EventRefused: naming the meter, the property and the remedy
    """
    for meter in meters:
        if meter.filters and not is_filtered_in(properties, meter):
            continue
        if meter.is_current and meter.rules:
            _rules_check(properties, meter)
        if meter.group_by:
            _dimensions_check(properties, meter)
        if meter.is_current:
            if meter.weight_property:
                event_weight(properties, meter)
            _value_check(properties, quantity, meter)


def is_filtered_in(properties: Mapping[str, Any], meter: MeterTerms) -> bool:
    """Return whether an event carries every property that a meter filters by."""
    return all(_same(properties.get(name), wanted) for name, wanted in meter.filters.items())


def _same(value: object, wanted: object) -> bool:
    # JSON knows true and 1 as two values, Python as equal ones.
    return isinstance(value, bool) == isinstance(wanted, bool) and value == wanted


def _value_check(properties: Mapping[str, Any], quantity: str | None, meter: MeterTerms) -> None:
    if meter.reads_number:
        value = properties.get(meter.value_property, quantity)
        # What most events carry needs no arithmetic to be seen as a plain number, and as none below zero.
        if meter.has_bounds or not isinstance(value, str) or not _UNSIGNED.fullmatch(value):
            _range_check(measured_number(properties, quantity, meter), meter)
    elif meter.reads_label:
        _label_check(properties, meter)
        _operation_check(properties, meter)


def event_weight(properties: Mapping[str, Any], meter: MeterTerms) -> int:
    """
    Return how many events an event stands for: what the meter's weight property says, or one.

    :raises EventRefused: if it is no whole number from 1 to a million
    """
    value = properties.get(meter.weight_property) if meter.weight_property else None
    if value is None:
        return 1
    text = plain_text(value) or ""
    if not _WEIGHT.fullmatch(text):
        raise EventRefused(
            "invalid_weight",
            f"'properties.{meter.weight_property}' is {text[:40]!r}; meter '{meter.code}' reads there how many events "
            "this one stands for: send a whole number from 1 to 1000000, or leave it out for 1.",
        )
    return int(text)


def measured_number(properties: Mapping[str, Any], quantity: str | None, meter: MeterTerms) -> Decimal:
    """
    Return the number that a meter reads: its property, else the event's quantity.

    :raises EventRefused: if there is neither, or it is no plain decimal
    """
    value = properties.get(meter.value_property)
    if value is not None:
        return Decimal(value_text(f"properties.{meter.value_property}", value))
    if quantity is None:
        raise EventRefused(
            "missing_property",
            f"Meter '{meter.code}' reads 'properties.{meter.value_property}'; send it, or 'quantity', as a decimal "
            "string.",
        )
    return Decimal(quantity)


def _label_check(properties: Mapping[str, Any], meter: MeterTerms) -> None:
    name = meter.value_property
    value = properties.get(name)
    if value is None:
        raise EventRefused(
            "missing_property", f"Meter '{meter.code}' counts different values of 'properties.{name}'; send it."
        )
    if not isinstance(value, str | int | Decimal) or not 0 < len(plain_text(value) or "") <= LABEL_LENGTH_MAX:
        raise EventRefused(
            "invalid_value",
            f"Meter '{meter.code}' counts different values of 'properties.{name}'; send one plain value of 1 to "
            f"{LABEL_LENGTH_MAX} characters.",
        )


def _operation_check(properties: Mapping[str, Any], meter: MeterTerms) -> None:
    name = meter.operation_property
    if name and properties.get(name) not in list(Operation):
        raise EventRefused(
            "invalid_operation",
            f"'properties.{name}' is {str(properties.get(name))[:40]!r}; meter '{meter.code}' knows "
            f"{' and '.join(Operation)}.",
        )


def plain_text(value: object) -> str | None:
    """Return a plain JSON value as text, as the database's `->>` writes it; null is nothing."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def _range_check(measured: Decimal, meter: MeterTerms) -> None:
    # Never below zero: a period whose sum is negative has no price. Only changes of a level may take something away.
    floor = Decimal("-Infinity") if meter.aggregation == MeterAggregation.WEIGHTED_SUM else Decimal(0)
    minimum, maximum = max(Decimal(meter.rules.get("min", floor)), floor), meter.rules.get("max")
    if measured < minimum:
        raise EventRefused("rule_min", f"Meter '{meter.code}' counts nothing below {minimum}; {measured} was sent.")
    if maximum is not None and measured > Decimal(maximum):
        raise EventRefused("rule_max", f"Meter '{meter.code}' counts nothing above {maximum}; {measured} was sent.")


def _rules_check(properties: Mapping[str, Any], meter: MeterTerms) -> None:
    for name in meter.rules.get("required", ()):
        if properties.get(name) is None:
            raise EventRefused("rule_required", f"Meter '{meter.code}' requires 'properties.{name}'; send it.")
    for name, values in meter.rules.get("allowed", {}).items():
        value = properties.get(name)
        if value is not None and not any(_same(value, allowed) for allowed in values):
            raise EventRefused(
                "rule_allowed",
                f"'properties.{name}' is {str(value)[:40]!r}; meter '{meter.code}' allows "
                f"{', '.join(str(allowed) for allowed in values)[:200]}.",
            )


def _dimensions_check(properties: Mapping[str, Any], meter: MeterTerms) -> None:
    size = 0
    for name in meter.group_by:
        value = properties.get(name)
        size += len(name.encode()) + len(str(value).encode())
        if isinstance(value, dict | list) or len(str(value)) > DIMENSION_LENGTH_MAX:
            raise EventRefused(
                "invalid_dimension",
                f"Meter '{meter.code}' groups by 'properties.{name}'; send one plain value of at most "
                f"{DIMENSION_LENGTH_MAX} characters.",
            )
    if size > DIMENSIONS_BYTES_MAX:
        raise EventRefused(
            "invalid_dimension",
            f"The groupings of meter '{meter.code}' take {size} bytes of UTF-8, names and values together; "
            f"{DIMENSIONS_BYTES_MAX} are the limit. Send shorter values.",
        )
