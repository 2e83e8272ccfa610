"""How usage is read by group, from raw events alone as proof, and the parts that all readings share."""

from apps.metering.usage_rebuild_sql import STANDS
from apps.metering.usage_tables_sql import EVENT_MATCHES, EVENT_VALUE, NO_SUBSCRIPTION

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
TOTALS_SCOPE = f"{TOTALS_OF} AND a.hour >= %(whole_from)s AND a.hour < %(whole_until)s"

# As it stands now: without what is cancelled.
RAW_NOW = f"{RAW_SCOPE} AND {STANDS}"

# The edges of a window that does not begin or end with an hour: at most two spans shorter than an hour each.
AT_THE_EDGES = """
    ((e.occurred_at >= %(starts_at)s AND e.occurred_at < %(edge_until)s)
     OR (e.occurred_at >= %(edge_from)s AND e.occurred_at < %(ends_at)s))
"""

# Written by a transaction that the snapshot had seen, or by the one that asks; cancelled by none of them.
SEEN_BY_SNAPSHOT = """
    (pg_visible_in_snapshot(e.recorded_xid, %(snapshot)s::pg_snapshot)
     OR e.recorded_xid = pg_current_xact_id_if_assigned())
    AND NOT EXISTS (
        SELECT FROM metering_usagecancellation x
        WHERE x.event_key = e.event_key AND (pg_visible_in_snapshot(x.recorded_xid, %(snapshot)s::pg_snapshot)
              OR x.recorded_xid = pg_current_xact_id_if_assigned()))
"""

# By time of occurrence, then by arrival: the batch, the place in it. The key decides where batches came at once.
EVENT_ORDER = "e.occurred_at, e.received_at, e.recorded_xid, e.batch_position, e.event_key"


def texts_of(document: str) -> str:
    """Return the expression for the texts of the properties that are asked for, in their order, of a document."""
    return f"ARRAY(SELECT {document} ->> p FROM unnest(%(properties)s::text[]) WITH ORDINALITY u(p, n) ORDER BY n)"


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
        FROM metering_usageaggregate a WHERE {TOTALS_SCOPE}
        UNION ALL
        SELECT {texts_of("e.properties")}, 1, {EVENT_VALUE}, {EVENT_VALUE}
        FROM metering_usageevent e JOIN metering_meter m ON {RAW_NOW} WHERE {AT_THE_EDGES}
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
