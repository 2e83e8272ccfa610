"""How stored events are found by their identity, cancelled in one statement, and what they are for the meters."""

from apps.metering.usage_tables_sql import EVENT_DIMENSIONS, EVENT_MATCHES, EVENT_VALUE, SINCE_DEFINED, WRITTEN_XID

# Identity and event were written with one instant, and events are found by it: they have no index of their own by key.
RECEIVED_AT = """
SELECT count(*), array_agg(DISTINCT received_at) FROM metering_usageeventkey WHERE event_key = ANY(%(keys)s::uuid[])
"""

# Without instants, all events are read: only a tenant that lets ids be forgotten has events without one.
_BY_KEY = """
    e.event_key = ANY(%(keys)s::uuid[])
    AND (%(received)s::timestamptz[] IS NULL OR e.received_at = ANY(%(received)s::timestamptz[]))
"""

STORED_EVENTS = f"""
SELECT replace(e.event_key::text, '-', ''), e.source, e.event_id, e.type, e.customer_id, e.subscription_id,
       e.occurred_at, e.received_at, e.quantity, e.properties::text, {WRITTEN_XID}::text, c.correction_id
FROM metering_usageevent e LEFT JOIN metering_usagecancellation c ON c.event_key = e.event_key
WHERE {_BY_KEY}
ORDER BY e.received_at
"""

# Where ids are forgotten, one id may name several events; a cancellation is by id and would take all of them.
USED_AGAIN = """
SELECT replace(event_key::text, '-', '') FROM metering_usageevent WHERE event_key = ANY(%(keys)s::uuid[])
GROUP BY event_key HAVING count(*) > 1
"""

# In key order, so that two corrections that share events wait for each other and never in a circle. What another one
# cancelled meanwhile is not returned.
CANCEL = """
INSERT INTO metering_usagecancellation (event_key, customer_id, type, occurred_at, correction_id, cancelled_at)
SELECT fresh.event_key, fresh.customer_id, fresh.type, fresh.occurred_at, %(correction_id)s, %(at)s
FROM unnest(%(keys)s::uuid[], %(customers)s::uuid[], %(types)s::text[], %(instants)s::timestamptz[])
     AS fresh (event_key, customer_id, type, occurred_at)
ORDER BY fresh.event_key
ON CONFLICT (event_key) DO NOTHING
RETURNING replace(event_key::text, '-', '')
"""

# Exact for count and sum, whatever the window; for the others it says which meters and customers are touched. By place:
# at another instant, for another subscription or of other dimensions, the same units may cost something else.
UNITS_OF_EVENTS = f"""
SELECT customer_id, meter_id, place, sum(units) FROM (
    SELECT e.customer_id, m.id AS meter_id, {EVENT_VALUE} AS units,
           concat_ws(' ', e.occurred_at, e.subscription_id, {EVENT_DIMENSIONS}) AS place
    FROM metering_usageevent e JOIN metering_meter m ON {EVENT_MATCHES}
    WHERE {_BY_KEY}
) counted
GROUP BY 1, 2, 3
"""

# Events that a meter would count had it been defined when they were written.
OLDER_THAN_METER = f"""
SELECT replace(e.event_key::text, '-', '')
FROM metering_usageevent e
JOIN metering_meter m ON m.id = %(meter_id)s AND m.event_type = e.type AND e.properties @> m.filters
WHERE e.customer_id = %(customer_id)s AND e.occurred_at >= %(starts_at)s AND e.occurred_at < %(ends_at)s
  AND NOT {SINCE_DEFINED}
  AND NOT EXISTS (SELECT FROM metering_usagecancellation c WHERE c.event_key = e.event_key)
ORDER BY e.occurred_at, e.event_key
LIMIT %(limit)s
"""

# One event of a type and day that no meter counts to this day.
UNCOUNTED_SAMPLE = f"""
SELECT e.event_key, e.occurred_at FROM metering_usageevent e
WHERE e.type = %(type)s AND e.occurred_at >= %(starts_at)s AND e.occurred_at < %(ends_at)s
  AND NOT EXISTS (SELECT FROM metering_meter m WHERE {EVENT_MATCHES})
  AND NOT EXISTS (SELECT FROM metering_usagecancellation c WHERE c.event_key = e.event_key)
LIMIT 1
"""
