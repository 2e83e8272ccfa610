"""How usage is read from the rollups: whole hours from them, the edges of the window from raw events.

Each is one statement, so that rollups, edges and snapshot tell of the same instant. Time is weighed in microseconds, as
exact numbers: `until` is how far the area of a part reaches, and from there on its total goes on lasting.
"""

from apps.metering.usage_fold_sql import IS_PRESENT, LABEL_KEY, LAST_ORDER
from apps.metering.usage_sql import AT_THE_EDGES, RAW_NOW, TOTALS_OF, TOTALS_SCOPE
from apps.metering.usage_tables_sql import EVENT_DIMENSIONS, EVENT_VALUE

_EDGES = f"FROM metering_usageevent e JOIN metering_meter m ON {RAW_NOW} WHERE {AT_THE_EDGES}"

# A total whose events are all cancelled is there and empty.
_WHOLE_HOURS = f"""
    SELECT a.hour, a.dimensions, a.event_count AS n, a.value_sum AS total, a.value_max AS largest,
           a.value_min AS smallest, a.value_area AS area, a.hour + interval '1 hour' AS until
    FROM metering_usageaggregate a WHERE {TOTALS_SCOPE} AND a.event_count > 0
"""
_PARTS = f"""
    {_WHOLE_HOURS}
    UNION ALL
    SELECT r.hour, r.dimensions, 1, r.value, r.value, r.value, 0, r.hour
    FROM (SELECT e.occurred_at AS hour, {EVENT_DIMENSIONS} AS dimensions, {EVENT_VALUE} AS value {_EDGES} OFFSET 0) r
"""

_QUANTITY = """
SELECT coalesce(sum(n), 0)::bigint, coalesce(sum(total), 0), coalesce(max(largest), 0), coalesce(min(smallest), 0),
       pg_current_snapshot()::text
FROM ({parts}) parts
"""
QUANTITY = _QUANTITY.format(parts=_PARTS)
# Most windows begin and end with an hour; then there is nothing to read of the events, nor to plan for their months.
QUANTITY_OF_HOURS = _QUANTITY.format(parts=_WHOLE_HOURS)

# What came before the window of a meter that carries over: its level, there from the beginning of the window.
_CARRIED_HOURS = f"""
    SELECT NULL::timestamptz AS hour, a.dimensions, 0 AS n, a.value_sum AS total, 0 AS largest, 0 AS smallest,
           0 AS area, %(starts_at)s::timestamptz AS until
    FROM metering_usageaggregate a WHERE %(carries_over)s AND {TOTALS_OF} AND a.hour < %(carried_until)s
"""
_CARRIED = f"""
    {_CARRIED_HOURS}
    UNION ALL
    SELECT NULL, {EVENT_DIMENSIONS}, 0, {EVENT_VALUE}, 0, 0, 0, %(starts_at)s
    FROM metering_usageevent e JOIN metering_meter m ON {RAW_NOW}
    WHERE %(carries_over)s AND e.occurred_at >= %(carried_until)s AND e.occurred_at < %(starts_at)s
"""


def _area_until(instant: str) -> str:
    return f"area + total * 1000000 * extract(epoch FROM {instant} - until)"


_WEIGHTED = f"""
SELECT coalesce(sum(n), 0)::bigint, coalesce(sum({_area_until("%(ends_at)s")}), 0), pg_current_snapshot()::text
FROM ({{parts}} UNION ALL {{carried}}) parts
"""
WEIGHTED = _WEIGHTED.format(parts=_PARTS, carried=_CARRIED)
WEIGHTED_OF_HOURS = _WEIGHTED.format(parts=_WHOLE_HOURS, carried=_CARRIED_HOURS)

_ORDER_BACKWARD = ", ".join(f"{name} DESC" for name in LAST_ORDER.split(", "))

# `last_from` lies before the window for a meter that carries over: what was there before it goes on being there.
_LAST_OF_HOURS = f"""
    SELECT a.hour, a.dimensions, a.label_key, a.value, a.is_present, {LAST_ORDER}
    FROM metering_usagelast a WHERE {TOTALS_OF} AND a.hour >= %(last_from)s AND a.hour < %(last_until)s
"""
_LAST_PARTS = f"""
    {_LAST_OF_HOURS}
    UNION ALL
    SELECT r.hour, r.dimensions, r.label_key, r.value, r.is_present, {LAST_ORDER}
    FROM (
        SELECT e.occurred_at AS hour, {EVENT_DIMENSIONS} AS dimensions, {LABEL_KEY} AS label_key,
               {EVENT_VALUE} AS value, {IS_PRESENT} AS is_present,
               e.occurred_at, e.received_at, e.recorded_xid, e.batch_position, e.event_key
        FROM metering_usageevent e JOIN metering_meter m ON {RAW_NOW}
        WHERE (e.occurred_at >= %(head_from)s AND e.occurred_at < %(head_until)s)
           OR (e.occurred_at >= %(tail_from)s AND e.occurred_at < %(ends_at)s)
        OFFSET 0
    ) r
"""
_EVENTS_OF_WINDOW = f"SELECT coalesce(sum(n), 0)::bigint FROM ({_PARTS}) parts"
_EVENTS_OF_HOURS = f"SELECT coalesce(sum(n), 0)::bigint FROM ({_WHOLE_HOURS}) parts"

_LATEST = f"""
SELECT ({{events}}),
       coalesce((SELECT value FROM ({{parts}}) readings ORDER BY {_ORDER_BACKWARD} LIMIT 1), 0),
       pg_current_snapshot()::text
"""
_UNIQUE = f"""
SELECT ({{events}}), count(*) FILTER (WHERE is_present)::numeric, pg_current_snapshot()::text
FROM (
    SELECT DISTINCT ON (label_key) is_present FROM ({{parts}}) readings ORDER BY label_key, {_ORDER_BACKWARD}
) labels
"""
LATEST = _LATEST.format(events=_EVENTS_OF_WINDOW, parts=_LAST_PARTS)
UNIQUE = _UNIQUE.format(events=_EVENTS_OF_WINDOW, parts=_LAST_PARTS)
LATEST_OF_HOURS = _LATEST.format(events=_EVENTS_OF_HOURS, parts=_LAST_OF_HOURS)
UNIQUE_OF_HOURS = _UNIQUE.format(events=_EVENTS_OF_HOURS, parts=_LAST_OF_HOURS)

# Which of some labels, by their keys, are there in the window already.
LABELS_KNOWN = f"""
SELECT DISTINCT label_key FROM ({_LAST_PARTS}) readings WHERE label_key = ANY(%(label_keys)s::bytea[])
"""

_BUCKET = "date_trunc(%(granularity)s, hour, 'UTC')"
_BUCKET_END = """
    least((date_trunc(%(granularity)s, hour AT TIME ZONE 'UTC') + %(span)s::interval) AT TIME ZONE 'UTC',
          %(ends_at)s)
"""
_GROUPING = """
    coalesce((SELECT jsonb_object_agg(d, dimensions -> d) FROM unnest(%(group_by)s::text[]) d), '{}')
"""

SERIES = f"""
SELECT {_BUCKET} AS bucket, {_GROUPING} AS grouping, sum(n)::bigint, sum(total), max(largest), min(smallest)
FROM ({_PARTS}) parts GROUP BY 1, 2 ORDER BY 1, 2 LIMIT %(limit)s
"""

# A row without a bucket is the level that a group brings into the window.
SERIES_WEIGHTED = f"""
SELECT {_BUCKET} AS bucket, {_GROUPING} AS grouping, sum(n)::bigint, sum(total),
       sum({_area_until(_BUCKET_END)})
FROM ({_PARTS} UNION ALL {_CARRIED}) parts GROUP BY 1, 2 ORDER BY 1 NULLS FIRST, 2
"""

SERIES_LAST = f"""
WITH counted AS (
    SELECT {_BUCKET} AS bucket, {_GROUPING} AS grouping, sum(n)::bigint AS n FROM ({_PARTS}) parts GROUP BY 1, 2
), last AS (
    SELECT DISTINCT ON (bucket, grouping, label_key) bucket, grouping, label_key, value, is_present
    FROM (
        SELECT {_BUCKET} AS bucket, {_GROUPING} AS grouping, label_key, value, is_present, {LAST_ORDER}
        FROM ({_LAST_PARTS}) parts
    ) readings
    ORDER BY bucket, grouping, label_key, {_ORDER_BACKWARD}
)
SELECT bucket, grouping, c.n,
       CASE WHEN %(is_unique)s THEN (SELECT count(*) FROM last l
                                     WHERE l.bucket = c.bucket AND l.grouping = c.grouping AND l.is_present)::numeric
            ELSE (SELECT l.value FROM last l WHERE l.bucket = c.bucket AND l.grouping = c.grouping) END
FROM counted c ORDER BY 1, 2 LIMIT %(limit)s
"""
