"""Periods: month ends that recover, nights with a clock change, and tilings without gap or overlap."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.engine.errors import InvalidPeriod
from apps.engine.periods import (
    Anchor,
    Interval,
    Period,
    anchor_at,
    boundary,
    first_period,
    full_period_of,
    instant_of_wall,
    period_after,
    period_containing,
)
from tests.engine.strategies import day, instants, zones

MONTHLY = Interval("month", 1)
intervals = st.one_of(
    st.builds(Interval, st.just("day"), st.integers(1, 45)),
    st.builds(Interval, st.just("week"), st.integers(1, 9)),
    st.builds(Interval, st.just("month"), st.integers(1, 18)),
    st.builds(Interval, st.just("year"), st.integers(1, 3)),
)
kinds = st.sampled_from(["anniversary", "calendar"])


def naive(*parts: int) -> datetime:
    """Return a local wall time."""
    return datetime(*parts)  # noqa: DTZ001


def local_dates(anchor: Anchor, interval: Interval, count: int) -> list[str]:
    """Return the local dates of the first boundaries."""
    zone = ZoneInfo(anchor.timezone)
    return [
        boundary(anchor=anchor, interval=interval, index=index).astimezone(zone).date().isoformat()
        for index in range(count)
    ]


@pytest.mark.parametrize(
    ("wall", "interval", "dates"),
    [
        ((2026, 1, 31), MONTHLY, "2026-01-31 2026-02-28 2026-03-31 2026-04-30 2026-05-31"),
        ((2026, 1, 30), MONTHLY, "2026-01-30 2026-02-28 2026-03-30 2026-04-30 2026-05-30"),
        ((2026, 1, 29), MONTHLY, "2026-01-29 2026-02-28 2026-03-29 2026-04-29 2026-05-29"),
        ((2028, 1, 31), MONTHLY, "2028-01-31 2028-02-29 2028-03-31 2028-04-30 2028-05-31"),
        ((2025, 12, 31), Interval("month", 2), "2025-12-31 2026-02-28 2026-04-30 2026-06-30 2026-08-31"),
        ((2024, 2, 29), Interval("year", 1), "2024-02-29 2025-02-28 2026-02-28 2027-02-28 2028-02-29"),
        ((2026, 1, 1), Interval("week", 2), "2026-01-01 2026-01-15 2026-01-29 2026-02-12 2026-02-26"),
        ((2026, 2, 27), Interval("day", 1), "2026-02-27 2026-02-28 2026-03-01 2026-03-02 2026-03-03"),
    ],
)
def test_anniversary_boundaries(wall: tuple[int, ...], interval: Interval, dates: str) -> None:
    """S065: windows come from the anchor; a short month shortens one boundary and not the ones after it."""
    for timezone in ("UTC", "America/New_York", "Pacific/Kiritimati"):
        anchor = Anchor("anniversary", naive(*wall, 15, 30), timezone)
        assert local_dates(anchor, interval, 5) == dates.split()


@pytest.mark.parametrize(
    ("interval", "dates"),
    [
        (Interval("day", 1), "2026-05-14 2026-05-15 2026-05-16"),
        (Interval("week", 1), "2026-05-11 2026-05-18 2026-05-25"),
        (Interval("week", 2), "2026-05-11 2026-05-25 2026-06-08"),
        (MONTHLY, "2026-05-01 2026-06-01 2026-07-01"),
        (Interval("month", 3), "2026-05-01 2026-08-01 2026-11-01"),
        (Interval("year", 1), "2026-01-01 2027-01-01 2028-01-01"),
    ],
)
def test_calendar_boundaries_begin_at_or_before_the_anchor(interval: Interval, dates: str) -> None:
    """S065: a calendar anchor counts from the start of the unit in the customer's zone, weeks from Monday."""
    anchor = Anchor("calendar", naive(2026, 5, 14, 9, 0), "Europe/Berlin")
    assert local_dates(anchor, interval, 3) == dates.split()
    assert boundary(anchor=anchor, interval=interval, index=0) <= datetime(2026, 5, 14, 7, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("timezone", "wall", "instant"),
    [
        ("Europe/Berlin", (2026, 3, 29, 1, 59), "2026-03-29T00:59:00"),
        ("Europe/Berlin", (2026, 3, 29, 2, 0), "2026-03-29T01:00:00"),
        ("Europe/Berlin", (2026, 3, 29, 2, 30), "2026-03-29T01:00:00"),
        ("Europe/Berlin", (2026, 3, 29, 3, 0), "2026-03-29T01:00:00"),
        ("Europe/Berlin", (2026, 10, 25, 2, 30), "2026-10-25T00:30:00"),
        ("Europe/Berlin", (2026, 10, 25, 3, 0), "2026-10-25T02:00:00"),
        ("America/Sao_Paulo", (2018, 11, 4, 0, 0), "2018-11-04T03:00:00"),
        ("Asia/Beirut", (2026, 3, 29, 0, 0), "2026-03-28T22:00:00"),
        ("Australia/Lord_Howe", (2026, 10, 4, 2, 15), "2026-10-03T15:30:00"),
        ("Pacific/Apia", (2011, 12, 30, 12, 0), "2011-12-30T10:00:00"),
    ],
)
def test_wall_times_that_are_skipped_or_happen_twice(timezone: str, wall: tuple[int, ...], instant: str) -> None:
    """S064: a skipped time is the instant of the change, a doubled one its first occurrence; the answer is in UTC."""
    answer = instant_of_wall(wall=naive(*wall), timezone=timezone)
    assert answer.replace(tzinfo=None).isoformat() == instant
    assert answer.tzinfo is UTC


@pytest.mark.parametrize(
    ("starts", "seconds"), [((2026, 3, 29), 23 * 3600), ((2026, 10, 25), 25 * 3600), ((2026, 5, 14), 24 * 3600)]
)
def test_a_night_with_a_clock_change_counts_as_it_passed(starts: tuple[int, ...], seconds: int) -> None:
    anchor = Anchor("calendar", naive(2026, 1, 1), "Europe/Berlin")
    at = instant_of_wall(wall=naive(*starts, 12, 0), timezone="Europe/Berlin")
    period = period_containing(anchor=anchor, interval=Interval("day", 1), at=at)
    assert period.seconds == seconds
    assert period.seconds == Fraction(period.microseconds, 1_000_000)


def test_the_day_that_samoa_skipped_makes_no_empty_period() -> None:
    anchor = Anchor("calendar", naive(2011, 12, 1), "Pacific/Apia")
    change = datetime(2011, 12, 30, 10, 0, tzinfo=UTC)
    before = period_containing(anchor=anchor, interval=Interval("day", 1), at=change - timedelta(seconds=1))
    after = period_after(anchor=anchor, interval=Interval("day", 1), period=before)
    assert (before.ends_at, after.starts_at) == (change, change)
    assert after.seconds == 24 * 3600


def test_first_period_is_partial_and_the_next_is_whole() -> None:
    """S065: the first period runs from the start to the next boundary of the anchor."""
    anchor = Anchor("calendar", naive(2026, 1, 10, 15, 0), "UTC")
    first = first_period(anchor=anchor, interval=MONTHLY, starts_at=datetime(2026, 1, 10, 15, 0, tzinfo=UTC))
    assert first == Period(datetime(2026, 1, 10, 15, 0, tzinfo=UTC), day(2026, 2, 1))
    assert full_period_of(anchor=anchor, interval=MONTHLY, period=first) == Period(day(2026, 1, 1), day(2026, 2, 1))
    second = period_after(anchor=anchor, interval=MONTHLY, period=first)
    assert second == Period(day(2026, 2, 1), day(2026, 3, 1))
    assert full_period_of(anchor=anchor, interval=MONTHLY, period=second) == second


def test_after_the_anchor_moved_there_is_no_gap() -> None:
    old = Anchor("anniversary", naive(2026, 1, 10), "UTC")
    new = Anchor("calendar", naive(2026, 1, 1), "America/New_York")
    period = first_period(anchor=old, interval=MONTHLY, starts_at=day(2026, 1, 10))
    bridge = period_after(anchor=new, interval=MONTHLY, period=period)
    assert bridge == Period(day(2026, 2, 10), datetime(2026, 3, 1, 5, 0, tzinfo=UTC))


def test_anchor_at_reads_the_local_clock() -> None:
    anchor = anchor_at(kind="anniversary", starts_at=datetime(2026, 1, 31, 23, 30, tzinfo=UTC), timezone="Asia/Tokyo")
    assert anchor == Anchor("anniversary", naive(2026, 2, 1, 8, 30), "Asia/Tokyo")


def test_period_is_half_open_and_kept_in_utc() -> None:
    """S064: bounds are stored in UTC whatever offset they came with."""
    berlin = ZoneInfo("Europe/Berlin")
    period = Period(datetime(2026, 1, 1, tzinfo=berlin), datetime(2026, 2, 1, tzinfo=berlin))
    assert period.starts_at.tzinfo is UTC
    assert period.to_document() == {"starts_at": "2025-12-31T23:00:00Z", "ends_at": "2026-01-31T23:00:00Z"}
    assert period.contains(period.starts_at)
    assert not period.contains(period.ends_at)
    assert not period.contains(period.starts_at - timedelta(microseconds=1))


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda: Interval("hour", 1), "interval.unit"),
        (lambda: Interval("month", 0), "interval.count"),
        (lambda: Interval("month", 367), "interval.count"),
        (lambda: Interval("month", True), "interval.count"),
        (lambda: Anchor("fiscal", naive(2026, 1, 1), "UTC"), "anchor.kind"),
        (lambda: Anchor("calendar", day(2026, 1, 1), "UTC"), "anchor.wall"),
        (lambda: Anchor("calendar", naive(2026, 1, 1), "Mars/Olympus"), "anchor.timezone"),
        (lambda: Anchor("calendar", naive(2026, 1, 1), "../etc/passwd"), "anchor.timezone"),
        (lambda: Anchor("calendar", naive(2026, 1, 1), ""), "anchor.timezone"),
        (lambda: Period(naive(2026, 1, 1), day(2026, 1, 2)), "starts_at"),
        (lambda: Period(day(2026, 1, 1), naive(2026, 1, 2)), "ends_at"),
        (lambda: Period(day(2026, 1, 1), day(2026, 1, 1)), "ends_at"),
        (lambda: Period(day(2026, 1, 1), day(2026, 1, 2)).contains(naive(2026, 1, 1)), "at"),
        (lambda: boundary(anchor=Anchor("calendar", naive(2026, 1, 1), "UTC"), interval=MONTHLY, index=10**6), "index"),
        (lambda: boundary(anchor=Anchor("calendar", naive(1, 1, 1), "UTC"), interval=MONTHLY, index=-1), "index"),
        (
            lambda: boundary(anchor=Anchor("calendar", naive(9999, 1, 1), "UTC"), interval=Interval("day"), index=9999),
            "index",
        ),
        (
            lambda: full_period_of(
                anchor=Anchor("calendar", naive(2026, 1, 1), "UTC"),
                interval=MONTHLY,
                period=Period(day(2026, 1, 15), day(2026, 2, 2)),
            ),
            "period",
        ),
    ],
)
def test_what_cannot_be_computed_with_is_refused(make: object, path: str) -> None:
    with pytest.raises(InvalidPeriod) as refusal:
        make()
    assert refusal.value.path == path


@given(kind=kinds, interval=intervals, starts_at=instants, timezone=zones)
def test_periods_tile(kind: str, interval: Interval, starts_at: datetime, timezone: str) -> None:
    """S065: each period starts where the one before ended, and is the one that contains its own start."""
    anchor = anchor_at(kind=kind, starts_at=starts_at, timezone=timezone)
    period = first_period(anchor=anchor, interval=interval, starts_at=starts_at)
    assert period.starts_at == starts_at
    for _ in range(5):
        following = period_after(anchor=anchor, interval=interval, period=period)
        assert following.starts_at == period.ends_at
        assert following == period_containing(anchor=anchor, interval=interval, at=following.starts_at)
        assert full_period_of(anchor=anchor, interval=interval, period=following) == following
        period = following


@given(kind=kinds, interval=intervals, starts_at=instants, timezone=zones, at=instants)
def test_every_instant_lies_in_exactly_one_period(
    kind: str, interval: Interval, starts_at: datetime, timezone: str, at: datetime
) -> None:
    anchor = anchor_at(kind=kind, starts_at=starts_at, timezone=timezone)
    period = period_containing(anchor=anchor, interval=interval, at=at)
    assert period.contains(at)
    last_moment = period.ends_at - timedelta(microseconds=1)
    assert period_containing(anchor=anchor, interval=interval, at=last_moment) == period


@pytest.mark.parametrize("kind", ["anniversary", "calendar"])
def test_days_tile_over_both_clock_changes_in_every_zone(kind: str) -> None:
    """S065: thirty hours around each change of offset, in every zone of the IANA database."""
    interval, start, changes = Interval("day", 1), datetime(2025, 12, 31, 12, 0, tzinfo=UTC), 0
    for timezone in sorted(available_timezones()):
        zone = ZoneInfo(timezone)
        anchor = anchor_at(kind=kind, starts_at=start + timedelta(hours=14, minutes=30), timezone=timezone)
        for change in _changes_of_offset(zone, start):
            changes += 1
            bounds = [
                period_containing(anchor=anchor, interval=interval, at=change + timedelta(hours=hour))
                for hour in range(-30, 31, 3)
            ]
            for before, after in pairwise(bounds):
                assert before == after or before.ends_at <= after.starts_at, timezone
                if before != after:
                    assert period_after(anchor=anchor, interval=interval, period=before).starts_at == before.ends_at
            assert all(
                timedelta(hours=21) <= period.ends_at - period.starts_at <= timedelta(hours=27) for period in bounds
            )
    assert changes > 200  # else the year was chosen badly and the loop showed nothing


def _changes_of_offset(zone: ZoneInfo, start: datetime) -> list[datetime]:
    """Return a moment within a week of each change of offset in the year after a start."""
    weeks = [start + timedelta(weeks=number) for number in range(54)]
    return [
        _first_day_with_other_offset(zone, before)
        for before, after in pairwise(weeks)
        if before.astimezone(zone).utcoffset() != after.astimezone(zone).utcoffset()
    ]


def _first_day_with_other_offset(zone: ZoneInfo, before: datetime) -> datetime:
    offset = before.astimezone(zone).utcoffset()
    days = (before + timedelta(hours=6 * number) for number in range(29))
    return next(moment for moment in days if moment.astimezone(zone).utcoffset() != offset)
