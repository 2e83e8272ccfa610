"""What the metrics tell of one tenant, out of rows and statistics that are small whatever the number of events is."""

# Each row: metric, value of its one label (empty without), number. Instants as seconds of the Unix clock. Sizes and
# numbers of rows of large tables are the planner's; nothing here reads an event.
VALUES = """
WITH months AS (
    SELECT c.oid, greatest(c.reltuples, 0) AS rows FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'metering_usageevent'::regclass
), keys AS (
    SELECT relid AS oid FROM pg_partition_tree('metering_usageeventkey'::regclass) WHERE isleaf
    UNION SELECT 'metering_usageeventkey'::regclass
)
SELECT 'events_estimate', '', coalesce(sum(rows), 0)::numeric FROM months
UNION ALL SELECT 'events_bytes', '', coalesce(sum(pg_total_relation_size(oid)), 0) FROM months
UNION ALL SELECT 'dedup_keys_estimate', '', coalesce(sum(greatest(c.reltuples, 0)), 0)::numeric
FROM keys JOIN pg_class c USING (oid) WHERE c.relkind = 'r'
UNION ALL SELECT 'dedup_keys_bytes', '', coalesce(sum(pg_total_relation_size(oid)), 0) FROM keys
UNION ALL SELECT 'rollups_estimate', '', greatest(reltuples, 0)::numeric
FROM pg_class WHERE oid = 'metering_usageaggregate'::regclass
UNION ALL SELECT 'follower_moved_at', '', extract(epoch FROM moved_at) FROM metering_usagefollower
WHERE moved_at IS NOT NULL
UNION ALL SELECT 'outbox_waiting', '', count(*) FROM messaging_outboxmessage WHERE status = 'PENDING'
UNION ALL SELECT 'outbox_oldest_at', '', extract(epoch FROM min(e.created_at)) FROM messaging_outboxmessage o
JOIN messaging_domainevent e ON e.id = o.event_id WHERE o.status = 'PENDING' HAVING count(*) > 0
UNION ALL SELECT 'quarantined', code, count(*) FROM metering_quarantinedevent WHERE status = 'HELD' GROUP BY code
UNION ALL SELECT 'alerts', kind, count(*) FROM metering_usagealert WHERE status <> 'CLOSED' GROUP BY kind
UNION ALL SELECT 'unmatched', reason, sum(event_count) FROM metering_unmatchedusage GROUP BY reason
UNION ALL SELECT 'late_windows', '', count(*) FROM metering_lateusage WHERE resolved_at IS NULL
UNION ALL SELECT 'proof_differences', '', coalesce(sum(difference_count), 0) FROM (
    SELECT DISTINCT ON (usage_date) difference_count FROM metering_usageproof ORDER BY usage_date, id DESC
) latest
UNION ALL SELECT 'proof_made_at', '', extract(epoch FROM proven_at) FROM (
    SELECT proven_at FROM metering_usageproof ORDER BY id DESC LIMIT 1
) newest
"""

# The sources heard of last; a producer that names a source per device must not make a metric of each.
SOURCES = """
SELECT source, event_count, extract(epoch FROM last_received_at), extract(epoch FROM watermark_at), clock_ahead_ms
FROM metering_usagesource ORDER BY last_received_at DESC, source LIMIT %(limit)s
"""

# All sources together: the rows are few, and each holds what it has counted ever.
DELAYS = """
SELECT n, sum(count)::bigint FROM metering_usagesource, unnest(delay_counts) WITH ORDINALITY u (count, n)
GROUP BY n ORDER BY n
"""
DELAY_SUM = "SELECT coalesce(sum(delay_ms_sum), 0)::bigint FROM metering_usagesource"
