"""Local times, boundaries and parts of a period where they have their edges: to the second, and to the year."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.engine import periods
from apps.engine.errors import InvalidPeriod
from apps.engine.periods import (
    Anchor,
    Interval,
    Period,
    anchor_at,
    boundary,
    instant_of_wall,
    period_after_zone_change,
    period_containing,
)
from apps.engine.proration import proration_factor
from tests.engine.naive.dates import clock_at, moment_of_clock, part_by_day, part_by_second
from tests.engine.strategies import day, instants, zones


def wall(*parts: int) -> datetime:
    """Return a local time."""
    return datetime(*parts)  # noqa: DTZ001


@given(timezone=st.sampled_from(sorted(available_timezones())), at=instants, seconds=st.integers(-90_000, 90_000))
def test_local_times_become_the_first_moment_the_clock_shows_them(timezone: str, at: datetime, seconds: int) -> None:
    """S064: a local time becomes one instant in UTC, also at night, also where it is skipped or happens twice."""
    zone = ZoneInfo(timezone)
    local = clock_at(at, zone).replace(microsecond=0) + timedelta(seconds=seconds)
    answer = instant_of_wall(wall=local, timezone=timezone)
    assert answer.tzinfo is UTC
    assert answer == moment_of_clock(local, zone)


@pytest.mark.parametrize(
    ("timezone", "local", "instant"),
    [
        ("Europe/Berlin", wall(2026, 3, 29, 2, 0, 1), day(2026, 3, 29) + timedelta(hours=1)),
        ("Europe/Berlin", wall(2026, 3, 29, 2, 59, 59, 999_999), day(2026, 3, 29) + timedelta(hours=1)),
        ("Europe/Berlin", wall(2026, 10, 25, 2), day(2026, 10, 25)),
        ("America/New_York", wall(2026, 3, 8, 2), day(2026, 3, 8) + timedelta(hours=7)),
        ("America/New_York", wall(2026, 3, 8, 2, 30, 0, 5), day(2026, 3, 8) + timedelta(hours=7)),
        ("Europe/Amsterdam", wall(1937, 7, 1, 0, 0, 10), None),
    ],
)
def test_both_nights_to_the_second(timezone: str, local: datetime, instant: datetime | None) -> None:
    """S064: the change itself, not a second before or after it."""
    expected = moment_of_clock(local, ZoneInfo(timezone)) if instant is None else instant
    assert instant_of_wall(wall=local, timezone=timezone) == expected


def test_a_reading_with_fold_is_the_same_reading() -> None:
    """The second occurrence of a doubled hour names the same wall time; its boundary is the first occurrence."""
    for fold in (0, 1):
        local = wall(2026, 10, 25, 2, 30).replace(fold=fold)
        assert instant_of_wall(wall=local, timezone="Europe/Berlin") == day(2026, 10, 25) + timedelta(minutes=30)
    later = day(2026, 10, 25) + timedelta(hours=1, minutes=30)  # 02:30 for the second time
    assert anchor_at(kind="anniversary", starts_at=later, timezone="Europe/Berlin").wall.fold == 0
    skipped = wall(2026, 3, 29, 2, 30).replace(fold=1)
    assert instant_of_wall(wall=skipped, timezone="Europe/Berlin") == day(2026, 3, 29) + timedelta(hours=1)


def test_the_second_occurrence_belongs_to_the_period_that_the_first_one_began() -> None:
    """S063: at 02:10 for the second time the period of 02:30 has begun already, and does not begin again."""
    anchor = Anchor("anniversary", wall(2026, 10, 1, 2, 30), "Europe/Berlin")
    second_ten_past = day(2026, 10, 25) + timedelta(hours=1, minutes=10)
    period = period_containing(anchor=anchor, interval=Interval("day"), at=second_ten_past)
    assert period.starts_at == day(2026, 10, 25) + timedelta(minutes=30)
    assert period.ends_at == day(2026, 10, 26) + timedelta(hours=1, minutes=30)


@pytest.mark.parametrize("kind", ["anniversary", "calendar"])
@pytest.mark.parametrize(
    ("unit", "count"), [("day", 1), ("day", 13), ("week", 1), ("week", 3), ("month", 1), ("month", 5), ("year", 1)]
)
def test_a_far_period_is_found_at_once(monkeypatch: pytest.MonkeyPatch, kind: str, unit: str, count: int) -> None:
    """The first guess is right or next to right: a century away costs as few boundaries as tomorrow."""
    asked = Counter()
    ask = periods.boundary

    def counted(**arguments: object) -> datetime:
        asked["boundaries"] += 1
        return ask(**arguments)

    monkeypatch.setattr(periods, "boundary", counted)
    anchor = Anchor(kind, wall(2026, 1, 31, 2, 30), "Europe/Berlin")
    for year in (1990, 2026, 2126):
        asked.clear()
        at = datetime(year, 11, 17, 5, tzinfo=UTC)
        assert period_containing(anchor=anchor, interval=Interval(unit, count), at=at).contains(at)
        assert asked["boundaries"] <= 5


@pytest.mark.parametrize(
    ("starts_at", "ends_at"),
    [
        (day(2026, 6, 1), day(2026, 7, 1)),  # the boundary itself: one whole period
        (day(2026, 6, 16), day(2026, 7, 1)),  # half of it is left: it ends at the next boundary
        (day(2026, 6, 16) + timedelta(microseconds=1), day(2026, 8, 1)),  # less than half: at the one after
        (day(2026, 6, 30) + timedelta(hours=23), day(2026, 8, 1)),
        (day(2026, 6, 11), day(2026, 7, 1)),
        (day(2026, 6, 20), day(2026, 8, 1)),
    ],
)
def test_after_a_zone_change_the_nearest_whole_period_is_billed(starts_at: datetime, ends_at: datetime) -> None:
    """S079: no period of an hour between two zones; the end is the boundary closest to one interval away."""
    anchor = Anchor("calendar", wall(2026, 1, 1), "UTC")
    period = period_after_zone_change(anchor=anchor, interval=Interval("month"), starts_at=starts_at)
    assert period == Period(starts_at, ends_at)


@given(starts_at=instants, before=zones, after=zones)
def test_a_zone_change_leaves_no_gap_and_no_sliver(starts_at: datetime, before: str, after: str) -> None:
    """S079: whatever the two zones, the next period begins where the old one ended and lasts about a month."""
    old, new = (Anchor("calendar", wall(2004, 1, 1), timezone) for timezone in (before, after))
    monthly = Interval("month")
    ended = period_containing(anchor=old, interval=monthly, at=starts_at)
    bridge = period_after_zone_change(anchor=new, interval=monthly, starts_at=ended.ends_at)
    assert bridge.starts_at == ended.ends_at
    assert period_containing(anchor=new, interval=monthly, at=bridge.ends_at).starts_at == bridge.ends_at
    assert timedelta(days=26) <= bridge.ends_at - bridge.starts_at <= timedelta(days=33)


def test_the_calendar_ends_where_it_says() -> None:
    """The years 1 to 9999 are in, their neighbours are refused by name."""
    last = Anchor("calendar", wall(9999, 11, 1), "UTC")
    assert boundary(anchor=last, interval=Interval("month"), index=1) == datetime(9999, 12, 1, tzinfo=UTC)
    first = Anchor("calendar", wall(1, 2, 1), "UTC")
    assert boundary(anchor=first, interval=Interval("month"), index=-1) == datetime(1, 1, 1, tzinfo=UTC)
    for anchor, index in ((last, 2), (first, -2)):
        with pytest.raises(InvalidPeriod, match="years 1 to 9999") as refusal:
            boundary(anchor=anchor, interval=Interval("month"), index=index)
        assert refusal.value.path == "index"


def test_the_longest_interval_is_a_leap_year_of_days() -> None:
    assert Interval("day", 366).count == 366
    assert Interval("month").count == 1
    with pytest.raises(InvalidPeriod, match="from 1 to 366"):
        Interval("day", 367)


def test_midnight_of_a_calendar_anchor_has_no_rest() -> None:
    """Minutes, seconds and microseconds of an anchor do not survive into calendar boundaries."""
    anchor = Anchor("calendar", wall(2026, 5, 14, 9, 8, 7, 6), "UTC")
    for unit, start in (("day", day(2026, 5, 14)), ("week", day(2026, 5, 11)), ("year", day(2026, 1, 1))):
        assert boundary(anchor=anchor, interval=Interval(unit), index=0) == start


@given(
    timezone=zones,
    starts_at=instants.map(lambda at: at.replace(microsecond=0)),
    lengths=st.lists(st.integers(1, 40 * 86_400), min_size=1, max_size=6),
)
def test_parts_agree_with_counting_seconds_and_days(timezone: str, starts_at: datetime, lengths: list[int]) -> None:
    """S107: parts of a period, counted in seconds and on a calendar; whatever the cuts, they sum to one."""
    zone, edges = ZoneInfo(timezone), [starts_at]
    for seconds in lengths:
        edges.append(edges[-1] + timedelta(seconds=seconds))
    full = (edges[0], edges[-1])
    has_days = full[0].astimezone(zone).date() < full[1].astimezone(zone).date()
    naive_parts = {"by_second": lambda part: part_by_second(part, full)}
    if has_days:
        naive_parts["by_day"] = lambda part: part_by_day(part, full, zone)
    for mode, naive_part in naive_parts.items():
        parts = list(zip(edges, edges[1:], strict=False))
        got = [
            proration_factor(served=Period(*part), full=Period(*full), mode=mode, timezone=timezone) for part in parts
        ]
        assert got == [naive_part(part) for part in parts]
        assert sum(got, Fraction(0)) == 1
        assert proration_factor(served=Period(*full), full=Period(*full), mode=mode, timezone=timezone) == 1
