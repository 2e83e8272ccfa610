"""
Billing periods: half-open stretches of time whose bounds are computed from one anchor.

Rules:
- A boundary is computed from the anchor and its number, never from the boundary before it: adding a month to an
  already shortened date would stay at the 28th for ever. 31 January, 28 February, 31 March.
- `anniversary` repeats the anchor's own wall time; `calendar` begins each unit at local midnight (weeks on Monday,
  ISO 8601) and its boundary 0 is the one at or before the anchor.
- A local time becomes the first instant at which the local clock shows that time or a later one. So a time that
  a clock change skips is the instant of the change, and a time that happens twice is its first occurrence. This
  map never goes backwards, which is what makes periods tile.
- The result depends on the IANA time zone database, which changes; callers store periods and do not recompute them.
"""

import calendar
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Final, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from apps.engine.errors import InvalidPeriod
from apps.engine.hashing import instant_text

Unit = Literal["day", "week", "month", "year"]
AnchorKind = Literal["anniversary", "calendar"]

INTERVAL_COUNT_MAX: Final = 366
_MICROSECOND: Final = timedelta(microseconds=1)
_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Interval:
    """How long a full period is: so many days, weeks, months or years."""

    unit: Unit
    count: int = 1

    def __post_init__(self) -> None:
        if self.unit not in get_args(Unit):
            raise InvalidPeriod(f"must be one of {', '.join(get_args(Unit))}, not {self.unit!r}", path="interval.unit")
        if type(self.count) is not int or not 1 <= self.count <= INTERVAL_COUNT_MAX:
            raise InvalidPeriod(f"must be a whole number from 1 to {INTERVAL_COUNT_MAX}", path="interval.count")


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where the counting of periods begins: a local wall time in a time zone."""

    kind: AnchorKind
    wall: datetime
    timezone: str

    def __post_init__(self) -> None:
        if self.kind not in get_args(AnchorKind):
            raise InvalidPeriod(
                f"must be one of {', '.join(get_args(AnchorKind))}, not {self.kind!r}", path="anchor.kind"
            )
        if self.wall.tzinfo is not None:
            raise InvalidPeriod("must be a local time without offset; the zone is named beside it", path="anchor.wall")
        zone_named(self.timezone, path="anchor.timezone")


@dataclass(frozen=True, slots=True)
class Period:
    """A half-open stretch of time: it holds its start and not its end. Both bounds are kept in UTC."""

    starts_at: datetime
    ends_at: datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "starts_at", _utc(self.starts_at, path="starts_at"))
        object.__setattr__(self, "ends_at", _utc(self.ends_at, path="ends_at"))
        if self.ends_at <= self.starts_at:
            raise InvalidPeriod("must be later than starts_at", path="ends_at")

    @property
    def microseconds(self) -> int:
        """The length in whole microseconds of elapsed time."""
        return (self.ends_at - self.starts_at) // _MICROSECOND

    @property
    def seconds(self) -> Fraction:
        """The exact length in seconds of elapsed time; a night with a clock change counts as it passed."""
        return Fraction(self.microseconds, 1_000_000)

    def contains(self, at: datetime) -> bool:
        """Tell whether an instant lies in the period."""
        return self.starts_at <= _utc(at, path="at") < self.ends_at

    def to_document(self) -> dict[str, str]:
        """Return both bounds as RFC 3339 text in UTC."""
        return {"starts_at": instant_text(self.starts_at), "ends_at": instant_text(self.ends_at)}


def anchor_at(*, kind: AnchorKind, starts_at: datetime, timezone: str) -> Anchor:
    """
    Return the anchor whose wall time is what the local clock shows at an instant.

    :raises InvalidPeriod: if the instant has no offset or the zone does not exist
    """
    zone = zone_named(timezone, path="anchor.timezone")
    wall = _utc(starts_at, path="starts_at").astimezone(zone).replace(tzinfo=None, fold=0)
    return Anchor(kind=kind, wall=wall, timezone=timezone)


def boundary(*, anchor: Anchor, interval: Interval, index: int) -> datetime:
    """
    Return boundary number `index` in UTC; 0 is the anchor's own, negative ones lie before it.

    :raises InvalidPeriod: if the date lies outside the years 1 to 9999
    """
    try:
        return instant_of_wall(wall=_wall_of_boundary(anchor, interval, index), timezone=anchor.timezone)
    except (OverflowError, ValueError) as exc:
        if isinstance(exc, InvalidPeriod):
            raise
        raise InvalidPeriod("lies outside the calendar of years 1 to 9999", path="index") from exc


def period_containing(*, anchor: Anchor, interval: Interval, at: datetime) -> Period:
    """
    Return the full period in which an instant lies.

    :raises InvalidPeriod: if the instant has no offset
    """
    index = _index_at(anchor, interval, _utc(at, path="at"))
    return Period(
        starts_at=boundary(anchor=anchor, interval=interval, index=index),
        ends_at=boundary(anchor=anchor, interval=interval, index=index + 1),
    )


def first_period(*, anchor: Anchor, interval: Interval, starts_at: datetime) -> Period:
    """
    Return the period from an arbitrary start to the next boundary after it; it is partial unless it starts on one.

    :raises InvalidPeriod: if the start has no offset
    """
    whole = period_containing(anchor=anchor, interval=interval, at=starts_at)
    return Period(starts_at=starts_at, ends_at=whole.ends_at)


def period_after(*, anchor: Anchor, interval: Interval, period: Period) -> Period:
    """
    Return the period that begins exactly where another ends.

    It is shorter than usual when the given period did not end on a boundary of this anchor, for instance after the
    anchor was moved; there is never a gap or an overlap.
    """
    return first_period(anchor=anchor, interval=interval, starts_at=period.ends_at)


def period_after_zone_change(*, anchor: Anchor, interval: Interval, starts_at: datetime) -> Period:
    """
    Return the period that begins at a boundary of another zone and ends at a boundary of this anchor's.

    The boundaries of two zones lie hours apart. Ending at the very next one could leave a period of hours, so the
    period ends at the boundary that is closest to one whole interval away; it counts as a whole period.

    :raises InvalidPeriod: if the start has no offset
    """
    whole = period_containing(anchor=anchor, interval=interval, at=starts_at)
    if 2 * (whole.ends_at - _utc(starts_at, path="starts_at")) >= whole.ends_at - whole.starts_at:
        return Period(starts_at=starts_at, ends_at=whole.ends_at)
    return Period(
        starts_at=starts_at, ends_at=period_containing(anchor=anchor, interval=interval, at=whole.ends_at).ends_at
    )


def full_period_of(*, anchor: Anchor, interval: Interval, period: Period) -> Period:
    """
    Return the whole period that a period is a part of; a whole period is returned as it is.

    :raises InvalidPeriod: if the period reaches beyond one whole period of this anchor
    """
    whole = period_containing(anchor=anchor, interval=interval, at=period.starts_at)
    if period.ends_at > whole.ends_at:
        raise InvalidPeriod("reaches beyond one whole period of its anchor; split it at the boundary", path="period")
    return whole


def zone_named(timezone: str, *, path: str) -> ZoneInfo:
    """
    Return the IANA time zone of this name.

    :raises InvalidPeriod: if there is none
    """
    try:
        return ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError) as exc:
        raise InvalidPeriod(f'{timezone!r} is not an IANA time zone; use one like "Europe/Berlin"', path=path) from exc


def instant_of_wall(*, wall: datetime, timezone: str) -> datetime:
    """
    Return in UTC the first instant at which the local clock shows a wall time or a later one.

    :raises InvalidPeriod: if the zone does not exist
    """
    zone = zone_named(timezone, path="timezone")
    first = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if first.astimezone(zone).replace(tzinfo=None, fold=0) == wall.replace(fold=0):
        return first
    # The wall time was skipped. Read with the offset before the change it lies after the change, and the other way
    # round, so the change itself is between the two readings.
    before_change = wall.replace(tzinfo=zone, fold=1).astimezone(UTC).replace(microsecond=0)
    return _instant_of_change(before_change, first, lambda at: at.astimezone(zone).utcoffset())


def _instant_of_change(low: datetime, high: datetime, offset_at: Callable[[datetime], timedelta | None]) -> datetime:
    offset_after = offset_at(high)
    seconds_low, seconds_high = 0, -((low - high) // _SECOND)
    while seconds_high - seconds_low > 1:  # offsets change on whole seconds; halving a day takes 17 turns
        middle = (seconds_low + seconds_high) // 2
        if offset_at(low + middle * _SECOND) == offset_after:
            seconds_high = middle
        else:
            seconds_low = middle
    return low + seconds_high * _SECOND


def _wall_of_boundary(anchor: Anchor, interval: Interval, index: int) -> datetime:
    start = anchor.wall if anchor.kind == "anniversary" else _start_of_unit(anchor.wall, interval.unit)
    steps = index * interval.count
    if interval.unit == "day":
        return start + timedelta(days=steps)
    if interval.unit == "week":
        return start + timedelta(weeks=steps)
    return _months_later(start, steps if interval.unit == "month" else 12 * steps)


def _start_of_unit(wall: datetime, unit: Unit) -> datetime:
    midnight = wall.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if unit == "day":
        return midnight
    if unit == "week":
        return midnight - timedelta(days=midnight.weekday())
    return midnight.replace(day=1) if unit == "month" else midnight.replace(month=1, day=1)


def _months_later(wall: datetime, months: int) -> datetime:
    year, month_index = divmod(wall.year * 12 + wall.month - 1 + months, 12)
    if not 1 <= year <= 9999:
        raise InvalidPeriod("lies outside the calendar of years 1 to 9999", path="index")
    day_last = calendar.monthrange(year, month_index + 1)[1]
    return wall.replace(year=year, month=month_index + 1, day=min(wall.day, day_last))


def _index_at(anchor: Anchor, interval: Interval, at: datetime) -> int:
    """Return the largest index whose boundary is at or before an instant."""
    local = at.astimezone(ZoneInfo(anchor.timezone)).replace(tzinfo=None)
    start = _wall_of_boundary(anchor, interval, 0)
    if interval.unit in ("day", "week"):
        passed = (local - start).days // (7 if interval.unit == "week" else 1)
    else:
        months = (local.year - start.year) * 12 + local.month - start.month
        passed = months if interval.unit == "month" else months // 12
    index = passed // interval.count
    # The estimate ignores clamping, the time of day and clock changes: it is off by one or two at most.
    while boundary(anchor=anchor, interval=interval, index=index) > at:
        index -= 1
    while boundary(anchor=anchor, interval=interval, index=index + 1) <= at:
        index += 1
    return index


def _utc(at: datetime, *, path: str) -> datetime:
    if at.tzinfo is None:
        raise InvalidPeriod("must carry an offset; a local time without zone is not an instant", path=path)
    return at.astimezone(UTC)
