"""The events that a meter counts, one by one and in order, out of the store: constant memory, one snapshot."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import chain
from typing import Any, Final
from uuid import UUID

from django.db import connection

from apps.common.db import fetch_all
from apps.engine.aggregation import Aggregation, Operation, Reading
from apps.metering import usage_readings_sql
from apps.metering.event_checks import YEAR_MIN
from apps.metering.models import Meter
from apps.metering.usage_folds import CountedEvent

ROWS_FETCHED: Final = 2_000
# Before any event there can be.
BEGINNING: Final = datetime(YEAR_MIN, 1, 1, tzinfo=UTC)
_JUST_BEFORE: Final = timedelta(microseconds=1)
_HOUR: Final = timedelta(hours=1)


def usage_scope(
    *, meter: Meter, customer_id: UUID, subscription_id: UUID | None, starts_at: datetime, ends_at: datetime
) -> dict[str, Any]:
    """Return the parameters of the statements that read a window: whose usage, and where its whole hours lie."""
    starts_at, ends_at = starts_at.astimezone(UTC), max(ends_at, starts_at).astimezone(UTC)
    floor_at = hour_of(ends_at)
    whole_from = hour_of(starts_at)
    if whole_from < starts_at:
        whole_from += _HOUR
    has_whole_hours = whole_from < floor_at
    return {
        "meter_id": meter.id,
        "customer_id": customer_id,
        "subscription_id": subscription_id,
        "starts_at": starts_at,
        "ends_at": ends_at,
        # Without a whole hour inside, the first edge is the whole window and the second is empty.
        "whole_from": whole_from if has_whole_hours else ends_at,
        "whole_until": floor_at if has_whole_hours else ends_at,
        "edge_until": whole_from if has_whole_hours else ends_at,
        "edge_from": floor_at if has_whole_hours else ends_at,
    }


def hour_of(at: datetime) -> datetime:
    """Return the beginning of the hour, in UTC, that holds an instant."""
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


@contextmanager
def counted_events(
    *,
    meter: Meter,
    scope: dict[str, Any],
    snapshot: str | None,
    properties: Sequence[str] = (),
    group_by: Sequence[str] = (),
    names_events: bool = False,
    carries_over: bool = False,
) -> Iterator[tuple[str, Iterator[CountedEvent]]]:
    """
    Enter with the snapshot that is read under, and the events of a window as it shows them.

    Leaving closes the cursor, however far it was read: left to the garbage collector it would be closed in the middle
    of somebody else's transaction.

    :param snapshot: of an earlier reader; without one, what is there now
    :param carries_over: begin with what came before the window: the level of a weighted sum as one reading for each
        group, else all the events
    """
    asked = {**scope, "properties": list(properties), "group_by": list(group_by), "names_events": names_events}
    carried: list[CountedEvent] = []
    reads_from = BEGINNING if carries_over else scope["starts_at"]
    if snapshot is None and carries_over and meter.aggregation == Aggregation.WEIGHTED_SUM:
        snapshot, carried = _levels(asked)
        reads_from = scope["starts_at"]
    elif snapshot is None:
        ((snapshot,),) = fetch_all(usage_readings_sql.SNAPSHOT)
    with closing(_stored({**asked, "snapshot": snapshot, "reads_from": reads_from})) as stored:
        yield str(snapshot), chain(carried, stored)


def _levels(asked: dict[str, Any]) -> tuple[str, list[CountedEvent]]:
    starts_at: datetime = asked["starts_at"]
    rows = fetch_all(usage_readings_sql.LEVELS, {**asked, "carried_until": hour_of(starts_at)})
    return rows[0][0], [
        CountedEvent(Reading(starts_at - _JUST_BEFORE, Decimal(level)), tuple(texts), group)
        for _snapshot, texts, group, level in rows
        if level is not None
    ]


def _stored(asked: dict[str, Any]) -> Generator[CountedEvent]:
    with connection.chunked_cursor() as cursor:
        cursor.execute(usage_readings_sql.READINGS, asked)
        while rows := cursor.fetchmany(ROWS_FETCHED):
            for occurred_at, value, label, operation, texts, group, name in rows:
                reading = Reading(occurred_at, Decimal(value), label, Operation(operation))
                yield CountedEvent(reading, tuple(texts), group, name)
