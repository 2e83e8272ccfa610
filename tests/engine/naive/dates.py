"""Months and days from lists of dates, and local times from looking at the clock."""

from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

_DAY = timedelta(days=1)


def dates_of_month(year: int, month: int) -> list[date]:
    """List the dates of a month."""
    day, dates = date(year, month, 1), []
    while day.month == month:
        dates.append(day)
        day += _DAY
    return dates


def anniversaries(first: date, *, months: int, until: date) -> list[date]:
    """List a date and its repetitions every so many months; a month that is too short takes its last date."""
    found, year, month = [], first.year, first.month
    while date(year, month, 1) <= until:
        dates = dates_of_month(year, month)
        found.append(dates[first.day - 1] if first.day <= len(dates) else dates[-1])
        for _ in range(months):
            year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    return found


def repeated_days(first: date, *, days: int, until: date) -> list[date]:
    """List a date and every so many days after it."""
    found, day = [], first
    while day <= until:
        found.append(day)
        day += days * _DAY
    return found


def part_by_second(served: tuple[datetime, datetime], full: tuple[datetime, datetime]) -> Fraction:
    """Count the seconds of both and divide; for whole seconds."""
    return Fraction(whole_seconds(*served), whole_seconds(*full))


def whole_seconds(starts_at: datetime, ends_at: datetime) -> int:
    """Return how many seconds passed."""
    passed = ends_at.astimezone(UTC) - starts_at.astimezone(UTC)
    return passed.days * 86_400 + passed.seconds


def part_by_day(served: tuple[datetime, datetime], full: tuple[datetime, datetime], zone: ZoneInfo) -> Fraction:
    """Count on a calendar the days of both and divide; the day of a change belongs to what comes after it."""
    return Fraction(len(days_between(*served, zone)), len(days_between(*full, zone)))


def days_between(starts_at: datetime, ends_at: datetime, zone: ZoneInfo) -> list[date]:
    """List the local dates from the first one up to, and without, the last one."""
    day, last, days = starts_at.astimezone(zone).date(), ends_at.astimezone(zone).date(), []
    while day < last:
        days.append(day)
        day += _DAY
    return days


def clock_at(moment: datetime, zone: ZoneInfo) -> datetime:
    """Return what a clock on the wall shows."""
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def moment_of_clock(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return the first moment at which the clock on the wall shows a time, or a later one if it never shows it."""
    around = [wall.replace(tzinfo=UTC) + timedelta(hours=hour) for hour in range(-27, 28)]
    offsets = {moment.astimezone(zone).utcoffset() for moment in around}
    shown = [at for at in (wall.replace(tzinfo=UTC) - offset for offset in offsets) if clock_at(at, zone) == wall]
    if shown:
        return min(shown)
    moment = next(after for before, after in zip(around, around[1:], strict=False) if clock_at(after, zone) > wall)
    for step in (timedelta(minutes=1), timedelta(seconds=1)):
        while clock_at(moment - step, zone) > wall:
            moment -= step
    return moment
