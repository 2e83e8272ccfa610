"""What the follower keeps of sources, and how loss, silence, delay and skew are read from it."""

from typing import Final

from apps.metering import following_sql
from apps.metering.usage_tables_sql import EVENT_MATCHES, SINCE_DEFINED

# The numbers that are there. Null means that they have more gaps than a row can list; the counts remain.
ADD_SEQUENCES = "ALTER TABLE metering_sourcehour ADD COLUMN sequences int8multirange DEFAULT '{}';"
DROP_SEQUENCES = "ALTER TABLE metering_sourcehour DROP COLUMN sequences;"

# One hour of all customers is read by the watch for unusual usage, one day by its proof; the key leads with customers.
# Totals are made in the order of time, so a few bytes per block are enough to find them.
ADD_TOTALS_BY_HOUR = """
CREATE INDEX metering_usageaggregate_hour ON metering_usageaggregate
    USING brin (hour) WITH (pages_per_range = 32, autosummarize = on);
"""
DROP_TOTALS_BY_HOUR = "DROP INDEX metering_usageaggregate_hour;"

# Upper bounds of a delay in milliseconds, the same for every source and in the metrics; what is above is the last one.
DELAY_BOUNDS_MS: Final = (1_000, 5_000, 30_000, 60_000, 300_000, 900_000, 3_600_000, 21_600_000, 86_400_000)
_BOUNDS = "ARRAY[" + ", ".join(f"{bound}::bigint" for bound in DELAY_BOUNDS_MS) + "]"
_COUNTS = ", ".join(f"count(*) FILTER (WHERE f.bucket = {n})" for n in range(len(DELAY_BOUNDS_MS) + 1))

# What is above is not a count of events, and the end of a range would not fit.
SEQUENCE_MAX: Final = 10**18

# A source whose numbers have more gaps than this in one hour is told by counts alone: a row must stay a row.
SPANS_MAX: Final = 10_000

# Each event of each source once: what it has sent in all, and per hour of occurrence how late and which numbers. A
# customer on a test clock lives at another time, so its events are counted and their delay is not.
FOLD_SOURCES = f"""
WITH fresh AS MATERIALIZED (
    SELECT d.*, width_bucket(d.delay_ms - 1, {_BOUNDS}) AS bucket
    FROM (
        SELECT e.source, date_bin('1 hour', e.occurred_at, '2000-01-01 00:00:00+00') AS hour_at, e.occurred_at,
               e.received_at,
               CASE WHEN e.source_sequence BETWEEN 0 AND {SEQUENCE_MAX} THEN e.source_sequence END AS number,
               CASE WHEN c.test_clock_id IS NULL
                    THEN (1000 * extract(epoch FROM e.received_at - e.occurred_at))::bigint END AS delay_ms
        FROM metering_usageevent e JOIN customers_customer c ON c.id = e.customer_id
        WHERE {following_sql.is_new("e")}
    ) d
), sources AS (
    INSERT INTO metering_usagesource AS s
        (id, source, event_count, first_received_at, last_received_at, watermark_at, timed_count, delay_counts,
         delay_ms_sum, clock_ahead_ms)
    SELECT gen_random_uuid(), f.source, count(*), min(f.received_at), max(f.received_at), max(f.occurred_at),
           count(f.delay_ms), ARRAY[{_COUNTS}], coalesce(sum(greatest(f.delay_ms, 0)), 0),
           greatest(-min(f.delay_ms), 0)
    FROM fresh f GROUP BY f.source ORDER BY f.source
    ON CONFLICT (source) DO UPDATE SET
        event_count = s.event_count + excluded.event_count,
        last_received_at = greatest(s.last_received_at, excluded.last_received_at),
        watermark_at = greatest(s.watermark_at, excluded.watermark_at),
        timed_count = s.timed_count + excluded.timed_count,
        delay_counts = ARRAY(SELECT a + b FROM unnest(s.delay_counts, excluded.delay_counts) WITH ORDINALITY u (a, b, n)
                             ORDER BY n),
        delay_ms_sum = s.delay_ms_sum + excluded.delay_ms_sum,
        clock_ahead_ms = CASE WHEN excluded.timed_count > 0 THEN excluded.clock_ahead_ms ELSE s.clock_ahead_ms END
    RETURNING s.id, s.source
)
INSERT INTO metering_sourcehour AS h
    (source_id, hour_at, event_count, timed_count, delay_counts, delay_ms_max, delay_ms_min, sequence_count,
     sequence_first, sequence_last, sequences, last_received_at)
SELECT s.id, f.hour_at, count(*), count(f.delay_ms), ARRAY[{_COUNTS}], max(f.delay_ms), min(f.delay_ms),
       count(f.number), min(f.number), max(f.number),
       coalesce(range_agg(int8range(f.number, f.number, '[]')) FILTER (WHERE f.number IS NOT NULL), '{{}}'),
       max(f.received_at)
FROM fresh f JOIN sources s ON s.source = f.source GROUP BY s.id, f.hour_at ORDER BY s.id, f.hour_at
ON CONFLICT (source_id, hour_at) DO UPDATE SET
    event_count = h.event_count + excluded.event_count,
    timed_count = h.timed_count + excluded.timed_count,
    delay_counts = ARRAY(SELECT a + b FROM unnest(h.delay_counts, excluded.delay_counts) WITH ORDINALITY u (a, b, n)
                         ORDER BY n),
    delay_ms_max = greatest(h.delay_ms_max, excluded.delay_ms_max),
    delay_ms_min = least(h.delay_ms_min, excluded.delay_ms_min),
    sequence_count = h.sequence_count + excluded.sequence_count,
    sequence_first = least(h.sequence_first, excluded.sequence_first),
    sequence_last = greatest(h.sequence_last, excluded.sequence_last),
    sequences = CASE WHEN (SELECT count(*) FROM unnest(h.sequences + excluded.sequences)) <= {SPANS_MAX}
                     THEN h.sequences + excluded.sequences END,
    last_received_at = greatest(h.last_received_at, excluded.last_received_at)
"""

# Accepted, and counted by no meter: by the first reason that holds.
COUNT_UNMATCHED = f"""
INSERT INTO metering_unmatchedusage AS u
    (event_type, usage_date, reason, event_count, first_received_at, last_received_at)
SELECT e.type, (e.occurred_at AT TIME ZONE 'UTC')::date,
       CASE WHEN NOT EXISTS (SELECT FROM metering_meter m WHERE m.event_type = e.type) THEN 'no_meter'
            WHEN NOT EXISTS (SELECT FROM metering_meter m WHERE m.event_type = e.type AND {SINCE_DEFINED})
                 THEN 'defined_later'
            WHEN NOT EXISTS (SELECT FROM metering_meter m WHERE m.event_type = e.type
                             AND e.properties @> m.filters) THEN 'filtered'
            ELSE 'left_out' END,
       count(*), min(e.received_at), max(e.received_at)
FROM metering_usageevent e
WHERE {following_sql.is_new("e")} AND NOT EXISTS (SELECT FROM metering_meter m WHERE {EVENT_MATCHES})
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
ON CONFLICT (event_type, usage_date, reason) DO UPDATE SET
    event_count = u.event_count + excluded.event_count,
    first_received_at = least(u.first_received_at, excluded.first_received_at),
    last_received_at = greatest(u.last_received_at, excluded.last_received_at)
"""

# Per source and hour: how many numbers belong to it (those after the highest of the hours before, up to its own), how
# many of them are here, and which are not. Only numbers that had time to arrive are judged.
NUMBERED_WINDOWS = """
WITH hours AS (
    SELECT h.*, s.source AS name, s.judged_sequence AS judged,
           max(h.sequence_last) OVER (PARTITION BY h.source_id ORDER BY h.hour_at
                                      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM metering_sourcehour h JOIN metering_usagesource s ON s.id = h.source_id
    WHERE h.sequence_last IS NOT NULL AND h.hour_at >= %(since)s AND s.judged_sequence IS NOT NULL
), here AS (
    SELECT h.source_id, range_agg(r) AS numbers FROM hours h, unnest(h.sequences) r GROUP BY h.source_id
), windows AS (
    SELECT h.*, coalesce(h.before + 1, h.sequence_first) AS low, least(h.sequence_last, h.judged) AS high FROM hours h
), gaps AS (
    SELECT w.name, w.hour_at, w.high - w.low + 1 AS expected, w.sequence_count,
           CASE WHEN w.sequences IS NOT NULL
                THEN int8multirange(int8range(w.low, w.high, '[]')) - here.numbers END AS missing
    FROM windows w LEFT JOIN here USING (source_id) WHERE w.low <= w.high
)
SELECT name, hour_at, expected,
       CASE WHEN missing IS NULL THEN least(sequence_count, expected)
            ELSE expected - (SELECT coalesce(sum(upper(r) - lower(r)), 0) FROM unnest(missing) r)
       END::bigint AS present,
       ARRAY(SELECT ARRAY[lower(r), upper(r) - 1] FROM unnest(missing) r ORDER BY lower(r) LIMIT %(shown)s) AS ranges
FROM gaps ORDER BY name, hour_at
"""

# What a source has sent when the watch looks is judged when it looks the next time: numbers that are on their way in
# side by side have arrived by then.
JUDGE_NEXT = """
UPDATE metering_usagesource s SET judged_sequence = newest.last
FROM (
    SELECT source_id, max(sequence_last) AS last FROM metering_sourcehour WHERE hour_at >= %(since)s GROUP BY 1
) newest
WHERE newest.source_id = s.id AND s.judged_sequence IS DISTINCT FROM newest.last
"""

# A window is counted when its events had time to arrive, and again as long as some are missing.
HEARTBEATS_COUNT = """
UPDATE metering_sourceheartbeat b SET counted_at = %(at)s, found_count = (
    SELECT count(*) FROM metering_usageevent e
    WHERE e.source = b.source AND e.occurred_at >= b.starts_at AND e.occurred_at < b.ends_at
)
WHERE b.id IN (
    SELECT id FROM metering_sourceheartbeat
    WHERE ends_at <= %(settled)s AND ends_at >= %(since)s AND (found_count IS NULL OR found_count < sent_count)
    ORDER BY counted_at NULLS FIRST, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
"""

HEARTBEAT_WINDOWS = """
SELECT source, starts_at, ends_at, sent_count, found_count FROM metering_sourceheartbeat
WHERE found_count IS NOT NULL AND ends_at >= %(since)s ORDER BY source, starts_at
"""

# The hours that a source's rhythm is told by: those of the quiet span, of a day at most, and of the week before it.
SOURCE_RHYTHM = """
SELECT s.source, s.last_received_at, h.hour_at, h.event_count
FROM metering_usagesource s JOIN metering_sourcehour h ON h.source_id = s.id
WHERE s.timed_count > 0 AND h.hour_at >= %(since)s AND s.last_received_at >= %(since)s
  AND s.last_received_at <= %(quiet_since)s
ORDER BY s.source, h.hour_at
"""

# How late what came just now was; an hour's row is told whole, also what it had before.
DELAYS_RECENT = f"""
SELECT s.source, sum(h.timed_count)::bigint,
       ARRAY[{", ".join(f"sum(h.delay_counts[{n + 1}])::bigint" for n in range(len(DELAY_BOUNDS_MS) + 1))}],
       max(h.delay_ms_max)
FROM metering_sourcehour h JOIN metering_usagesource s ON s.id = h.source_id
WHERE h.last_received_at >= %(since)s AND h.timed_count > 0 GROUP BY s.source ORDER BY s.source
"""

CLOCKS_AHEAD = """
SELECT source, clock_ahead_ms FROM metering_usagesource
WHERE clock_ahead_ms > %(limit_ms)s AND last_received_at >= %(since)s ORDER BY source
"""
