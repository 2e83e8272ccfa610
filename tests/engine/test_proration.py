"""Proration: exact parts of a period that sum to one."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.engine.errors import InvalidPeriod
from apps.engine.periods import Anchor, Interval, Period, period_containing
from apps.engine.proration import ProrationMode, proration_factor
from tests.engine.strategies import day, hours, instants, zones

JANUARY = Period(day(2026, 1, 1), day(2026, 2, 1))
modes = st.sampled_from([mode.value for mode in ProrationMode])


@pytest.mark.parametrize(
    ("served", "mode", "factor"),
    [
        (JANUARY, "by_second", Fraction(1)),
        (JANUARY, "by_day", Fraction(1)),
        (Period(day(2026, 1, 16), day(2026, 2, 1)), "by_second", Fraction(16, 31)),
        (Period(day(2026, 1, 16), day(2026, 2, 1)), "by_day", Fraction(16, 31)),
        (Period(day(2026, 1, 16) + hours(12), day(2026, 2, 1)), "by_second", Fraction(1, 2)),
        (Period(day(2026, 1, 16) + hours(12), day(2026, 2, 1)), "by_day", Fraction(16, 31)),
        (Period(day(2026, 1, 1), day(2026, 1, 16) + hours(12)), "by_day", Fraction(15, 31)),
        (Period(day(2026, 1, 1), day(2026, 1, 1) + hours(1)), "by_second", Fraction(1, 744)),
        (Period(day(2026, 1, 1), day(2026, 1, 1) + hours(1)), "by_day", Fraction(0)),
    ],
)
def test_golden_factors(served: Period, mode: str, factor: Fraction) -> None:
    assert proration_factor(served=served, full=JANUARY, mode=mode, timezone="UTC") == factor


def test_days_are_local_days() -> None:
    full = Period(datetime(2026, 2, 28, 23, tzinfo=UTC), datetime(2026, 3, 31, 22, tzinfo=UTC))
    served = Period(datetime(2026, 3, 29, 22, tzinfo=UTC), full.ends_at)
    assert proration_factor(served=served, full=full, mode="by_day", timezone="Europe/Berlin") == Fraction(2, 31)
    # One hour of March is missing in Berlin, and elapsed time knows it.
    assert proration_factor(served=served, full=full, mode="by_second", timezone="Europe/Berlin") == Fraction(48, 743)


@pytest.mark.parametrize(
    ("served", "full", "mode", "path"),
    [
        (Period(day(2025, 12, 31), day(2026, 1, 2)), JANUARY, "by_second", "served"),
        (Period(day(2026, 1, 31), day(2026, 2, 2)), JANUARY, "by_day", "served"),
        (JANUARY, JANUARY, "by_hour", "mode"),
        (Period(day(2026, 1, 1), day(2026, 1, 1) + hours(1)),) * 2 + ("by_day", "full"),
    ],
)
def test_impossible_prorations_are_refused(served: Period, full: Period, mode: str, path: str) -> None:
    with pytest.raises(InvalidPeriod) as refusal:
        proration_factor(served=served, full=full, mode=mode, timezone="UTC")
    assert refusal.value.path == path


@given(
    timezone=zones,
    at=instants,
    unit=st.sampled_from(["week", "month", "year"]),
    mode=modes,
    cuts=st.lists(st.integers(1, 999_999), max_size=6, unique=True),
)
def test_parts_of_a_tiling_sum_to_one(timezone: str, at: datetime, unit: str, mode: str, cuts: list[int]) -> None:
    anchor = Anchor("calendar", datetime(2020, 1, 1), timezone)  # noqa: DTZ001
    full = period_containing(anchor=anchor, interval=Interval(unit), at=at)
    bounds = [full.starts_at + timedelta(microseconds=full.microseconds * cut // 1_000_000) for cut in sorted(cuts)]
    edges = [full.starts_at, *bounds, full.ends_at]
    parts = [Period(start, end) for start, end in zip(edges, edges[1:], strict=False)]
    shares = [proration_factor(served=part, full=full, mode=mode, timezone=timezone) for part in parts]
    assert sum(shares) == 1
    assert all(0 <= share <= 1 for share in shares)
    assert proration_factor(served=full, full=full, mode=mode, timezone=timezone) == 1
