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

COUNTERS = f"""
SELECT c.customer_id, c.meter_id, c.starts_at, coalesce(made.used, 0), coalesce(made.n, 0), c.used_units, c.event_count
FROM metering_usagecounter c JOIN metering_meter m ON m.id = c.meter_id
LEFT JOIN LATERAL (
    SELECT count(*) AS n,
           CASE m.aggregation WHEN 'max' THEN max({EVENT_VALUE}) ELSE sum({EVENT_VALUE}) END AS used
    FROM metering_usageevent e WHERE {IN_WINDOW} AND {EVENT_MATCHES} AND {STANDS}
) made ON true
WHERE {_asked("starts_at")} AND m.aggregation IN ('count', 'sum', 'max')
  AND (coalesce(made.used, 0), coalesce(made.n, 0)) IS DISTINCT FROM (c.used_units, c.event_count)
ORDER BY 1, 2, 3 LIMIT %(limit)s
"""
