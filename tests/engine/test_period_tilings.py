"""Periods over twenty years, in every time zone: as a calendar on the wall has them, without gap or overlap."""

from collections import Counter
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest

from apps.engine.periods import boundary
from tests.engine.naive.dates import clock_at
from tests.engine.tilings import Walk, check, suite_walks


def wall(*parts: int) -> datetime:
    """Return a local time."""
    return datetime(*parts)  # noqa: DTZ001


def test_twenty_years_in_every_zone() -> None:
    """S062, S063, S065: every IANA zone, anchors 1 to 31, months, quarters, years and weeks; half-open and in UTC."""
    walks = list(suite_walks())
    boundaries = sum(check(walk, look_at_every=40, ask_at_every=6) for walk in walks)
    assert {walk.timezone for walk in walks} == available_timezones()
    assert {walk.wall.day for walk in walks} == set(range(1, 32))
    assert min(Counter((walk.kind, walk.unit) for walk in walks).values()) > 20
    assert boundaries > 50_000


@pytest.mark.parametrize("kind", ["anniversary", "calendar"])
@pytest.mark.parametrize("timezone", ["Europe/Berlin", "Pacific/Apia"])
def test_five_thousand_days(kind: str, timezone: str) -> None:
    """S063: each day from 2011, both nights with a clock change in each year, and the date that Samoa never had."""
    for unit, count in (("day", 1), ("day", 45), ("week", 1)):
        check(
            Walk(timezone=timezone, kind=kind, wall=wall(2011, 12, 1, 2, 30), unit=unit, count=count),
            look_at_every=30,
            ask_at_every=5,
        )


@pytest.mark.parametrize("anchor_day", range(1, 32))
def test_month_ends_recover(anchor_day: int) -> None:
    """S062: a month that is too short shortens its own boundary, and the next one is on the anchor's day again."""
    walk = Walk(
        timezone="America/New_York", kind="anniversary", wall=wall(2016, 1, anchor_day, 9), unit="month", count=1
    )
    check(walk)
    zone = ZoneInfo(walk.timezone)
    days = [
        clock_at(boundary(anchor=walk.anchor, interval=walk.interval, index=index), zone).date() for index in range(240)
    ]
    assert {date.day for date in days if date.month in (1, 3, 5, 7, 8, 10, 12)} == {anchor_day}
    for date in days:
        if date.day != anchor_day:
            assert date.day < anchor_day
            assert (date + timedelta(days=1)).day == 1


def test_leap_day_comes_back_every_four_years() -> None:
    """S062: 29 February, yearly: the 28th in common years and the 29th in leap years."""
    walk = Walk(timezone="UTC", kind="anniversary", wall=wall(2016, 2, 29), unit="year", count=1)
    check(walk)
    days = [boundary(anchor=walk.anchor, interval=walk.interval, index=index).day for index in range(9)]
    assert days == [29, 28, 28, 28, 29, 28, 28, 28, 29]
