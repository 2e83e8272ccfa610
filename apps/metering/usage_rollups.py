"""What a window comes to, and what its pieces come to, read from the rollups.

Every aggregation reads whole hours from rollups and only the edges of the window from raw events: the cost follows the
hours and groups of the window, not its events. The one exception is a series of a unique count that carries over:
what is there in each piece depends on all pieces before it, and is folded from the events.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from apps.common.db import fetch_all, fetch_prepared
from apps.engine.aggregation import Aggregation
from apps.metering import usage_rollups_sql
from apps.metering.models import Meter
from apps.metering.usage_readings import BEGINNING, hour_of, usage_scope

SPANS: Final = {"hour": "1 hour", "day": "1 day", "month": "1 month"}
_MICROSECOND: Final = timedelta(microseconds=1)
_LAST_KINDS: Final = (Aggregation.LATEST, Aggregation.UNIQUE_COUNT)
# With the edges of the window, and of whole hours alone.
_TOTALLED: Final = (usage_rollups_sql.QUANTITY, usage_rollups_sql.QUANTITY_OF_HOURS)
_STATEMENTS: Final = {
    Aggregation.WEIGHTED_SUM: (usage_rollups_sql.WEIGHTED, usage_rollups_sql.WEIGHTED_OF_HOURS),
    Aggregation.LATEST: (usage_rollups_sql.LATEST, usage_rollups_sql.LATEST_OF_HOURS),
    Aggregation.UNIQUE_COUNT: (usage_rollups_sql.UNIQUE, usage_rollups_sql.UNIQUE_OF_HOURS),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RollupQuantity:
    """The exact aggregate of a window, how many events it has, and the snapshot that was read."""

    exact: Decimal | Fraction
    event_count: int
    snapshot: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RollupPiece:
    """The exact aggregate of one piece of a window and one group."""

    starts_at: datetime
    group: Mapping[str, Any]
    exact: Decimal | Fraction
    event_count: int


def rollup_quantity(*, meter: Meter, scope: Mapping[str, Any]) -> RollupQuantity:
    """Return what a window comes to, exactly; the scope is that of `usage_readings.usage_scope`."""
    statement = _statement(meter, scope)
    if meter.aggregation == Aggregation.WEIGHTED_SUM:
        ((count, area, snapshot),) = fetch_prepared(statement, _weighted(meter, scope))
        exact: Decimal | Fraction = _by_time(area, scope["starts_at"], scope["ends_at"])
    elif meter.aggregation in _LAST_KINDS:
        ((count, exact, snapshot),) = fetch_prepared(statement, _last(meter, scope))
    else:
        ((count, total, largest, smallest, snapshot),) = fetch_prepared(statement, scope)
        exact = _totalled(meter, count, total, largest, smallest)
    return RollupQuantity(exact=exact, event_count=count, snapshot=str(snapshot))


def labels_known(*, meter: Meter, scope: Mapping[str, Any], label_keys: Sequence[bytes]) -> set[bytes]:
    """Return which of the labels a unique count without operations has counted in a window already."""
    asked = {**_last(meter, scope), "label_keys": list(label_keys)}
    return {bytes(key) for (key,) in fetch_all(usage_rollups_sql.LABELS_KNOWN, asked)}


def _statement(meter: Meter, scope: Mapping[str, Any]) -> str:
    """Return the statement for a meter: of rollups alone where the window begins and ends with an hour."""
    # By its instants and not by its length: what a meter carries into an empty window may lie in the middle of an hour.
    has_edges = any(hour_of(scope[name]) != scope[name] for name in ("starts_at", "ends_at"))
    with_edges, of_hours = _STATEMENTS.get(Aggregation(meter.aggregation), _TOTALLED)
    return with_edges if has_edges else of_hours


def _totalled(meter: Meter, count: int, total: Any, largest: Any, smallest: Any) -> Decimal | Fraction:
    """Return the aggregate of a meter that is made of count, total, largest and smallest value."""
    if meter.aggregation == Aggregation.AVERAGE:
        return Fraction(total) / count if count else Decimal(0)
    kept = {
        # The values of counted events are one, or what one event stands for.
        Aggregation.COUNT: total,
        Aggregation.SUM: total,
        Aggregation.MAX: largest,
        Aggregation.MIN: smallest,
    }
    return Decimal(kept[Aggregation(meter.aggregation)])


def rollup_series(
    *, meter: Meter, scope: Mapping[str, Any], granularity: str, group_by: Sequence[str], limit: int
) -> Iterator[RollupPiece]:
    """Yield what each piece and group of a window comes to, oldest first; pieces without usage are left out."""
    asked = {
        **scope,
        "granularity": granularity,
        "span": SPANS[granularity],
        "group_by": list(group_by),
        "limit": limit,
    }
    if meter.aggregation == Aggregation.WEIGHTED_SUM:
        yield from _weighted_series(meter, asked)
    elif meter.aggregation in _LAST_KINDS:
        is_unique = meter.aggregation == Aggregation.UNIQUE_COUNT
        rows = fetch_all(usage_rollups_sql.SERIES_LAST, {**_last(meter, asked), "is_unique": is_unique})
        for bucket_at, group, count, exact in rows:
            yield _piece(bucket_at, group, exact, count)
    else:
        for bucket_at, group, count, total, largest, smallest in fetch_all(usage_rollups_sql.SERIES, asked):
            yield _piece(bucket_at, group, _totalled(meter, count, total, largest, smallest), count)


def pieces_of(*, starts_at: datetime, ends_at: datetime, granularity: str) -> Iterator[tuple[datetime, datetime]]:
    """Yield each piece of a window: where its hour, day or month begins, and where it ends inside the window."""
    bucket_at = hour_of(starts_at)
    if granularity != "hour":
        bucket_at = bucket_at.replace(hour=0)
    if granularity == "month":
        bucket_at = bucket_at.replace(day=1)
    while bucket_at < ends_at:
        if granularity == "month":
            # From the 1st, 32 days later always lies in the next month.
            following = (bucket_at + timedelta(days=32)).replace(day=1)
        else:
            following = bucket_at + timedelta(**{f"{granularity}s": 1})
        yield bucket_at, min(following, ends_at)
        bucket_at = following


def _weighted(meter: Meter, scope: Mapping[str, Any]) -> dict[str, Any]:
    return {**scope, "carries_over": meter.has_carry_over, "carried_until": hour_of(scope["starts_at"])}


def _last(meter: Meter, scope: Mapping[str, Any]) -> dict[str, Any]:
    """Return where last readings are read: in the window, or from the beginning of time when it carries over."""
    read = scope
    if meter.has_carry_over:
        whose = {name: scope[name] for name in ("customer_id", "subscription_id", "ends_at")}
        read = usage_scope(meter=meter, starts_at=BEGINNING, **whose)
    return {
        **scope,
        "last_from": read["whole_from"],
        "last_until": read["whole_until"],
        "head_from": read["starts_at"],
        "head_until": read["edge_until"],
        "tail_from": read["edge_from"],
    }


def _weighted_series(meter: Meter, asked: Mapping[str, Any]) -> Iterator[RollupPiece]:
    levels: dict[str, Decimal] = {}
    read: dict[tuple[datetime, str], tuple[int, Decimal, Decimal]] = {}
    for bucket_at, group, count, total, area in fetch_all(usage_rollups_sql.SERIES_WEIGHTED, _weighted(meter, asked)):
        levels.setdefault(group, Decimal(0))
        if bucket_at is None:
            levels[group] = total
        else:
            read[bucket_at.astimezone(UTC), group] = (count, total, area)
    window = {"starts_at": asked["starts_at"], "ends_at": asked["ends_at"]}
    for bucket_at, ends_at in pieces_of(**window, granularity=asked["granularity"]):
        starts_at = max(bucket_at, asked["starts_at"])
        for group in sorted(levels):
            count, total, area = read.get((bucket_at, group), (0, Decimal(0), Decimal(0)))
            exact = _by_time(area, starts_at, ends_at)
            if meter.has_carry_over:
                exact += Fraction(levels[group])
                levels[group] += total
            if exact or count:
                yield _piece(bucket_at, group, exact, count)


def _by_time(area: Any, starts_at: datetime, ends_at: datetime) -> Fraction:
    """Return the level that gives an area in microseconds over a window; nothing over none."""
    length = (ends_at - starts_at) // _MICROSECOND
    return Fraction(Decimal(area)) / length if length > 0 else Fraction(0)


def _piece(starts_at: datetime, group: str, exact: Decimal | Fraction, event_count: int) -> RollupPiece:
    return RollupPiece(
        starts_at=starts_at.astimezone(UTC),
        # The driver hands JSON over as text; its numbers stay exact.
        group=json.loads(group, parse_float=Decimal),
        exact=exact,
        event_count=event_count,
    )
