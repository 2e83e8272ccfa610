"""
Judge one event: is it whole, does it belong here and now, and can every meter that reads it count it?

Nothing is guessed and nothing mended: what cannot be counted exactly is refused with a code and a remedy. The checks
are as strict as the trigger that adds the totals up, so that no accepted event can make that trigger fail.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

import msgspec

from apps.engine.aggregation import Operation
from apps.engine.exact import decimal_text
from apps.metering.errors import EventRefused
from apps.metering.models import Meter, MeterAggregation
from apps.metering.normalisers import CanonicalEvent
from apps.metering.sources_sql import SEQUENCE_MAX
from apps.metering.usage_tables_sql import LABEL_LENGTH_MAX, VALUE_PATTERN

# A producer's clock may run ahead of ours by this much; beyond it the event would sit in a period not begun.
OCCURRED_AHEAD_MAX: Final = timedelta(hours=1)
OCCURRED_BEHIND_MAX: Final = timedelta(days=400)
# Beyond the last year there is no next month, and so no partition that ends.
YEAR_MIN: Final = 1970
YEAR_MAX: Final = 9998
TEXT_LENGTH_MAX: Final = 255
TYPE_LENGTH_MAX: Final = 120
_VALUE = re.compile(VALUE_PATTERN)
_UNSIGNED = re.compile(VALUE_PATTERN.removeprefix("-?"))
_DIGITS = re.compile(r"[0-9]{1,19}")
# A value as its shortest exact text: no zero that says nothing, and no sign.
_SHORTEST = re.compile(r"(?:0|[1-9][0-9]{0,19})(?:[.][0-9]{0,11}[1-9])?")
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,30})?([Zz]|[+-][0-9]{2}:[0-9]{2})?"
)
_UTC_INSTANT = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:[.]([0-9]{1,6}))?(?:Z|[+]00:00)")
# The values of a grouping stand in the primary key of the totals, whose entries have a size limit.
DIMENSION_LENGTH_MAX: Final = 100
DIMENSIONS_BYTES_MAX: Final = 2_000
_REMEDIES: Final = {
    "id": "the producer's own id of the event",
    "source": "the name of the producer",
    "type": "what happened, for instance api.request",
    "customer": "your code for the customer, or its cus_ id",
    "occurred_at": 'when it happened, with an offset: "2026-03-31T23:59:59Z"',
}


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
        return bool(self.group_by) or (self.is_current and bool(self.rules or self.reads_label or self.reads_number))

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
        )


class Instant(msgspec.Struct, frozen=True, gc=False):
    """When an event happened: the instant in UTC, its one spelling, and the month whose partition holds it."""

    at: datetime
    text: str
    month: date


def shape_check(event: CanonicalEvent) -> None:
    """
    Require every field that identifies and places an event, as text that can be stored.

    :raises EventRefused: naming the first field that is missing or wrong
    """
    # One expression for the events that are whole; which field is wrong is only asked of the others.
    if (
        (id_ := event.id)
        and (source := event.source)
        and (type_ := event.type)
        and (customer := event.customer)
        and (occurred_at := event.occurred_at)
        and event.subscription is None
        and len(id_) + len(source) + len(customer) <= TEXT_LENGTH_MAX
        and len(type_) + len(occurred_at) <= TYPE_LENGTH_MAX
        and "\0" not in id_
        and "\0" not in source
        and "\0" not in type_
        and "\0" not in customer
        and "\0" not in occurred_at
    ):
        return
    for name, remedy in _REMEDIES.items():
        value = getattr(event, name)
        if not value:
            raise EventRefused("missing_field", f"'{name}' is missing; send {remedy}.")
        _text_check(name, value, TYPE_LENGTH_MAX if name == "type" else TEXT_LENGTH_MAX)
    if event.subscription is not None:
        _text_check("subscription", event.subscription, TEXT_LENGTH_MAX)


def _text_check(name: str, value: str, length_max: int) -> None:
    if len(value) > length_max:
        raise EventRefused("invalid_text", f"'{name}' has {len(value)} characters; {length_max} are the limit.")
    if "\0" in value:
        raise EventRefused("invalid_text", f"'{name}' contains a NUL character; remove it.")


def instant_read(text: str) -> datetime:
    """
    Return an RFC 3339 time as an instant in UTC.

    :raises EventRefused: if it is no such time, or has no offset and so is no instant
    """
    match = _INSTANT.fullmatch(text)
    lack = "is not an RFC 3339 time"
    if match is not None and match[1] is None:
        lack = "has no offset and so is no instant"
    elif match is not None:
        try:
            occurred_at = datetime.fromisoformat(text.upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            lack = "is not a day and time of the calendar"
        else:
            if YEAR_MIN <= occurred_at.year <= YEAR_MAX:
                return occurred_at
            lack = f"lies outside the years {YEAR_MIN} to {YEAR_MAX}"
    raise EventRefused("invalid_time", f"occurred_at '{text[:40]}' {lack}; write it like 2026-03-31T23:59:59Z.")


def instant_place(text: str) -> Instant:
    """
    Return an RFC 3339 time as an instant with its spelling and its month.

    :raises EventRefused: if it is no such time, or has no offset and so is no instant
    """
    # Most times are written in UTC with whole microseconds: their one spelling is a part of what was sent.
    if match := _UTC_INSTANT.fullmatch(text):
        seconds, fraction = match.groups()
        try:
            occurred_at = datetime.fromisoformat(text)
        except ValueError:
            occurred_at = instant_read(text)
        if YEAR_MIN <= occurred_at.year <= YEAR_MAX:
            micros = f".{fraction:<06}" if fraction is not None and occurred_at.microsecond else ""
            return Instant(occurred_at, f"{seconds}{micros}+00:00", _month(text[:7]))
    occurred_at = instant_read(text)
    return Instant(occurred_at, occurred_at.isoformat(), occurred_at.date().replace(day=1))


@lru_cache(maxsize=1_000)
def _month(text: str) -> date:
    return date.fromisoformat(f"{text}-01")


def time_check(occurred_at: datetime, *, now_at: datetime, is_any_age: bool = False) -> None:
    """
    Require that an event happened neither in the future nor too long ago, as its customer's clock sees it.

    :param is_any_age: a correction brings it, with a reason; only the future is refused
    :raises EventRefused: if it lies outside
    """
    # Differences, because a clock at an end of the calendar has no hour beyond it.
    if occurred_at - now_at > OCCURRED_AHEAD_MAX:
        detail = f"occurred_at lies more than {OCCURRED_AHEAD_MAX} ahead of {now_at.isoformat()}; check the clock."
        raise EventRefused("too_far_in_future", detail)
    if not is_any_age and now_at - occurred_at > OCCURRED_BEHIND_MAX:
        detail = f"occurred_at lies more than {OCCURRED_BEHIND_MAX.days} days before {now_at.isoformat()}."
        raise EventRefused("too_old", detail)


def quantity_text(quantity: object) -> str | None:
    """
    Return the top-level quantity as its shortest exact text; nothing when there is none.

    :raises EventRefused: if it is not a plain decimal
    """
    if quantity is None or (isinstance(quantity, str) and _SHORTEST.fullmatch(quantity)):
        return quantity
    return decimal_text(Decimal(value_text("quantity", quantity)))


def sequence_read(sequence: object) -> int | None:
    """
    Return the place of an event in its producer's own count, sent as a number or as text; nothing when there is none.

    :raises EventRefused: if it is no whole number from 0 on
    """
    if sequence is None or (type(sequence) is int and 0 <= sequence <= SEQUENCE_MAX):
        return sequence
    if isinstance(sequence, str) and _DIGITS.fullmatch(sequence) and int(sequence) <= SEQUENCE_MAX:
        return int(sequence)
    detail = f"'sequence' is {str(sequence)[:40]!r}; send a whole number from 0 to {SEQUENCE_MAX}, or leave it out."
    raise EventRefused("invalid_sequence", detail)


def value_text(name: str, value: object) -> str:
    """
    Return a measured value as plain decimal text.

    :raises EventRefused: if it is not a finite decimal of at most 20 digits before and 12 behind the point
    """
    text = value if isinstance(value, str) else ""
    if isinstance(value, int) and not isinstance(value, bool):
        text = str(value)
    elif isinstance(value, Decimal):
        text = format(value, "f")
    if not _VALUE.fullmatch(text):
        shown = str(value)[:40]
        raise EventRefused(
            "invalid_quantity",
            f"'{name}' is {shown!r}; send a plain decimal such as \"12.5\", at most 20 digits before the point and 12 "
            "behind it.",
        )
    return text


def meters_check(event: CanonicalEvent, *, quantity: str | None, meters: Iterable[MeterTerms]) -> None:
    """
    Require that every meter that reads the event can count it, and that its rules are kept.

    A retired version goes on counting for the plans that were sold with it, where it can; it makes no new demands
    on values: what it cannot add up is left out of it by `usage_tables_sql.EVENT_MATCHES`.

    :raises EventRefused: naming the meter, the property and the remedy
    """
    properties = event.properties or {}
    for meter in meters:
        if meter.filters and not is_filtered_in(properties, meter):
            continue
        if meter.is_current and meter.rules:
            _rules_check(properties, meter)
        if meter.group_by:
            _dimensions_check(properties, meter)
        if meter.is_current:
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
