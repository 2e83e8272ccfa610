"""How counters are opened, locked and read."""

# Somebody may have opened the same window since we looked: the first one stays.
OPEN = """
INSERT INTO metering_usagecounter
    (counter_id, customer_id, meter_id, subscription_id, starts_at, ends_at, used_units, event_count)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT ON CONSTRAINT usage_counter_once DO NOTHING
"""

# One order for everybody who locks several.
LOCK = """
SELECT counter_id, used_units FROM metering_usagecounter WHERE counter_id = ANY (%s::uuid[])
ORDER BY counter_id FOR UPDATE
"""

READ = "SELECT used_units FROM metering_usagecounter WHERE counter_id = %s"
