"""
Sources of events: what they say they sent, and what the follower saw of them.

The follower folds each event once into a row per source and one per source and hour of occurrence; everything here
reads those rows and never the events, except for a heartbeat's window, which is counted until it is whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Final

from django.db.models import QuerySet

from apps.common.db import fetch_all, unit_of_work
from apps.common.errors import FieldProblem
from apps.common.locks import advisory_lock
from apps.engine.usage_watch import CountedWindow
from apps.metering import sources_sql
from apps.metering.errors import HeartbeatConflict, HeartbeatInvalid
from apps.metering.models import SourceHeartbeat, UnmatchedUsage, UsageSource

WATCHED_SPAN: Final = timedelta(days=7)
RHYTHM_SPAN: Final = timedelta(days=8)
# Events of a window may be on their way for as long as this after it has ended.
SETTLE_SPAN: Final = timedelta(minutes=5)
HEARTBEAT_SPAN_MAX: Final = timedelta(days=1)
RANGES_SHOWN: Final = 20
_HEARTBEATS_PER_LOOK: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceWindows:
    """The windows of one source, the first ranges of numbers that are missing, and how it was counted."""

    source: str
    counted_by: str  # sequence or heartbeat
    windows: list[CountedWindow]
    missing_ranges: list[tuple[int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDelays:
    """How late a source's recent events were: how many were timed, how many came later than a bound, the latest."""

    source: str
    timed_count: int
    counts: list[int]
    delay_ms_max: int

    def count_above(self, *, bound_ms: int) -> int:
        """Return how many came later than one of the bounds that delays are counted by."""
        return sum(self.counts[sources_sql.DELAY_BOUNDS_MS.index(bound_ms) + 1 :])


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRhythm:
    """When a source was heard of last, and how many events it had in each hour before."""

    source: str
    last_received_at: datetime
    counts: dict[datetime, int]


@unit_of_work
def heartbeat_record(
    *, source: str, starts_at: datetime, ends_at: datetime, sent_count: int, at: datetime
) -> SourceHeartbeat:
    """
    Keep a source's word that it sent so many events that occurred in a window; the same word again changes nothing.

    :raises HeartbeatInvalid: naming each field that cannot be accepted
    :raises HeartbeatConflict: if the source said another number for the window, or one that overlaps it
    """
    problems = _heartbeat_problems(source, starts_at, ends_at, sent_count, at)
    if problems:
        summary = "; ".join(f"{problem.pointer}: {problem.detail}" for problem in problems)
        raise HeartbeatInvalid(f"The heartbeat cannot be accepted. {summary}", problems=problems)
    advisory_lock(f"metering:heartbeat:{source}")
    overlapping = SourceHeartbeat.objects.filter(source=source, starts_at__lt=ends_at, ends_at__gt=starts_at)
    for known in overlapping.order_by("starts_at"):
        if (known.starts_at, known.ends_at, known.sent_count) == (starts_at, ends_at, sent_count):
            return known
        raise HeartbeatConflict(
            f"'{source}' already said {known.sent_count} events from {known.starts_at.isoformat()} to "
            f"{known.ends_at.isoformat()}. Windows of a source must not overlap; send the next one from there on.",
            facts={"heartbeat": known.public_id},
        )
    return SourceHeartbeat.objects.create(
        source=source, starts_at=starts_at, ends_at=ends_at, sent_count=sent_count, received_at=at
    )


def _heartbeat_problems(
    source: str, starts_at: datetime, ends_at: datetime, sent_count: int, at: datetime
) -> tuple[FieldProblem, ...]:
    problems = []
    if not source or len(source) > 255 or "\0" in source:
        problems.append(FieldProblem("/source", "invalid", "must be the source of the events, 1 to 255 characters"))
    if not timedelta(0) < ends_at - starts_at <= HEARTBEAT_SPAN_MAX:
        problems.append(FieldProblem("/to", "invalid", "must be later than 'from', by a day at most"))
    elif ends_at > at + timedelta(minutes=1):
        problems.append(FieldProblem("/to", "invalid", "is in the future; send the heartbeat when its window is over"))
    elif ends_at < at - WATCHED_SPAN:
        problems.append(FieldProblem("/to", "invalid", "is more than seven days past; only those are watched"))
    if not 0 <= sent_count < 10**15:
        problems.append(FieldProblem("/sent", "invalid", "must be the number of events, from 0 on"))
    return tuple(problems)


@unit_of_work
def heartbeats_count(*, at: datetime) -> None:
    """Count the events of the windows that are over, and again of those that were not whole."""
    bounds = {"at": at, "settled": at - SETTLE_SPAN, "since": at - WATCHED_SPAN, "limit": _HEARTBEATS_PER_LOOK}
    fetch_all(sources_sql.HEARTBEATS_COUNT, bounds)


@unit_of_work
def sequences_judge_next(*, at: datetime) -> None:
    """Let the numbers that are here now be judged at the next look."""
    fetch_all(sources_sql.JUDGE_NEXT, {"since": at - WATCHED_SPAN})


def counted_windows(*, at: datetime) -> list[SourceWindows]:
    """Return what each source says or numbers, against what is here, over the days that are watched."""
    since = at - WATCHED_SPAN
    numbered = fetch_all(sources_sql.NUMBERED_WINDOWS, {"since": since, "shown": RANGES_SHOWN})
    found = [_numbered(source, list(rows)) for source, rows in groupby(numbered, key=itemgetter(0))]
    told = fetch_all(sources_sql.HEARTBEAT_WINDOWS, {"since": since})
    for source, rows in groupby(told, key=itemgetter(0)):
        windows = [CountedWindow(starts_at, sent, here) for _source, starts_at, _ends_at, sent, here in rows]
        found.append(SourceWindows(source=source, counted_by="heartbeat", windows=windows, missing_ranges=[]))
    return found


def _numbered(source: str, rows: Sequence[tuple[str, datetime, int, int, list[list[int]] | None]]) -> SourceWindows:
    windows = [CountedWindow(hour_at, expected, present) for _source, hour_at, expected, present, _ranges in rows]
    ranges = [(first, last) for row in rows for first, last in row[4] or ()]
    return SourceWindows(source=source, counted_by="sequence", windows=windows, missing_ranges=ranges[:RANGES_SHOWN])


def rhythms_of_the_quiet(*, at: datetime, quiet: timedelta) -> list[SourceRhythm]:
    """Return the rhythm of each source that was not heard of for so long, and was in the week before."""
    rows = fetch_all(sources_sql.SOURCE_RHYTHM, {"since": at - RHYTHM_SPAN, "quiet_since": at - quiet})
    rhythms = []
    for (source, last_received_at), own in groupby(rows, key=itemgetter(0, 1)):
        counts = {row[2]: row[3] for row in own}
        rhythms.append(SourceRhythm(source=source, last_received_at=last_received_at, counts=counts))
    return rhythms


def delays_recent(*, since: datetime) -> list[SourceDelays]:
    """Return how late each source's events were in the hours that got any since then."""
    rows = fetch_all(sources_sql.DELAYS_RECENT, {"since": since})
    return [SourceDelays(source=row[0], timed_count=row[1], counts=row[2], delay_ms_max=row[3]) for row in rows]


def clocks_ahead(*, since: datetime, limit: timedelta) -> list[tuple[str, int]]:
    """Return the sources heard of since then whose clocks ran further ahead than the limit, and by how many ms."""
    limit_ms = limit // timedelta(milliseconds=1)
    return [(row[0], row[1]) for row in fetch_all(sources_sql.CLOCKS_AHEAD, {"limit_ms": limit_ms, "since": since})]


def sources_queryset() -> QuerySet[UsageSource]:
    """Return all sources, those heard of last first."""
    return UsageSource.objects.order_by("-last_received_at", "source")


def unmatched_queryset() -> QuerySet[UnmatchedUsage]:
    """Return what no meter counts, newest days first."""
    return UnmatchedUsage.objects.order_by("-usage_date", "event_type", "reason")
