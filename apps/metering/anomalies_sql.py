"""The same hour of several days, of all customers, out of the running totals."""

# What adds up is compared by its sum and a peak by its peak; of the rest, whose value in an hour says little about how
# much was used, the events are counted. Whoever never reached the least volume is not read into memory.
SAME_HOURS = """
WITH hours AS (
    SELECT a.customer_id, a.meter_id, a.hour,
           CASE m.aggregation WHEN 'sum' THEN sum(a.value_sum) WHEN 'count' THEN sum(a.value_sum)
                WHEN 'max' THEN max(a.value_max) ELSE sum(a.event_count) END AS value
    FROM metering_usageaggregate a JOIN metering_meter m ON m.id = a.meter_id AND m.retired_at IS NULL
    WHERE a.hour = ANY(%(hours)s)
    GROUP BY a.customer_id, a.meter_id, a.hour, m.aggregation
), ranked AS (
    SELECT h.*, max(h.value) OVER (PARTITION BY h.customer_id, h.meter_id) AS largest FROM hours h
)
SELECT r.customer_id, c.name, m.code,
       CASE WHEN coalesce((m.rounding ->> 'divide_by')::numeric, 1) = 1 THEN m.unit_name ELSE m.value_property END,
       r.hour, r.value
FROM ranked r JOIN customers_customer c ON c.id = r.customer_id AND c.test_clock_id IS NULL
JOIN metering_meter m ON m.id = r.meter_id
WHERE r.largest >= %(volume_min)s ORDER BY m.code, r.customer_id, r.hour
"""
