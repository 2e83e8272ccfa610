"""The triggers that keep rollups and counters: no path that writes an event can forget them.

Each works on all rows of one statement and touches its rows in key order, so that two writers wait for each other and
never in a circle. The counters come before the totals everywhere (triggers of one table fire by name), because whoever
enforces a limit locks its counter before the events are written. Costs are measured in `benchmarks/metering`: the
value is read once behind a fence (OFFSET 0), groupings are joined to JSON once per group, not per event, and what is
sorted is the groups, not the events.
"""

from apps.metering.usage_tables_sql import (
    EVENT_DIMENSIONS,
    EVENT_VALUE,
    HAS_LABEL,
    HAS_NUMBER,
    HAS_WEIGHT,
    NO_SUBSCRIPTION,
    SINCE_DEFINED,
)

HOUR_OF_EVENT = "date_bin('1 hour', e.occurred_at, '2000-01-01 00:00:00+00')"
_HOUR_MICROSECONDS = 3_600_000_000
# Numbers of PostgreSQL are exact, and so are the seconds of an interval.
AREA = f"""
    r.value * ({_HOUR_MICROSECONDS} - 1000000 * extract(epoch FROM r.occurred_at - r.hour))
"""

# What of a meter decides about each event, made ready once per statement. Whoever writes now was not seen by any
# snapshot under which a meter was defined, so that all meters that are there count what is written; only an event that
# stands for an older one has to ask.
METERS = """
    SELECT m.*, m.filters <> '{}' AS has_filters, m.retired_at IS NOT NULL AS is_retired,
           m.group_by[1]::text AS name1, m.group_by[2]::text AS name2, m.group_by[3]::text AS name3,
           m.group_by[4]::text AS name4, m.group_by[5]::text AS name5
    FROM metering_meter m
"""

# A current version reads what the door has checked; a retired one leaves out what it cannot add up.
_CAN_COUNT = f"""
    CASE WHEN m.aggregation = 'count' THEN true WHEN m.aggregation = 'unique_count' THEN {HAS_LABEL}
         WHEN m.is_retired THEN {HAS_NUMBER} ELSE true END
    AND CASE WHEN m.is_retired THEN {HAS_WEIGHT} ELSE true END
"""

_IS_OF_METER = f"(e.stands_for_xid IS NULL OR {SINCE_DEFINED})"

_FRESH = f"""
    FROM fresh e JOIN meters m ON m.event_type = e.type AND (NOT m.has_filters OR e.properties @> m.filters)
         AND {_CAN_COUNT} AND {_IS_OF_METER}
"""
# Anything else was refused at the door; a row that somebody inserts by hand counts nothing that cannot be billed.
_IS_COUNTED = "(r.value >= 0 OR r.aggregation = 'weighted_sum')"

_DIMENSIONS_OF_GROUP = """
    CASE WHEN g.group_by = '{}' THEN '{}'::jsonb ELSE (
        SELECT jsonb_object_agg(u.name, u.value)
        FROM unnest(g.group_by, ARRAY[g.value1, g.value2, g.value3, g.value4, g.value5]) u (name, value)
        WHERE u.name IS NOT NULL) END
"""


# An absent property and JSON's null are one group with two hashes: the second grouping joins them.
def totals(source: str, *, condition: str) -> str:
    """Return the query for the totals of each hour and group among the events of a source, in key order."""
    return f"""
        SELECT h.customer_id, h.meter_id, h.hour, h.subscription_id, h.dimensions,
               sum(h.n)::bigint AS n, sum(h.total) AS total, max(h.largest) AS largest, min(h.smallest) AS smallest,
               sum(h.area) AS area
        FROM (
            SELECT g.customer_id, g.meter_id, g.hour, g.subscription_id, {_DIMENSIONS_OF_GROUP} AS dimensions,
                   g.n, g.total, g.largest, g.smallest, g.area
            FROM (
                SELECT r.customer_id, r.meter_id, r.hour, r.subscription_id, r.group_by,
                       r.value1, r.value2, r.value3, r.value4, r.value5,
                       count(*) AS n, sum(r.value) AS total, max(r.value) AS largest, min(r.value) AS smallest,
                       coalesce(sum({AREA}) FILTER (WHERE r.aggregation = 'weighted_sum'), 0) AS area
                FROM (
                    SELECT e.customer_id, m.id AS meter_id, {HOUR_OF_EVENT} AS hour, e.occurred_at, m.aggregation,
                           coalesce(e.subscription_id, '{NO_SUBSCRIPTION}') AS subscription_id, m.group_by,
                           e.properties -> m.name1 AS value1, e.properties -> m.name2 AS value2,
                           e.properties -> m.name3 AS value3, e.properties -> m.name4 AS value4,
                           e.properties -> m.name5 AS value5, {EVENT_VALUE} AS value
                    {source} OFFSET 0
                ) r WHERE {condition}
                GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 OFFSET 0
            ) g OFFSET 0
        ) h
        GROUP BY 1, 2, 3, 4, 5
        ORDER BY 1, 2, 3, 4, 5
    """


_FOLD_TOTALS = f"""
    WITH meters AS MATERIALIZED ({METERS})
    INSERT INTO metering_usageaggregate AS a
        (customer_id, meter_id, hour, subscription_id, dimensions, event_count, value_sum, value_max, value_min,
         value_area)
    {totals(_FRESH, condition=_IS_COUNTED)}
    ON CONFLICT ON CONSTRAINT usage_aggregate_once DO UPDATE SET
        event_count = a.event_count + excluded.event_count,
        value_sum = a.value_sum + excluded.value_sum,
        value_max = greatest(a.value_max, excluded.value_max),
        -- A total whose events were all cancelled has no smallest value.
        value_min = CASE WHEN a.event_count = 0 THEN excluded.value_min ELSE least(a.value_min, excluded.value_min) END,
        value_area = a.value_area + excluded.value_area;
"""

LAST_KEY = "customer_id, meter_id, hour, subscription_id, dimensions, label_key"
LAST_ORDER = "occurred_at, received_at, recorded_xid, batch_position, event_key"
_LAST_ORDER_BACKWARD = ", ".join(f"{name} DESC" for name in LAST_ORDER.split(", "))


def _last_order_of(row: str) -> str:
    return ", ".join(f"{row}.{name}" for name in LAST_ORDER.split(", "))


LABEL_KEY = """
    CASE WHEN m.aggregation = 'unique_count' THEN sha256(convert_to(e.properties ->> m.value_property, 'UTF8'))
         ELSE ''::bytea END
"""
IS_PRESENT = """
    CASE WHEN m.operation_property = '' THEN true ELSE e.properties ->> m.operation_property = 'add' END
"""
# Few meters need the last reading, and tenants without one pay for a look at the meters only.
LAST_KINDS = "('latest', 'unique_count')"


def last_readings(source: str, *, condition: str) -> str:
    """Return the query for the last reading of each hour, group and label among the events of a source."""
    return f"""
        SELECT DISTINCT ON ({LAST_KEY}) {LAST_KEY}, {LAST_ORDER}, value, is_present
        FROM (
            SELECT e.customer_id, m.id AS meter_id, {HOUR_OF_EVENT} AS hour,
                   coalesce(e.subscription_id, '{NO_SUBSCRIPTION}') AS subscription_id,
                   {EVENT_DIMENSIONS} AS dimensions, {LABEL_KEY} AS label_key,
                   e.occurred_at, e.received_at, e.recorded_xid, e.batch_position,
                   e.event_key, {EVENT_VALUE} AS value, {IS_PRESENT} AS is_present, m.aggregation
            {source} OFFSET 0
        ) r WHERE r.aggregation IN {LAST_KINDS} AND {condition}
        ORDER BY {LAST_KEY}, {_LAST_ORDER_BACKWARD}
    """


_FOLD_LAST = f"""
    WITH meters AS MATERIALIZED ({METERS} WHERE m.aggregation IN {LAST_KINDS})
    INSERT INTO metering_usagelast AS l ({LAST_KEY}, {LAST_ORDER}, value, is_present)
    {last_readings(_FRESH, condition=_IS_COUNTED)}
    ON CONFLICT ON CONSTRAINT usage_last_once DO UPDATE SET
        occurred_at = excluded.occurred_at, received_at = excluded.received_at,
        recorded_xid = excluded.recorded_xid, batch_position = excluded.batch_position,
        event_key = excluded.event_key, value = excluded.value, is_present = excluded.is_present
    WHERE ({_last_order_of("excluded")}) > ({_last_order_of("l")});
"""

# The plans are kept for the session and made for the first batch it saw, which may have been a single event: a nested
# loop over the meters would then be paid by each large batch after it.
FOLD_FUNCTION = f"""
CREATE OR REPLACE FUNCTION metering_fold_usage() RETURNS trigger LANGUAGE plpgsql SET enable_nestloop = off AS $fold$
BEGIN
    {_FOLD_TOTALS}
    IF EXISTS (SELECT FROM metering_meter m WHERE m.aggregation IN {LAST_KINDS}
               AND EXISTS (SELECT FROM fresh e WHERE e.type = m.event_type)) THEN
        {_FOLD_LAST}
    END IF;
    RETURN NULL;
END
$fold$;
"""

CREATE_FOLD = f"""
{FOLD_FUNCTION}
CREATE TRIGGER usage_event_fold AFTER INSERT ON metering_usageevent
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION metering_fold_usage();
"""

# An event that names no subscription counts for each window of its customer, and one that names a subscription for the
# windows of that one and for those of all.
IN_WINDOW = f"""
    e.customer_id = c.customer_id AND e.occurred_at >= c.starts_at AND e.occurred_at < c.ends_at
    AND (c.subscription_id = '{NO_SUBSCRIPTION}' OR e.subscription_id IS NULL OR e.subscription_id = c.subscription_id)
"""

# The windows that a batch may touch are found by its customers and its span of time, before any event is looked at.
COUNT_FUNCTION = f"""
CREATE OR REPLACE FUNCTION metering_count_usage() RETURNS trigger LANGUAGE plpgsql SET enable_nestloop = off AS $count$
DECLARE
    customers uuid[];
    first_at timestamptz;
    last_at timestamptz;
BEGIN
    IF NOT EXISTS (SELECT FROM metering_usagecounter) THEN
        RETURN NULL;
    END IF;
    SELECT array_agg(DISTINCT e.customer_id), min(e.occurred_at), max(e.occurred_at)
    INTO customers, first_at, last_at FROM fresh e;
    WITH meters AS MATERIALIZED ({METERS}), watched AS MATERIALIZED (
        SELECT c.counter_id, c.customer_id AS of_customer, c.subscription_id AS of_subscription, c.starts_at, c.ends_at,
               m.*
        FROM metering_usagecounter c JOIN meters m ON m.id = c.meter_id
        WHERE c.customer_id = ANY (customers) AND c.ends_at > first_at AND c.starts_at <= last_at
    ), counted AS MATERIALIZED (
        SELECT r.counter_id, count(*) AS n, sum(r.value) AS total, max(r.value) AS largest
        FROM (
            SELECT m.counter_id, m.aggregation, {EVENT_VALUE} AS value
            FROM fresh e JOIN watched m ON m.of_customer = e.customer_id AND m.event_type = e.type
                 AND e.occurred_at >= m.starts_at AND e.occurred_at < m.ends_at
                 AND (m.of_subscription = '{NO_SUBSCRIPTION}' OR e.subscription_id IS NULL
                      OR e.subscription_id = m.of_subscription)
                 AND (NOT m.has_filters OR e.properties @> m.filters) AND {_CAN_COUNT} AND {_IS_OF_METER} OFFSET 0
        ) r WHERE {_IS_COUNTED} GROUP BY 1
    ), held AS MATERIALIZED (
        SELECT c.counter_id FROM metering_usagecounter c
        WHERE c.counter_id = ANY (ARRAY(SELECT counter_id FROM counted)) ORDER BY c.counter_id FOR UPDATE
    )
    UPDATE metering_usagecounter c SET
        used_units = CASE m.aggregation WHEN 'max' THEN greatest(c.used_units, counted.largest)
                     WHEN 'count' THEN c.used_units + counted.total WHEN 'sum' THEN c.used_units + counted.total
                     ELSE c.used_units END,
        event_count = c.event_count + counted.n
    FROM counted JOIN held USING (counter_id) JOIN watched m USING (counter_id)
    WHERE c.counter_id = counted.counter_id AND c.counter_id = ANY (ARRAY(SELECT counter_id FROM counted));
    RETURN NULL;
END
$count$;
"""

CREATE_COUNT = f"""
{COUNT_FUNCTION}
CREATE TRIGGER usage_event_count AFTER INSERT ON metering_usageevent
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION metering_count_usage();
"""
DROP_COUNT = """
DROP TRIGGER usage_event_count ON metering_usageevent;
DROP FUNCTION metering_count_usage();
"""
