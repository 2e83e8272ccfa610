"""
Which part of a full period was served, as an exact fraction.

Rules: `by_second` compares elapsed time; `by_day` compares calendar days in the customer's zone, and the day on which
something changes belongs to the later part. Both add up: the parts of any tiling of a period sum to exactly one, so
an upgrade in mid-month bills each moment once. The fraction is never rounded; the amount it multiplies is, once.
"""

from enum import StrEnum
from fractions import Fraction

from apps.engine.errors import InvalidPeriod
from apps.engine.periods import Period, zone_named


class ProrationMode(StrEnum):
    """What is counted when a period is served in part."""

    BY_SECOND = "by_second"  # elapsed time, to the microsecond
    BY_DAY = "by_day"  # local calendar days


def proration_factor(*, served: Period, full: Period, mode: str, timezone: str) -> Fraction:
    """
    Return the served part of a full period, from 0 to 1.

    :raises InvalidPeriod: if the served part reaches outside the full period, the mode or zone is unknown, or the full
        period holds no change of date to count days by
    """
    if served.starts_at < full.starts_at or served.ends_at > full.ends_at:
        raise InvalidPeriod("must lie inside the full period; split it at the boundary", path="served")
    if mode == ProrationMode.BY_SECOND:
        return Fraction(served.microseconds, full.microseconds)
    if mode != ProrationMode.BY_DAY:
        raise InvalidPeriod(f"must be one of {', '.join(ProrationMode)}, not {mode!r}", path="mode")
    full_days = _days(full, timezone)
    if full_days == 0:
        raise InvalidPeriod("lies within a single day; prorate it by_second", path="full")
    return Fraction(_days(served, timezone), full_days)


def _days(period: Period, timezone: str) -> int:
    """Count the local dates that begin a day of this period: from its first date up to, and without, its last."""
    zone = zone_named(timezone, path="timezone")
    return (period.ends_at.astimezone(zone).date() - period.starts_at.astimezone(zone).date()).days
