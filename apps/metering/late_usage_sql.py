"""Which new events and cancellations came after their window was billed."""

from apps.metering.following_sql import is_new
from apps.metering.usage_sql import EVENT_ORDER, RAW_SCOPE
from apps.metering.usage_tables_sql import EVENT_MATCHES

# Of the window's customer, and of its subscription or of none; before its end. What is carried over from the time
# before a window is in its quantity, too, so usage of any earlier time is late for it.
_IN_WINDOW = f"""
    w.customer_id = e.customer_id AND (e.subscription_id IS NULL OR e.subscription_id = w.subscription_id)
    AND e.occurred_at < w.ends_at AND (e.occurred_at >= w.starts_at OR m.has_carry_over)
    AND {EVENT_MATCHES}
"""


def _found(counts: str, source: str, received_at: str) -> str:
    # One open row per window: what comes before it is settled is added to it.
    return f"""
INSERT INTO metering_lateusage AS l
    (id, window_id, event_count, cancelled_count, first_occurred_at, last_occurred_at, first_received_at,
     last_received_at, status, currency, waits_because, resolution)
SELECT gen_random_uuid(), w.id, {counts}, min(e.occurred_at), max(e.occurred_at), min({received_at}),
       max({received_at}), 'FOUND', '', '', ''
{source}
GROUP BY w.id ORDER BY w.id
ON CONFLICT (window_id) WHERE status = 'FOUND' DO UPDATE SET
    event_count = l.event_count + excluded.event_count,
    cancelled_count = l.cancelled_count + excluded.cancelled_count,
    first_occurred_at = least(l.first_occurred_at, excluded.first_occurred_at),
    last_occurred_at = greatest(l.last_occurred_at, excluded.last_occurred_at),
    first_received_at = least(l.first_received_at, excluded.first_received_at),
    last_received_at = greatest(l.last_received_at, excluded.last_received_at)
"""


FIND_LATE = _found(
    "count(*), 0",
    f"""
FROM metering_usageevent e JOIN metering_usagewindow w ON w.customer_id = e.customer_id
JOIN metering_meter m ON m.id = w.meter_id
WHERE {is_new("e")} AND {_IN_WINDOW} AND NOT pg_visible_in_snapshot(e.recorded_xid, w.snapshot::pg_snapshot)
""",
    "e.received_at",
)

# Only what was billed can be missed by its window: an event that was late itself is found as such.
FIND_CANCELLED = _found(
    "0, count(*)",
    f"""
FROM metering_usagecancellation x
JOIN metering_usageevent e ON e.event_key = x.event_key AND e.occurred_at = x.occurred_at
JOIN metering_usagewindow w ON w.customer_id = e.customer_id
JOIN metering_meter m ON m.id = w.meter_id
WHERE {is_new("x")} AND {_IN_WINDOW} AND NOT pg_visible_in_snapshot(x.recorded_xid, w.snapshot::pg_snapshot)
  AND pg_visible_in_snapshot(e.recorded_xid, w.snapshot::pg_snapshot)
""",
    "x.cancelled_at",
)

# Each window that is settled waits for the follower, and the follower for it: counts then tell of the same moment.
LATE_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || ':metering:late', 0))"

# Up to when every source has told of its usage that was heard of within some time before.
WATERMARK = """
SELECT min(watermark_at) FROM metering_usagesource WHERE last_received_at >= %(heard_since)s
"""

# Usage that its billed window does not account for, and that waits in no inbox: the follower has passed it, so nobody
# else will find it. What it has yet to reach is seconds old.
UNACCOUNTED = f"""
SELECT w.id::text || ' ' || m.code || ': ' || count(*) || ' events without an outcome'
FROM metering_usagewindow w JOIN metering_meter m ON m.id = w.meter_id
CROSS JOIN metering_usagefollower f
JOIN metering_usageevent e ON e.customer_id = w.customer_id
 AND (e.subscription_id IS NULL OR e.subscription_id = w.subscription_id)
 AND e.occurred_at >= w.starts_at AND e.occurred_at < w.ends_at AND {EVENT_MATCHES}
 AND e.recorded_xid::text::bigint >= pg_snapshot_xmin(w.snapshot::pg_snapshot)::text::bigint
 AND NOT pg_visible_in_snapshot(e.recorded_xid, w.snapshot::pg_snapshot)
 AND pg_visible_in_snapshot(e.recorded_xid, f.done_snapshot::pg_snapshot)
WHERE NOT EXISTS (SELECT FROM metering_lateusage l WHERE l.window_id = w.id AND l.status = 'FOUND')
GROUP BY w.id, m.code ORDER BY 1 LIMIT %(limit)s
"""


def _counts_in(snapshot: str) -> str:
    return f"""(
        pg_visible_in_snapshot(e.recorded_xid, %({snapshot})s::pg_snapshot) AND NOT EXISTS (
            SELECT FROM metering_usagecancellation x WHERE x.event_key = e.event_key
            AND pg_visible_in_snapshot(x.recorded_xid, %({snapshot})s::pg_snapshot)
        ))"""


# What one reader counted and a later one did not, or the other way round. With what is carried over, of any time.
EVENTS_CHANGED = f"""
SELECT e.event_key, e.source, e.event_id, e.type, e.customer_id, e.subscription_id, e.occurred_at, e.received_at,
       e.quantity, e.properties
FROM metering_usageevent e JOIN metering_meter m ON {RAW_SCOPE}
WHERE (e.occurred_at >= %(starts_at)s OR m.has_carry_over) AND e.occurred_at < %(ends_at)s
  AND {_counts_in("snapshot_before")} <> {_counts_in("snapshot_after")}
ORDER BY {EVENT_ORDER} LIMIT %(limit)s
"""
