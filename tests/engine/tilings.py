"""
Twenty years of periods, boundary by boundary, against lists of dates and a look at the clock.

    python -m tests.engine.tilings --processes 2 [--zones Europe/]

walks every IANA time zone with every anchor day, which takes a while; the suite spreads the anchors over the zones.
"""

import argparse
import multiprocessing
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

from apps.engine.periods import Anchor, Interval, boundary, full_period_of, period_after, period_containing
from tests.engine.naive.dates import anniversaries, clock_at, moment_of_clock, repeated_days

YEARS = 20
FIRST_YEAR = 2015
# Midnight, both nights of a European clock change, a doubled hour of an American one, and the last minute of a day.
TIMES = ((0, 0), (2, 30), (1, 30), (23, 59), (12, 0))
_MONTHS = {"month": 1, "year": 12}
_DAYS = {"day": 1, "week": 7}
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True)
class Walk:
    """One anchor in one zone, followed for twenty years."""

    timezone: str
    kind: str
    wall: datetime
    unit: str
    count: int

    @property
    def anchor(self) -> Anchor:
        """The anchor as the engine takes it."""
        return Anchor(self.kind, self.wall, self.timezone)

    @property
    def interval(self) -> Interval:
        """The interval as the engine takes it."""
        return Interval(self.unit, self.count)


def suite_walks() -> Iterator[Walk]:
    """Yield one walk for each zone; anchor days, times, kinds and intervals take turns."""
    intervals = (
        ("month", 1),
        ("month", 3),
        ("year", 1),
        ("week", 2),
        ("month", 1),
        ("week", 13),
        ("year", 2),
        ("month", 7),
    )
    for number, timezone in enumerate(sorted(available_timezones())):
        unit, count = intervals[number % len(intervals)]
        yield Walk(
            timezone=timezone,
            kind="calendar" if number % 3 == 2 else "anniversary",
            wall=_wall(number % 31 + 1, number),
            unit=unit,
            count=count,
        )


def all_walks(zones: str) -> Iterator[Walk]:
    """Yield every anchor day with months, quarters and years, and days and weeks, in each zone of a prefix."""
    for timezone in sorted(name for name in available_timezones() if name.startswith(zones)):
        for day in range(1, 32):
            for unit, count in (("month", 1), ("month", 3), ("year", 1)):
                yield Walk(timezone=timezone, kind="anniversary", wall=_wall(day, day), unit=unit, count=count)
        for kind in ("anniversary", "calendar"):
            for unit, count in (("day", 1), ("day", 30), ("week", 1), ("month", 1), ("year", 1)):
                yield Walk(timezone=timezone, kind=kind, wall=_wall(29, 1), unit=unit, count=count)


def _wall(day: int, number: int) -> datetime:
    """Return an anchor in the first month of 2016 that has such a day; the 29th is the leap day."""
    month = 2 if day == 29 else 1
    hour, minute = TIMES[number % len(TIMES)]
    return datetime(FIRST_YEAR + 1, month, day, hour, minute)  # noqa: DTZ001


def expected_walls(walk: Walk) -> list[datetime]:
    """Return what the local clock should show at each boundary, from lists of dates."""
    until = date(FIRST_YEAR + YEARS, 12, 31)
    first = walk.wall.date()
    if walk.kind == "calendar":
        starts = {
            "day": first,
            "week": first - timedelta(days=first.weekday()),
            "month": first.replace(day=1),
            "year": first.replace(month=1, day=1),
        }
        first = starts[walk.unit]
    if walk.unit in _MONTHS:
        dates = anniversaries(first, months=_MONTHS[walk.unit] * walk.count, until=until)
    else:
        dates = repeated_days(first, days=_DAYS[walk.unit] * walk.count, until=until)
    time = walk.wall.time() if walk.kind == "anniversary" else datetime.min.time()
    return [datetime.combine(day, time) for day in dates]


def check(walk: Walk, *, look_at_every: int = 1, ask_at_every: int = 1) -> int:
    """
    Assert that the boundaries are the expected ones and that the periods between them tile; return how many there are.

    Every boundary is compared with its date. What takes longer is done at every so many of them: looking for the moment
    at which the clock shows it, and asking which period contains it.
    """
    zone, anchor, interval = ZoneInfo(walk.timezone), walk.anchor, walk.interval
    walls = expected_walls(walk)
    bounds = [boundary(anchor=anchor, interval=interval, index=index) for index in range(len(walls))]
    for number, (bound, wall) in enumerate(zip(bounds, walls, strict=True)):
        shown = clock_at(bound, zone)
        assert bound.tzinfo is UTC
        # Shown exactly, but where the clocks skip it: then the first moment after it.
        assert shown == wall or wall < shown <= wall + timedelta(hours=24), (walk, wall)
        if number % look_at_every == 0 or shown != wall:
            assert bound == moment_of_clock(wall, zone), (walk, wall)
    for number, (start, end) in enumerate(pairwise(bounds)):
        assert start <= end, walk
        if start == end:  # a date that the zone skipped has no period of its own
            assert walk.unit == "day", walk
            continue
        if number % ask_at_every:
            continue
        period = period_containing(anchor=anchor, interval=interval, at=start)
        assert (period.starts_at, period.ends_at) == (start, end), walk
        assert period_containing(anchor=anchor, interval=interval, at=end - _MICROSECOND) == period, walk
        assert period_after(anchor=anchor, interval=interval, period=period).starts_at == end, walk
        assert full_period_of(anchor=anchor, interval=interval, period=period) == period, walk
    return len(bounds)


def _counted(walk: Walk) -> int:
    return check(walk, look_at_every=30, ask_at_every=3)


def main(arguments: Sequence[str] | None = None) -> int:
    """Walk everything; an assertion names the first walk that is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.engine.tilings", description=__doc__)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--zones", default="", help="the beginning of zone names, such as Europe/")
    options = parser.parse_args(arguments)
    walks = list(all_walks(options.zones))
    with multiprocessing.Pool(options.processes) as pool:
        boundaries = sum(pool.imap_unordered(_counted, walks, chunksize=50))
    zones = len({walk.timezone for walk in walks})
    print(f"{len(walks)} anchors in {zones} zones, {boundaries} boundaries in {YEARS} years: all as expected, all tile")
    return 0


if __name__ == "__main__":
    sys.exit(main())
