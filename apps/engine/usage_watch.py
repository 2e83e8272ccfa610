"""
When usage looks wrong: events missing, a source gone quiet, an hour far from the usual one.

Rules that a person can repeat with a pencil: shares, medians, counts. A median forgives single freak hours, which a
mean does not; a least volume keeps small numbers, where everything is unusual, from ringing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Final, TypeVar

N = TypeVar("N", int, Decimal)

HOUR: Final = timedelta(hours=1)
_MICROSECOND: Final = timedelta(microseconds=1)
DAYS_PER_WEEK: Final = 7

# Fewer events than this are not judged by their share: one of ten would be ten percent.
LOSS_VOLUME_MIN: Final = 50

# An hour is compared with the same hour of the same weekday; until there are this many, with that hour of any day.
WEEKS_NEEDED: Final = 3
DAYS_NEEDED: Final = 5

# So many events should have come by the source's own rhythm before its silence means anything; chance alone leaves
# out ten in a row once in twenty thousand.
SILENT_EVENTS_MIN: Final = 10
SILENT_SPAN_MIN: Final = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class CountedWindow:
    """How many events a source says, or numbers, for a window, and how many of them are here."""

    starts_at: datetime
    expected: int
    present: int

    @property
    def missing(self) -> int:
        """Return how many are not here; more than expected is no loss."""
        return max(self.expected - self.present, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What is missing of a source: in all, and the hour that is worst."""

    expected: int
    missing: int
    worst: CountedWindow

    @property
    def missing_bps(self) -> int:
        """Return the share that is missing in all, in basis points, rounded down."""
        return self.missing * 10_000 // self.expected


def find_loss(windows: Sequence[CountedWindow], *, limit_bps: int) -> Loss | None:
    """
    Return what a source has lost, or nothing when neither one window nor all of them together miss more than the limit.

    What is below LOSS_VOLUME_MIN is not judged.
    """
    counted = [window for window in windows if window.expected > 0]
    expected = sum(window.expected for window in counted)
    missing = sum(window.missing for window in counted)
    if expected < LOSS_VOLUME_MIN:
        return None
    judged = [window for window in counted if window.expected >= LOSS_VOLUME_MIN] or counted
    worst = max(judged, key=lambda window: Fraction(window.missing, window.expected))
    is_worst_above = worst.expected >= LOSS_VOLUME_MIN and worst.missing * 10_000 > limit_bps * worst.expected
    if not is_worst_above and missing * 10_000 <= limit_bps * expected:
        return None
    return Loss(expected=expected, missing=missing, worst=worst)


@dataclass(frozen=True, slots=True)
class Usual:
    """The usual value of an hour, and whether it is that of the same weekday or of any day."""

    value: Decimal
    is_of_weekday: bool


def usual_of(history: Mapping[int, Decimal]) -> Usual | None:
    """
    Return the median of earlier values by how many days ago they were, or nothing when there are too few.

    The same weekday counts alone as soon as there are three of it; before, any day does, and there must be five.
    """
    same_weekday = [value for days_ago, value in history.items() if days_ago % DAYS_PER_WEEK == 0]
    if len(same_weekday) >= WEEKS_NEEDED:
        return Usual(_middle(same_weekday), is_of_weekday=True)
    return Usual(_middle(history.values()), is_of_weekday=False) if len(history) >= DAYS_NEEDED else None


def _middle(values: Iterable[N]) -> N:
    """Return the median; of an even number of values the lower of the two in the middle, so that it is one of them."""
    ordered = sorted(values)
    return ordered[(len(ordered) - 1) // 2]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomalyTerms:
    """From which share of the usual hour and which volume on an hour is unusual; a share of 0 is not asked."""

    high_percent: int = 400
    low_percent: int = 10
    volume_min: Decimal = Decimal(100)


@dataclass(frozen=True, slots=True)
class Anomaly:
    """An hour that is unusual: its value, the usual one, and the first as a percentage of the second."""

    value: Decimal
    usual: Decimal
    percent: int | None  # nothing where the usual hour is 0


def find_anomaly(*, value: Decimal, history: Mapping[int, Decimal], terms: AnomalyTerms) -> Anomaly | None:
    """
    Return how an hour is unusual against its history by days ago, or nothing when it is not or cannot be judged.

    A fall is judged against the same weekday only: whoever works on some days would fall on all others.
    """
    usual = usual_of(history)
    if usual is None or max(value, usual.value) < terms.volume_min:
        return None
    # As fractions: the default context of decimals keeps 28 digits, and a total may have more.
    seen, middle = Fraction(value) * 100, Fraction(usual.value)
    is_high = terms.high_percent > 0 and seen > middle * terms.high_percent
    is_low = usual.is_of_weekday and terms.low_percent > 0 and seen < middle * terms.low_percent
    if not (is_high or is_low):
        return None
    return Anomaly(value=value, usual=usual.value, percent=int(seen // middle) if middle > 0 else None)


def events_due(*, since: datetime, at: datetime, counts: Mapping[datetime, int]) -> int:
    """
    Return how many events should have come from `since` to `at`, by the same hours of the seven days before.

    :param counts: events per hour of occurrence; an hour that is not there had none
    """
    due = Fraction(0)
    hour = since.replace(minute=0, second=0, microsecond=0)
    while hour < at:
        overlap = min(at, hour + HOUR) - max(since, hour)
        earlier = [counts.get(hour - timedelta(days=days), 0) for days in range(1, DAYS_PER_WEEK + 1)]
        due += Fraction(_middle(earlier) * (overlap // _MICROSECOND), HOUR // _MICROSECOND)
        hour += HOUR
    return int(due)


def is_silent(*, quiet: timedelta, due: int) -> bool:
    """Return whether a source has been quiet for longer than its own rhythm explains."""
    return quiet >= SILENT_SPAN_MIN and due >= SILENT_EVENTS_MIN
