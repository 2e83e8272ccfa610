"""
Usage in pieces of time, by group.

A piece is the meter's aggregate of that piece alone: what it would be if the window were that piece. A meter that
carries over begins each piece with what the time before it left, so it has a quantity in pieces without events, too.
"""

import json
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice, pairwise
from typing import Any, Final
from uuid import UUID

from apps.common.db import fetch_all
from apps.common.errors import FieldProblem
from apps.metering import usage_sql
from apps.metering.errors import UsageQueryInvalid
from apps.metering.models import Meter
from apps.metering.usage_folds import CountedEvent, Tally, one_spelling
from apps.metering.usage_quantities import TOTALLED, totalled_aggregate
from apps.metering.usage_readings import counted_events, hour_of, usage_scope

GRANULARITIES: Final = ("hour", "day", "month")
# A reader who wants more asks for coarser pieces, or in parts.
BUCKETS_MAX: Final = 10_000
_SPANS: Final = {"hour": timedelta(hours=1), "day": timedelta(days=1), "month": timedelta(days=28)}


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageBucket:
    """The plain aggregate of one piece of time and one group; unit rounding belongs to whole periods."""

    starts_at: datetime
    group: Mapping[str, Any]
    quantity: Decimal
    event_count: int


def usage_series(
    *,
    meter: Meter,
    customer_id: UUID,
    starts_at: datetime,
    ends_at: datetime,
    granularity: str,
    group_by: Sequence[str] = (),
    subscription_id: UUID | None = None,
) -> list[UsageBucket]:
    """
    Return usage in pieces of an hour, a UTC day or a UTC month, oldest first; pieces without usage are left out.

    :raises UsageQueryInvalid: if granularity or grouping is unknown, or the window is empty or the answer too long
    """
    problems = _series_problems(meter, starts_at, ends_at, granularity, group_by)
    if problems:
        raise UsageQueryInvalid("; ".join(problem.detail for problem in problems), problems=problems)
    scope = usage_scope(
        meter=meter, customer_id=customer_id, subscription_id=subscription_id, starts_at=starts_at, ends_at=ends_at
    )
    read = _totalled if meter.aggregation in TOTALLED else _folded
    with closing(read(meter, scope, granularity, group_by)) as pieces:
        buckets = list(islice(pieces, BUCKETS_MAX + 1))
    if len(buckets) > BUCKETS_MAX:
        # Groups multiply the pieces, and only the answer tells how many there are.
        detail = (
            f"the answer has more than {BUCKETS_MAX} pieces; ask for coarser ones, fewer groups or a shorter window"
        )
        raise UsageQueryInvalid(detail, problems=(FieldProblem("/to", "answer_too_long", detail),))
    return buckets


def usage_between(
    *, meter: Meter, customer_id: UUID, subscription_id: UUID | None, edges: Sequence[datetime]
) -> list[UsageBucket]:
    """
    Return usage between each two neighbouring edges, such as the midnights of a time zone, folded from raw events.

    Pieces without usage are left out. For aggregations whose hours do not add up to days.
    """
    if len(edges) < 2:
        return []
    scope = usage_scope(
        meter=meter, customer_id=customer_id, subscription_id=subscription_id, starts_at=edges[0], ends_at=edges[-1]
    )
    with counted_events(meter=meter, scope=scope, snapshot=None, carries_over=meter.has_carry_over) as (_seen, events):
        return list(_fold_pieces(meter, pairwise(edges), scope, events))


def _totalled(meter: Meter, scope: dict[str, Any], granularity: str, group_by: Sequence[str]) -> Generator[UsageBucket]:
    asked = {**scope, "granularity": granularity, "group_by": list(group_by), "limit": BUCKETS_MAX + 1}
    for bucket_at, group, count, total, largest in fetch_all(usage_sql.SERIES, asked):
        yield _bucket(bucket_at.astimezone(UTC), group, totalled_aggregate(meter, count, total, largest), count)


def _folded(meter: Meter, scope: dict[str, Any], granularity: str, group_by: Sequence[str]) -> Generator[UsageBucket]:
    with counted_events(
        meter=meter, scope=scope, snapshot=None, group_by=group_by, carries_over=meter.has_carry_over
    ) as (_snapshot, events):
        yield from _fold_pieces(meter, _pieces(scope["starts_at"], scope["ends_at"], granularity), scope, events)


def _fold_pieces(
    meter: Meter,
    pieces: Iterable[tuple[datetime, datetime]],
    scope: dict[str, Any],
    events: Iterator[CountedEvent],
) -> Iterator[UsageBucket]:
    coming = next(events, None)
    tallies: dict[str, Tally] = {}
    for bucket_at, ends_at in pieces:
        starts_at = max(bucket_at, scope["starts_at"])
        if meter.has_carry_over:
            for tally in tallies.values():
                tally.next_window(starts_at=starts_at)
        else:
            tallies = {}
        while coming is not None and coming.reading.occurred_at < ends_at:
            if coming.group not in tallies:
                tallies[coming.group] = Tally(meter=meter, starts_at=starts_at)
            tallies[coming.group].add(coming.reading)
            coming = next(events, None)
        for group, tally in sorted(tallies.items()):
            exact = tally.exact(ends_at=ends_at)
            if exact or tally.event_count:
                yield _bucket(bucket_at, group, one_spelling(exact), tally.event_count)


def _pieces(starts_at: datetime, ends_at: datetime, granularity: str) -> Iterator[tuple[datetime, datetime]]:
    """Yield each piece of a window: where its hour, day or month begins, and where it ends inside the window."""
    bucket_at = hour_of(starts_at)
    if granularity != "hour":
        bucket_at = bucket_at.replace(hour=0)
    if granularity == "month":
        bucket_at = bucket_at.replace(day=1)
    while bucket_at < ends_at:
        following = bucket_at + _SPANS[granularity]
        if granularity == "month":
            # From the 1st, 28 days and 4 more always lie in the next month.
            following = (following + timedelta(days=4)).replace(day=1)
        yield bucket_at, min(following, ends_at)
        bucket_at = following


def _bucket(starts_at: datetime, group: str, quantity: Decimal, event_count: int) -> UsageBucket:
    return UsageBucket(
        starts_at=starts_at,
        # The driver hands JSON over as text; its numbers stay exact.
        group=json.loads(group, parse_float=Decimal),
        quantity=one_spelling(quantity),
        event_count=event_count,
    )


def _series_problems(
    meter: Meter, starts_at: datetime, ends_at: datetime, granularity: str, group_by: Sequence[str]
) -> tuple[FieldProblem, ...]:
    problems = []
    if granularity not in GRANULARITIES:
        detail = f"granularity is one of {', '.join(GRANULARITIES)}"
        problems.append(FieldProblem("/granularity", "granularity_unknown", detail))
    elif (ends_at - starts_at) // _SPANS[granularity] > BUCKETS_MAX:
        detail = f"the window has more than {BUCKETS_MAX} pieces; ask for coarser ones or a shorter window"
        problems.append(FieldProblem("/to", "window_too_long", detail))
    if ends_at <= starts_at:
        problems.append(FieldProblem("/to", "window_empty", "'to' must be later than 'from'"))
    for name in group_by:
        if name not in meter.group_by:
            detail = (
                f"meter '{meter.code}' is not grouped by '{name[:60]}'; it has {', '.join(meter.group_by) or 'none'}"
            )
            problems.append(FieldProblem("/group_by", "group_unknown", detail))
    return tuple(problems)
