"""
Judge one event by itself: is it whole, is its time an instant, and does it belong here and now?

Nothing is guessed and nothing mended: what cannot be counted exactly is refused with a code and a remedy. Whether
meters can count it is asked by `meter_checks.py`.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Final

import msgspec

from apps.engine.exact import decimal_text
from apps.metering.errors import EventRefused
from apps.metering.normalisers import CanonicalEvent
from apps.metering.sources_sql import SEQUENCE_MAX
from apps.metering.usage_tables_sql import VALUE_PATTERN

# A producer's clock may run ahead of ours by this much; beyond it the event would sit in a period not begun.
OCCURRED_AHEAD_MAX: Final = timedelta(hours=1)
OCCURRED_BEHIND_MAX: Final = timedelta(days=400)
# Beyond the last year there is no next month, and so no partition that ends.
YEAR_MIN: Final = 1970
YEAR_MAX: Final = 9998
TEXT_LENGTH_MAX: Final = 255
TYPE_LENGTH_MAX: Final = 120
_VALUE = re.compile(VALUE_PATTERN)
_DIGITS = re.compile(r"[0-9]{1,19}")
# A value as its shortest exact text: no zero that says nothing, and no sign.
_SHORTEST = re.compile(r"(?:0|[1-9][0-9]{0,19})(?:[.][0-9]{0,11}[1-9])?")
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,30})?([Zz]|[+-][0-9]{2}:[0-9]{2})?"
)
_UTC_INSTANT = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:[.]([0-9]{1,6}))?(?:Z|[+]00:00)")
_REMEDIES: Final = {
    "id": "the producer's own id of the event",
    "source": "the name of the producer",
    "type": "what happened, for instance api.request",
    "customer": "your code for the customer, or its cus_ id",
    "occurred_at": 'when it happened, with an offset: "2026-03-31T23:59:59Z"',
}


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """How far ahead of its customer's clock an event may have happened, and how long ago."""

    ahead: timedelta = OCCURRED_AHEAD_MAX
    behind: timedelta = OCCURRED_BEHIND_MAX


DEFAULT_LIMITS: Final = TimeLimits()


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


def time_check(
    occurred_at: datetime, *, now_at: datetime, limits: TimeLimits = DEFAULT_LIMITS, is_any_age: bool = False
) -> None:
    """
    Require that an event happened neither in the future nor too long ago, as its customer's clock sees it.

    :param is_any_age: a correction brings it, with a reason; only the future is refused
    :raises EventRefused: if it lies outside
    """
    # Differences, because a clock at an end of the calendar has no hour beyond it.
    if occurred_at - now_at > limits.ahead:
        detail = f"occurred_at lies more than {limits.ahead} ahead of {now_at.isoformat()}; check the clock."
        raise EventRefused("too_far_in_future", detail)
    if not is_any_age and now_at - occurred_at > limits.behind:
        detail = f"occurred_at lies more than {limits.behind.days} days before {now_at.isoformat()}."
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
