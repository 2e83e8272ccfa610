"""What a day, or a month, of events and totals comes to, and which days are to be proven next."""

# Sums of the two halves of each row's MD5: the same whatever the order, and no memory grows with the number of rows.
_HALVES = """
    coalesce(sum(('x' || substr(digested.md5, 1, 16))::bit(64)::bigint::numeric), 0),
    coalesce(sum(('x' || substr(digested.md5, 17, 16))::bit(64)::bigint::numeric), 0)
"""

# Everything that an event is, its transaction included: by it snapshots tell for ever who had seen the event. Instants
# as numbers, so that no setting of a session changes the text.
EVENT_TEXT = """
    ROW(e.event_key, e.source, e.event_id, e.type, e.customer_id, e.subscription_id,
        (1000000 * extract(epoch FROM e.occurred_at))::bigint, (1000000 * extract(epoch FROM e.received_at))::bigint,
        e.quantity, e.properties, e.mapping_version, e.batch_position, e.source_sequence, e.recorded_xid,
        e.stands_for_xid)::text
"""


def events_digest(table: str) -> str:
    """Return the query for count and digest of a table's events between two instants."""
    return f"""
        SELECT count(*), {_HALVES} FROM (
            SELECT md5({EVENT_TEXT}) FROM {table} e
            WHERE e.occurred_at >= %(starts_at)s AND e.occurred_at < %(ends_at)s
        ) digested
    """


EVENTS_DIGEST = events_digest("metering_usageevent")

TOTALS_DIGEST = f"""
    SELECT count(*), {_HALVES} FROM (
        SELECT md5(ROW(a.customer_id, a.meter_id, (extract(epoch FROM a.hour))::bigint, a.subscription_id,
                       a.dimensions, a.event_count, a.value_sum, a.value_max, a.value_min, a.value_area)::text)
        FROM metering_usageaggregate a WHERE a.hour >= %(starts_at)s AND a.hour < %(ends_at)s
    ) digested
"""

# What the day came to, per meter version: the snapshot of the day that is kept. Totals are of before the meter's
# rounding, so their unit is, too (`Meter.counted_unit`).
TOTALS_OF_DAY = """
    SELECT m.code, m.version,
           CASE WHEN coalesce((m.rounding ->> 'divide_by')::numeric, 1) = 1 THEN m.unit_name ELSE m.value_property END,
           sum(a.event_count)::bigint, sum(a.value_sum), max(a.value_max), count(DISTINCT a.customer_id)
    FROM metering_usageaggregate a JOIN metering_meter m ON m.id = a.meter_id
    WHERE a.hour >= %(starts_at)s AND a.hour < %(ends_at)s
    GROUP BY m.id, m.code, m.version ORDER BY m.code, m.version
"""

# A day is due when it was never proven, or when events came to it since (once a day at most), or when its proof is
# old. A proof that ran beside the transaction that stored an event may have missed it: so a quarter of an hour more.
DAYS_DUE = """
    WITH days AS (
        SELECT (hour_at AT TIME ZONE 'UTC')::date AS usage_date, max(last_received_at) AS changed_at
        FROM metering_sourcehour GROUP BY 1
    ), latest AS (
        SELECT DISTINCT ON (usage_date) usage_date, proven_at FROM metering_usageproof ORDER BY usage_date, id DESC
    )
    SELECT d.usage_date FROM days d LEFT JOIN latest p USING (usage_date)
    WHERE d.usage_date < %(until_date)s
      AND (p.proven_at IS NULL OR p.proven_at < %(again_before)s
           OR (p.proven_at < %(day_ago)s AND p.proven_at < d.changed_at + interval '15 minutes'))
      AND NOT EXISTS (
          SELECT FROM metering_usagearchive x
          WHERE x.status = 'RETIRED' AND x.month_date = date_trunc('month', d.usage_date::timestamp)::date)
    ORDER BY p.proven_at NULLS FIRST, d.usage_date DESC LIMIT %(limit)s
"""

LATEST_WITH_DIFFERENCES = """
    SELECT usage_date, difference_count, differences FROM (
        SELECT DISTINCT ON (usage_date) * FROM metering_usageproof ORDER BY usage_date, id DESC
    ) latest WHERE difference_count > 0 ORDER BY usage_date
"""
