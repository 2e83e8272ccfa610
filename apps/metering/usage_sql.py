"""How usage is read: totals for whole hours, raw events for the edges, or raw events alone as proof."""

from apps.metering.usage_tables_sql import EVENT_DIMENSIONS, EVENT_MATCHES, EVENT_VALUE, NO_SUBSCRIPTION

# An event that names no subscription counts for each subscription of its customer that is charged by the meter; one
# that names a subscription counts for that one. Asked without a subscription, all of the customer's events count.
RAW_SCOPE = f"""
    m.id = %(meter_id)s AND e.customer_id = %(customer_id)s
    AND (%(subscription_id)s::uuid IS NULL OR e.subscription_id IS NULL
         OR e.subscription_id = %(subscription_id)s::uuid)
    AND {EVENT_MATCHES}
"""

TOTALS_OF = f"""
    a.meter_id = %(meter_id)s AND a.customer_id = %(customer_id)s
    AND (%(subscription_id)s::uuid IS NULL
         OR a.subscription_id IN ('{NO_SUBSCRIPTION}', %(subscription_id)s::uuid))
"""
_TOTALS_SCOPE = f"{TOTALS_OF} AND a.hour >= %(whole_from)s AND a.hour < %(whole_until)s"

# The edges of a window that does not begin or end with an hour: at most two spans shorter than an hour each.
_AT_THE_EDGES = """
    ((e.occurred_at >= %(starts_at)s AND e.occurred_at < %(edge_until)s)
     OR (e.occurred_at >= %(edge_from)s AND e.occurred_at < %(ends_at)s))
"""

# Written by a transaction that the snapshot had seen, or by the one that asks.
SEEN_BY_SNAPSHOT = """
    (pg_visible_in_snapshot(e.recorded_xid, %(snapshot)s::pg_snapshot)
     OR e.recorded_xid = pg_current_xact_id_if_assigned())
"""

# By time of occurrence, then by arrival: the batch, the place in it. The key decides where batches came at once.
EVENT_ORDER = "e.occurred_at, e.received_at, e.recorded_xid, e.batch_position, e.event_key"


def texts_of(document: str) -> str:
    """Return the expression for the texts of the properties that are asked for, in their order, of a document."""
    return f"ARRAY(SELECT {document} ->> p FROM unnest(%(properties)s::text[]) WITH ORDINALITY u(p, n) ORDER BY n)"


# One statement, so totals, edges and snapshot tell of the same instant.
QUANTITY = f"""
SELECT coalesce(sum(n), 0)::bigint, coalesce(sum(total), 0), coalesce(max(largest), 0), pg_current_snapshot()::text
FROM (
    SELECT a.event_count AS n, a.value_sum AS total, a.value_max AS largest
    FROM metering_usageaggregate a WHERE {_TOTALS_SCOPE}
    UNION ALL
    SELECT 1, {EVENT_VALUE}, {EVENT_VALUE}
    FROM metering_usageevent e JOIN metering_meter m ON {RAW_SCOPE} WHERE {_AT_THE_EDGES}
) parts
"""

QUANTITY_FROM_EVENTS = f"""
SELECT count(*), coalesce(sum(value), 0), coalesce(max(value), 0), %(snapshot)s
FROM (
    SELECT {EVENT_VALUE} AS value FROM metering_usageevent e JOIN metering_meter m ON {RAW_SCOPE}
    WHERE e.occurred_at >= %(starts_at)s AND e.occurred_at < %(ends_at)s AND {SEEN_BY_SNAPSHOT}
) counted
"""

EVENTS_SAMPLE = f"""
SELECT e.event_key, e.source, e.event_id, e.type, e.customer_id, e.subscription_id, e.occurred_at, e.received_at,
       e.quantity, e.properties
FROM metering_usageevent e JOIN metering_meter m ON {RAW_SCOPE}
WHERE e.occurred_at >= %(starts_at)s AND e.occurred_at < %(ends_at)s AND {SEEN_BY_SNAPSHOT}
ORDER BY {EVENT_ORDER} LIMIT %(limit)s
"""

# The same two readings by the texts of some of the meter's groupings. There is always a first row: it brings the
# snapshot of a reading that finds nothing.
GROUPS = f"""
SELECT s.snapshot, groups.*
FROM (SELECT pg_current_snapshot()::text AS snapshot) s
LEFT JOIN (
    SELECT texts, sum(n)::bigint, sum(total), max(largest)
    FROM (
        SELECT {texts_of("a.dimensions")} AS texts, a.event_count AS n, a.value_sum AS total, a.value_max AS largest
        FROM metering_usageaggregate a WHERE {_TOTALS_SCOPE}
        UNION ALL
        SELECT {texts_of("e.properties")}, 1, {EVENT_VALUE}, {EVENT_VALUE}
        FROM metering_usageevent e JOIN metering_meter m ON {RAW_SCOPE} WHERE {_AT_THE_EDGES}
    ) parts
    GROUP BY 1
) groups ON true
"""

GROUPS_FROM_EVENTS = f"""
SELECT %(snapshot)s, texts, count(*), sum(value), max(value)
FROM (
    SELECT {texts_of("e.properties")} AS texts, {EVENT_VALUE} AS value
    FROM metering_usageevent e JOIN metering_meter m ON {RAW_SCOPE}
    WHERE e.occurred_at >= %(starts_at)s AND e.occurred_at < %(ends_at)s AND {SEEN_BY_SNAPSHOT}
) counted
GROUP BY texts
"""

SERIES = f"""
SELECT date_trunc(%(granularity)s, hour, 'UTC') AS bucket,
       coalesce((SELECT jsonb_object_agg(d, dimensions -> d) FROM unnest(%(group_by)s::text[]) d), '{{}}') AS grouping,
       sum(n)::bigint, sum(total), max(largest)
FROM (
    SELECT a.hour, a.dimensions, a.event_count AS n, a.value_sum AS total, a.value_max AS largest
    FROM metering_usageaggregate a WHERE {_TOTALS_SCOPE}
    UNION ALL
    SELECT e.occurred_at, {EVENT_DIMENSIONS}, 1, {EVENT_VALUE}, {EVENT_VALUE}
    FROM metering_usageevent e JOIN metering_meter m ON {RAW_SCOPE} WHERE {_AT_THE_EDGES}
) parts
GROUP BY 1, 2 ORDER BY 1, 2 LIMIT %(limit)s
"""

# Every total rebuilt from the raw events and laid beside the stored one; what fits is not returned. `since` is a whole
# hour, so that a total is rebuilt from all of its events or not at all.
COMPARE = f"""
WITH rebuilt AS (
    SELECT e.customer_id, m.id AS meter_id, date_trunc('hour', e.occurred_at, 'UTC') AS hour,
           coalesce(e.subscription_id, '{NO_SUBSCRIPTION}') AS subscription_id, {EVENT_DIMENSIONS} AS dimensions,
           count(*) AS n, sum({EVENT_VALUE}) AS total, max({EVENT_VALUE}) AS largest
    FROM metering_usageevent e JOIN metering_meter m ON {EVENT_MATCHES}
    WHERE (%(customer_id)s::uuid IS NULL OR e.customer_id = %(customer_id)s::uuid)
      AND (%(since)s::timestamptz IS NULL OR e.occurred_at >= %(since)s::timestamptz)
    GROUP BY 1, 2, 3, 4, 5
)
SELECT coalesce(r.customer_id, a.customer_id), coalesce(r.meter_id, a.meter_id), coalesce(r.hour, a.hour),
       r.n, r.total, r.largest, a.event_count, a.value_sum, a.value_max
FROM rebuilt r FULL JOIN (
    SELECT * FROM metering_usageaggregate
    WHERE (%(customer_id)s::uuid IS NULL OR customer_id = %(customer_id)s::uuid)
      AND (%(since)s::timestamptz IS NULL OR hour >= %(since)s::timestamptz)
) a USING (customer_id, meter_id, hour, subscription_id, dimensions)
WHERE (r.n, r.total, r.largest) IS DISTINCT FROM (a.event_count, a.value_sum, a.value_max)
ORDER BY 1, 2, 3 LIMIT %(limit)s
"""
