"""Every rollup made anew from the raw events and laid beside the stored one; what fits is not returned.

`since` and `until` are whole hours, so that a rollup is made from all of its events or not at all.
"""

from apps.metering.usage_fold_sql import IN_WINDOW, LAST_KEY, LAST_KINDS, LAST_ORDER, METERS, last_readings, totals
from apps.metering.usage_rebuild_sql import STANDS
from apps.metering.usage_tables_sql import EVENT_MATCHES, EVENT_VALUE


def _asked(time: str) -> str:
    return f"""
        (%(customer_id)s::uuid IS NULL OR customer_id = %(customer_id)s::uuid)
        AND (%(since)s::timestamptz IS NULL OR {time} >= %(since)s::timestamptz)
        AND (%(until)s::timestamptz IS NULL OR {time} < %(until)s::timestamptz)
    """


_EVENTS = f"FROM metering_usageevent e JOIN meters m ON {EVENT_MATCHES} WHERE {STANDS} AND {_asked('e.occurred_at')}"

# A total whose events are all cancelled is there and empty, and equals none.
TOTALS = f"""
WITH meters AS MATERIALIZED ({METERS}), made AS ({totals(_EVENTS, condition="true")})
SELECT customer_id, meter_id, hour, r.n, r.total, r.largest, r.smallest, r.area,
       a.event_count, a.value_sum, a.value_max, a.value_min, a.value_area
FROM made r FULL JOIN (
    SELECT * FROM metering_usageaggregate WHERE event_count > 0 AND {_asked("hour")}
) a USING (customer_id, meter_id, hour, subscription_id, dimensions)
WHERE (r.n, r.total, r.largest, r.smallest, r.area)
      IS DISTINCT FROM (a.event_count, a.value_sum, a.value_max, a.value_min, a.value_area)
ORDER BY 1, 2, 3 LIMIT %(limit)s
"""


def _columns(row: str) -> str:
    return ", ".join(f"{row}.{name}" for name in (*LAST_ORDER.split(", "), "value", "is_present"))


LAST = f"""
WITH meters AS MATERIALIZED ({METERS} WHERE m.aggregation IN {LAST_KINDS}),
made AS ({last_readings(_EVENTS, condition="true")})
SELECT customer_id, meter_id, hour, r.occurred_at, r.value, r.is_present, l.occurred_at, l.value, l.is_present
FROM made r FULL JOIN (SELECT * FROM metering_usagelast WHERE {_asked("hour")}) l USING ({LAST_KEY})
WHERE ({_columns("r")}) IS DISTINCT FROM ({_columns("l")})
ORDER BY 1, 2, 3 LIMIT %(limit)s
"""

# Each event meets the windows of its customer once, however many there are.
COUNTERS = f"""
WITH asked AS MATERIALIZED (
    SELECT c.*, m.aggregation FROM metering_usagecounter c JOIN metering_meter m ON m.id = c.meter_id
    WHERE m.aggregation IN ('count', 'sum', 'max') AND {_asked("c.starts_at")}
), made AS MATERIALIZED (
    SELECT r.counter_id, count(*) AS n, sum(r.value) AS total, max(r.value) AS largest
    FROM (
        SELECT c.counter_id, {EVENT_VALUE} AS value
        FROM metering_usageevent e JOIN asked c ON {IN_WINDOW}
        JOIN metering_meter m ON m.id = c.meter_id AND {EVENT_MATCHES}
        WHERE e.occurred_at >= (SELECT min(starts_at) FROM asked)
          AND e.occurred_at < (SELECT max(ends_at) FROM asked) AND {STANDS} OFFSET 0
    ) r GROUP BY 1
)
SELECT c.customer_id, c.meter_id, c.starts_at,
       coalesce(CASE c.aggregation WHEN 'max' THEN made.largest ELSE made.total END, 0), coalesce(made.n, 0),
       c.used_units, c.event_count
FROM asked c LEFT JOIN made USING (counter_id)
WHERE (coalesce(CASE c.aggregation WHEN 'max' THEN made.largest ELSE made.total END, 0), coalesce(made.n, 0))
      IS DISTINCT FROM (c.used_units, c.event_count)
ORDER BY 1, 2, 3 LIMIT %(limit)s
"""
