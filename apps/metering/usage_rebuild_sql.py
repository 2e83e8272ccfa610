"""Rollups of an hour made anew from its raw events: after a cancellation, and to mend what differs.

The totals are locked before the events are read. Whoever has written an event and not committed yet is either waited
for, because the fold holds the same totals, or adds to what is made here: nothing is lost and nothing doubled.
"""

from apps.metering.usage_fold_sql import IN_WINDOW, LAST_KEY, LAST_KINDS, LAST_ORDER, METERS, last_readings, totals
from apps.metering.usage_tables_sql import EVENT_MATCHES, EVENT_VALUE

# Not cancelled, as far as this statement sees.
STANDS = "NOT EXISTS (SELECT FROM metering_usagecancellation x WHERE x.event_key = e.event_key)"

_EVENTS_OF_HOUR = f"""
    FROM metering_usageevent e JOIN meters m ON {EVENT_MATCHES}
    WHERE e.customer_id = ANY (customers) AND e.occurred_at >= span AND e.occurred_at < span + interval '1 hour'
      AND {STANDS}
"""
_REBUILT = f"WITH meters AS MATERIALIZED ({METERS}) {totals(_EVENTS_OF_HOUR, condition='true')}"
_TOTALS_OF_HOUR = "a.customer_id = ANY (customers) AND a.hour = span"

REBUILD_FUNCTION = f"""
CREATE OR REPLACE FUNCTION metering_rebuild_hour(customers uuid[], span timestamptz) RETURNS void LANGUAGE plpgsql
SET enable_nestloop = off AS $rebuild$
BEGIN
    -- A total that is missing is made first, so that it can be locked like the others.
    INSERT INTO metering_usageaggregate
        (customer_id, meter_id, hour, subscription_id, dimensions, event_count, value_sum, value_max)
    SELECT t.customer_id, t.meter_id, t.hour, t.subscription_id, t.dimensions, 0, 0, 0 FROM ({_REBUILT}) t
    ON CONFLICT ON CONSTRAINT usage_aggregate_once DO NOTHING;
    PERFORM FROM metering_usageaggregate a WHERE {_TOTALS_OF_HOUR}
        ORDER BY a.customer_id, a.meter_id, a.hour, a.subscription_id, a.dimensions FOR UPDATE;
    UPDATE metering_usageaggregate a SET
        event_count = coalesce(made.n, 0), value_sum = coalesce(made.total, 0), value_max = coalesce(made.largest, 0),
        value_min = coalesce(made.smallest, 0), value_area = coalesce(made.area, 0)
    FROM (
        SELECT a.customer_id, a.meter_id, a.hour, a.subscription_id, a.dimensions,
               t.n, t.total, t.largest, t.smallest, t.area
        FROM metering_usageaggregate a
        LEFT JOIN ({_REBUILT}) t USING (customer_id, meter_id, hour, subscription_id, dimensions)
        WHERE {_TOTALS_OF_HOUR}
    ) made
    WHERE (a.customer_id, a.meter_id, a.hour, a.subscription_id, a.dimensions)
        = (made.customer_id, made.meter_id, made.hour, made.subscription_id, made.dimensions);
    DELETE FROM metering_usagelast l WHERE l.customer_id = ANY (customers) AND l.hour = span;
    WITH meters AS MATERIALIZED ({METERS} WHERE m.aggregation IN {LAST_KINDS})
    INSERT INTO metering_usagelast ({LAST_KEY}, {LAST_ORDER}, value, is_present)
    {last_readings(_EVENTS_OF_HOUR, condition="true")};
END
$rebuild$;
"""

_CANCELLED_IN_WINDOW = f"""
    FROM fresh x
    JOIN metering_usageevent e ON e.event_key = x.event_key AND e.occurred_at = x.occurred_at
    JOIN metering_usagecounter c ON {IN_WINDOW}
    JOIN metering_meter m ON m.id = c.meter_id AND {EVENT_MATCHES}
"""

# Counters before totals, as everywhere. What a largest value falls back to only the events of the window can tell.
CANCEL_FUNCTION = f"""
CREATE OR REPLACE FUNCTION metering_cancel_usage() RETURNS trigger LANGUAGE plpgsql AS $cancel$
DECLARE
    cancelled record;
BEGIN
    IF EXISTS (SELECT FROM fresh x WHERE NOT EXISTS (
        SELECT FROM metering_usageevent e WHERE e.event_key = x.event_key AND e.occurred_at = x.occurred_at
        AND e.customer_id = x.customer_id AND e.type = x.type)) THEN
        RAISE EXCEPTION 'A cancellation names an event that is not there'
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'usage_cancellation_of_an_event';
    END IF;
    WITH counted AS MATERIALIZED (
        SELECT r.counter_id, count(*) AS n, sum(r.value) AS total
        FROM (SELECT c.counter_id, {EVENT_VALUE} AS value {_CANCELLED_IN_WINDOW} OFFSET 0) r GROUP BY 1
    ), held AS MATERIALIZED (
        SELECT c.counter_id FROM metering_usagecounter c
        WHERE c.counter_id IN (SELECT counter_id FROM counted) ORDER BY c.counter_id FOR UPDATE
    )
    UPDATE metering_usagecounter c SET
        used_units = CASE m.aggregation WHEN 'count' THEN c.used_units - counted.total
                     WHEN 'sum' THEN c.used_units - counted.total ELSE c.used_units END,
        event_count = c.event_count - counted.n
    FROM counted JOIN held USING (counter_id), metering_meter m
    WHERE c.counter_id = counted.counter_id AND m.id = c.meter_id;
    UPDATE metering_usagecounter k SET used_units = coalesce((
        SELECT max({EVENT_VALUE}) FROM metering_usageevent e, metering_usagecounter c, metering_meter m
        WHERE c.counter_id = k.counter_id AND m.id = c.meter_id AND {IN_WINDOW} AND {EVENT_MATCHES} AND {STANDS}
        ), 0)
    WHERE k.counter_id IN (SELECT c.counter_id {_CANCELLED_IN_WINDOW} WHERE m.aggregation = 'max');
    FOR cancelled IN
        SELECT date_bin('1 hour', x.occurred_at, '2000-01-01 00:00:00+00') AS span,
               array_agg(DISTINCT x.customer_id) AS customers
        FROM fresh x GROUP BY 1 ORDER BY 1
    LOOP
        PERFORM metering_rebuild_hour(cancelled.customers, cancelled.span);
    END LOOP;
    RETURN NULL;
END
$cancel$;
"""

CREATE_CANCEL = f"""
{REBUILD_FUNCTION}
{CANCEL_FUNCTION}
CREATE TRIGGER usage_cancellation_fold AFTER INSERT ON metering_usagecancellation
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION metering_cancel_usage();
"""
DROP_CANCEL = """
DROP TRIGGER usage_cancellation_fold ON metering_usagecancellation;
DROP FUNCTION metering_cancel_usage();
DROP FUNCTION metering_rebuild_hour(uuid[], timestamptz);
"""

# What was counted before the rollups knew smallest values, areas and last readings.
FILL_ROLLUPS = f"""
ALTER TABLE metering_usageaggregate DISABLE TRIGGER USER;
WITH meters AS MATERIALIZED ({METERS})
UPDATE metering_usageaggregate a SET value_min = made.smallest, value_area = made.area
FROM ({totals(f"FROM metering_usageevent e JOIN meters m ON {EVENT_MATCHES}", condition="true")}) made
WHERE (a.customer_id, a.meter_id, a.hour, a.subscription_id, a.dimensions)
    = (made.customer_id, made.meter_id, made.hour, made.subscription_id, made.dimensions);
ALTER TABLE metering_usageaggregate ENABLE TRIGGER USER;
WITH meters AS MATERIALIZED ({METERS} WHERE m.aggregation IN {LAST_KINDS})
INSERT INTO metering_usagelast ({LAST_KEY}, {LAST_ORDER}, value, is_present)
{last_readings(f"FROM metering_usageevent e JOIN meters m ON {EVENT_MATCHES}", condition="true")};
"""
