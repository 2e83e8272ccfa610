"""Many numbered events at once, and the follower's steps over what this test's own transaction wrote."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from apps.common.db import fetch_all
from apps.metering import services, sources_sql
from apps.metering.partitions import month_of

# Thousands of events by one statement; the triggers count them as they count those that came through the door.
_INSERT = """
INSERT INTO metering_usageevent
    (event_key, source, event_id, type, customer_id, occurred_at, received_at, quantity, properties, source_sequence)
SELECT md5(%(source)s || n || %(begin)s::timestamptz::text)::uuid, %(source)s, n::text, %(type)s, %(customer_id)s,
       %(begin)s::timestamptz + (n - %(first)s) * %(step)s::interval,
       %(begin)s::timestamptz + (n - %(first)s) * %(step)s::interval + %(delay)s::interval,
       1, '{}', CASE WHEN %(is_numbered)s THEN n END
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
) -> None:
    """Store events of a source, the one with the lowest number at `begin`, each further number one step later."""
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
        },
    )


def follow(*, since: datetime) -> None:
    """Fold the events received since then, as the follower does after their commit."""
    ((xid,),) = fetch_all("SELECT pg_current_xact_id()::text::bigint")
    bounds = {"done": f"{xid}:{xid}:", "reached": f"{xid + 1}:{xid + 1}:", "received_from": since}
    fetch_all(sources_sql.FOLD_SOURCES, bounds)
    fetch_all(sources_sql.COUNT_UNMATCHED, bounds)
