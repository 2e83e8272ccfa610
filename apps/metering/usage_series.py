"""
Usage in pieces of time, by group.

A piece is the meter's aggregate of that piece alone: what it would be if the window were that piece. A meter that
carries over begins each piece with what the time before it left, so it has a quantity in pieces without events, too.
"""

import json
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice, pairwise
from typing import Any, Final
from uuid import UUID

from apps.common.errors import FieldProblem
from apps.engine.aggregation import Aggregation
from apps.metering.errors import UsageQueryInvalid
from apps.metering.models import Meter
from apps.metering.usage_folds import CountedEvent, Tally, one_spelling
from apps.metering.usage_readings import counted_events, usage_scope
from apps.metering.usage_rollups import SPANS, pieces_of, rollup_quantity, rollup_series

GRANULARITIES: Final = tuple(SPANS)
# A reader who wants more asks for coarser pieces, or in parts.
BUCKETS_MAX: Final = 10_000
_SHORTEST: Final = {"hour": timedelta(hours=1), "day": timedelta(days=1), "month": timedelta(days=28)}


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
    # What is there in a piece depends on every piece before it.
    is_folded = meter.aggregation == Aggregation.UNIQUE_COUNT and meter.has_carry_over
    read = _folded if is_folded else _rolled_up
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
    Return usage between each two neighbouring edges, such as the midnights of a time zone.

    Pieces without usage are left out. For aggregations whose hours do not add up to days.
    """
    buckets = []
    for starts_at, ends_at in pairwise(edges):
        scope = usage_scope(
            meter=meter, customer_id=customer_id, subscription_id=subscription_id, starts_at=starts_at, ends_at=ends_at
        )
        read = rollup_quantity(meter=meter, scope=scope)
        if read.exact or read.event_count:
            buckets.append(
                UsageBucket(
                    starts_at=starts_at, group={}, quantity=one_spelling(read.exact), event_count=read.event_count
                )
            )
    return buckets


def _rolled_up(
    meter: Meter, scope: dict[str, Any], granularity: str, group_by: Sequence[str]
) -> Generator[UsageBucket]:
    pieces = rollup_series(meter=meter, scope=scope, granularity=granularity, group_by=group_by, limit=BUCKETS_MAX + 1)
    for piece in pieces:
        yield UsageBucket(
            starts_at=piece.starts_at,
            group=piece.group,
            quantity=one_spelling(piece.exact),
            event_count=piece.event_count,
        )


def _folded(meter: Meter, scope: dict[str, Any], granularity: str, group_by: Sequence[str]) -> Generator[UsageBucket]:
    window = {"starts_at": scope["starts_at"], "ends_at": scope["ends_at"]}
    with counted_events(
        meter=meter, scope=scope, snapshot=None, group_by=group_by, carries_over=meter.has_carry_over
    ) as (_snapshot, events):
        yield from _fold_pieces(meter, pieces_of(**window, granularity=granularity), scope, events)


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
    elif (ends_at - starts_at) // _SHORTEST[granularity] > BUCKETS_MAX:
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
