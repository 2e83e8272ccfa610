"""Which customers have limits that refuse events: the set that every intake remembers, and its version.

A batch of customers without such limits must not pay for those who have them. The set is small, grows when a customer
gets the first such limit, and each change of it moves the one version that every batch reads anyway.
"""

from apps.metering.usage_fold_sql import LABEL_KEY
from apps.metering.usage_tables_sql import EVENT_MATCHES, EVENT_VALUE

CREATE_LIMITED = """
CREATE TABLE metering_limitedcustomer (
    customer_id uuid PRIMARY KEY
);
CREATE TABLE metering_limitedversion (
    is_only_row boolean PRIMARY KEY DEFAULT true CHECK (is_only_row),
    version bigint NOT NULL
);
INSERT INTO metering_limitedversion (version) VALUES (1);
CREATE FUNCTION metering_limited_changed() RETURNS trigger LANGUAGE plpgsql AS $changed$
BEGIN
    IF EXISTS (SELECT FROM changed) THEN
        UPDATE metering_limitedversion SET version = version + 1;
    END IF;
    RETURN NULL;
END
$changed$;
CREATE TRIGGER limited_customer_more AFTER INSERT ON metering_limitedcustomer
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION metering_limited_changed();
CREATE TRIGGER limited_customer_less AFTER DELETE ON metering_limitedcustomer
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION metering_limited_changed();
"""
DROP_LIMITED = """
DROP TABLE metering_limitedcustomer;
DROP TABLE metering_limitedversion;
DROP FUNCTION metering_limited_changed();
"""

LIMITED_READ = "SELECT customer_id FROM metering_limitedcustomer"
LIMITED_VERSION = "SELECT version FROM metering_limitedversion"
LIMITED_ADD = """
INSERT INTO metering_limitedcustomer (customer_id) SELECT unnest(%s::uuid[]) ORDER BY 1 ON CONFLICT DO NOTHING
"""

# The live counters of limits that refuse, locked in the order of their ids, with what is used at that moment. Whoever
# changes such a limit is alone with the meters (limits are written under the lock that every intake shares), so
# the limits cannot move between this statement and the end of the batch.
LIMITS_LOCK = """
SELECT l.id, l.customer_id, l.subscription_id, l.meter_id, l.counter_id, l.feature_code, l.origin, l.source_id,
       l.limit_units, l.starts_at, l.ends_at, c.used_units
FROM metering_usagelimit l
JOIN metering_usagecounter c ON c.counter_id = l.counter_id
JOIN metering_meter m ON m.id = l.meter_id
WHERE l.customer_id = ANY(%(customers)s::uuid[]) AND l.withdrawn_at IS NULL AND l.on_exceed = 'reject'
  AND l.starts_at <= %(last)s AND l.ends_at > %(first)s AND m.event_type = ANY(%(types)s::text[])
ORDER BY l.counter_id, l.id
FOR NO KEY UPDATE OF c
"""

# What each event is for each meter that has a limit: by the very texts that the trigger counts by, so that what is
# admitted is what is counted. An event that is not written yet is written by this transaction.
EVENT_UNITS = f"""
SELECT e.n, m.id, {EVENT_VALUE}, CASE WHEN m.aggregation = 'unique_count' THEN {LABEL_KEY} END
FROM (
    SELECT u.n, u.type, u.quantity, u.properties::jsonb AS properties, u.stands_for_xid,
           pg_current_xact_id() AS recorded_xid
    FROM unnest(%(numbers)s::int[], %(types)s::text[], %(quantities)s::text[]::numeric[], %(properties)s::text[],
                %(stands_for)s::text[]::xid8[]) AS u (n, type, quantity, properties, stands_for_xid)
    OFFSET 0
) e
JOIN metering_meter m ON {EVENT_MATCHES} AND m.id IN (
    SELECT l.meter_id FROM metering_usagelimit l
    WHERE l.customer_id = ANY(%(customers)s::uuid[]) AND l.withdrawn_at IS NULL AND l.on_exceed = 'reject')
"""

# Limits whose counter has come to a share of them that nobody was told of. Customers on a test clock live at its time.
THRESHOLDS_REACHED = """
SELECT l.id, p.percent, c.used_units, l.limit_units
FROM metering_usagelimit l
JOIN metering_usagecounter c ON c.counter_id = l.counter_id
JOIN metering_meter m ON m.id = l.meter_id AND m.aggregation <> 'unique_count'
CROSS JOIN LATERAL unnest(l.thresholds) AS p (percent)
WHERE l.withdrawn_at IS NULL AND c.used_units > 0 AND c.used_units * 100 >= l.limit_units * p.percent
  AND NOT EXISTS (SELECT FROM metering_usagethreshold t WHERE t.limit_id = l.id AND t.percent = p.percent)
ORDER BY l.id, p.percent
LIMIT %(limit)s
"""
