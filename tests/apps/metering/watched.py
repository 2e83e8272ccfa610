"""Many numbered events at once, and the follower's steps over what this test's own transaction wrote."""

import itertools
from collections.abc import Iterable
from datetime import datetime, timedelta

from apps.common.db import fetch_all
from apps.metering import services, sources_sql
from apps.metering.partitions import month_of

# A test has one transaction; each batch pretends to be of a later one, so that the follower tells them apart.
_batches = itertools.count(1)
_followed: dict[int, int] = {}

# Thousands of events by one statement; the triggers count them as they count those that came through the door.
_INSERT = """
INSERT INTO metering_usageevent
    (event_key, source, event_id, type, customer_id, occurred_at, received_at, quantity, properties, source_sequence,
     recorded_xid)
SELECT md5(%(source)s || n || %(begin)s::timestamptz::text)::uuid, %(source)s, n::text, %(type)s, %(customer_id)s,
       %(begin)s::timestamptz + (n - %(first)s) * %(step)s::interval,
       %(begin)s::timestamptz + (n - %(first)s) * %(step)s::interval + %(delay)s::interval,
       1, '{}', CASE WHEN %(is_numbered)s THEN n END, coalesce(%(recorded_xid)s::text::xid8, pg_current_xact_id())
FROM unnest(%(numbers)s::bigint[]) n
"""


def store(
    numbers: Iterable[int],
    *,
    customer_id: object,
    begin: datetime,
    source: str = "edge",
    step: timedelta = timedelta(seconds=1),
    delay: timedelta = timedelta(seconds=2),
    is_numbered: bool = True,
    event_type: str = "api.call",
    is_own_transaction: bool = False,
) -> None:
    """
    Store events of a source, the one with the lowest number at `begin`, each further number one step later.

    :param is_own_transaction: it is one, and the real follower reads it
    """
    wanted = list(numbers)
    services.usage_partitions_ensure(months={month_of(begin), month_of(begin + step * len(wanted))})
    fetch_all(
        _INSERT,
        {
            "numbers": wanted,
            "first": min(wanted),
            "customer_id": customer_id,
            "source": source,
            "type": event_type,
            "begin": begin,
            "step": step,
            "delay": delay,
            "is_numbered": is_numbered,
            "recorded_xid": None if is_own_transaction else _xid() + next(_batches),
        },
    )


def follow() -> None:
    """Fold what was stored since the last time, as the follower does after each commit."""
    begin = _xid()
    done, reached = _followed.get(begin, begin), begin + next(_batches) + 1
    bounds = {"done": f"{done}:{done}:", "reached": f"{reached}:{reached}:"}
    fetch_all(sources_sql.FOLD_SOURCES, bounds)
    fetch_all(sources_sql.COUNT_UNMATCHED, bounds)
    _followed[begin] = reached


def _xid() -> int:
    ((xid,),) = fetch_all("SELECT pg_current_xact_id()::text::bigint")
    return int(xid)
