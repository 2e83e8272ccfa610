"""The rules that say when usage looks wrong, with a pencil's numbers."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from apps.engine.usage_watch import (
    Anomaly,
    AnomalyTerms,
    CountedWindow,
    Loss,
    events_due,
    find_anomaly,
    find_loss,
    is_silent,
    usual_of,
)

BEGIN = datetime(2026, 1, 14, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def windows(*pairs: tuple[int, int]) -> list[CountedWindow]:
    """Return windows of one hour each with (expected, present)."""
    return [CountedWindow(BEGIN + HOUR * n, *pair) for n, pair in enumerate(pairs)]


@pytest.mark.parametrize(
    ("pairs", "missing"),
    [
        ([], None),
        ([(1000, 1000)], None),
        ([(1000, 981)], None),  # 1.9 percent
        ([(1000, 980)], None),  # two percent is the limit, and not above it
        ([(1000, 979)], 21),
        ([(1000, 970)], 30),
        ([(49, 0)], None),  # too few to judge
        ([(50, 48)], 2),
        ([(10, 9)] * 10, 10),  # no hour has enough, all of them together have
        ([(10_000, 10_000), (100, 90)], 10),  # one bad hour in a good day
        ([(1000, 1200)], None),  # more than was announced is no loss
        ([(1000, 1200), (1000, 970)], 30),  # and makes up for nothing
        ([(0, 5)], None),
    ],
)
def test_a_loss_is_told_above_the_limit_and_above_chance(pairs, missing):
    """S234, I10: above two percent of one window or of all, and never by the share of a handful."""
    loss = find_loss(windows(*pairs), limit_bps=200)
    assert (loss.missing if loss else None) == missing


def test_a_loss_names_its_worst_window():
    """S234: in all, and where to look first."""
    found = find_loss(windows((100, 99), (200, 150), (20, 0)), limit_bps=200)
    assert found == Loss(expected=320, missing=71, worst=CountedWindow(BEGIN + HOUR, 200, 150))
    assert found.missing_bps == 2218


def test_the_usual_hour_is_that_of_the_weekday_once_there_are_three():
    """S084: Mondays are compared with Mondays; until there are three of them, any day does."""
    days = {day: Decimal(100) for day in range(1, 14)}
    assert usual_of({day: Decimal(100) for day in range(1, 5)}) is None
    assert usual_of(days).value == 100
    assert not usual_of(days).is_of_weekday
    weeks = {**days, 7: Decimal(900), 14: Decimal(1000), 21: Decimal(10)}
    assert (usual_of(weeks).value, usual_of(weeks).is_of_weekday) == (900, True)


_WEEKS = {7: Decimal(1000), 14: Decimal(1200), 21: Decimal(50_000), 28: Decimal(1100)}


@pytest.mark.parametrize(
    ("value", "history", "percent"),
    [
        (1100, _WEEKS, None),
        (4400, _WEEKS, None),  # four times the usual is the limit; the freak week of 50,000 does not move it
        (4401, _WEEKS, 400),
        (99, _WEEKS, 9),
        (110, _WEEKS, None),
        (0, _WEEKS, 0),
        (0, {day: Decimal(1000) for day in range(1, 6)}, None),  # a fall needs the same weekday
        (9000, {day: Decimal(1000) for day in range(1, 6)}, 900),
        (9000, {1: Decimal(1000)}, None),  # nothing usual yet
        (90, dict.fromkeys((7, 14, 21), Decimal(5)), None),  # below the least volume
    ],
)
def test_an_hour_is_unusual_by_its_share_of_the_median(value, history, percent):
    """S084: robust against single freak hours, quiet about small numbers."""
    found = find_anomaly(value=Decimal(value), history=history, terms=AnomalyTerms())
    assert (found.percent if found else None) == percent


def test_terms_of_a_meter_decide():
    """S084: a share of 0 is not asked, a usual hour of nothing has no share, and 38 digits are not rounded."""
    high_only = AnomalyTerms(high_percent=200, low_percent=0, volume_min=Decimal(0))
    weeks = dict.fromkeys((7, 14, 21), Decimal(10))
    assert find_anomaly(value=Decimal(0), history=weeks, terms=high_only) is None
    nothing = dict.fromkeys((7, 14, 21), Decimal(0))
    assert find_anomaly(value=Decimal(1), history=nothing, terms=high_only) == Anomaly(Decimal(1), Decimal(0), None)
    large = Decimal("1" + "0" * 36)
    many = dict.fromkeys((7, 14, 21), large)
    assert find_anomaly(value=Decimal("2" + "0" * 36), history=many, terms=high_only) is None
    assert find_anomaly(value=Decimal("2" + "0" * 35 + "1"), history=many, terms=high_only) is not None


def test_a_source_is_silent_against_its_own_rhythm():
    """S234: by the same hours of the week before, so that a night is no silence and a busy hour is one soon."""
    counts = {BEGIN.replace(hour=hour) - timedelta(days=days): 60 for days in range(1, 8) for hour in (9, 10)}
    at = BEGIN + timedelta(minutes=15)
    assert events_due(since=BEGIN, at=at, counts=counts) == 15
    assert events_due(since=BEGIN - 8 * HOUR, at=BEGIN, counts=counts) == 0, "the night had none"
    assert events_due(since=BEGIN - 8 * HOUR, at=BEGIN + 2 * HOUR, counts=counts) == 120
    assert events_due(since=BEGIN, at=BEGIN + HOUR, counts={BEGIN - timedelta(days=1): 1_000_000}) == 0, "one day only"
    assert is_silent(quiet=timedelta(minutes=15), due=10)
    assert not is_silent(quiet=timedelta(minutes=14), due=1000)
    assert not is_silent(quiet=timedelta(days=3), due=9)
