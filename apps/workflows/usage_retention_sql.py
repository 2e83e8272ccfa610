"""What keeps a month's raw events in the database."""

# Whatever may still be billed or changed by the events of the month; each row is one reason.
HINDRANCES = """
SELECT 'billing periods of that time are not closed: ' || count(*) FROM subscriptions_billingperiod
WHERE status <> 'CLOSED' AND starts_at < %(ends_at)s AND ends_at > %(starts_at)s HAVING count(*) > 0
UNION ALL
SELECT 'documents of that time are drafts: ' || count(DISTINCT i.id) FROM invoices_invoice i
JOIN invoices_invoiceline l ON l.invoice_id = i.id
WHERE i.status = 'DRAFT' AND l.service_starts_at < %(ends_at)s AND l.service_ends_at > %(starts_at)s
HAVING count(*) > 0
UNION ALL
SELECT 'late usage of that time is not settled: ' || count(*) FROM metering_lateusage u
JOIN metering_usagewindow w ON w.id = u.window_id
WHERE u.resolved_at IS NULL AND w.starts_at < %(ends_at)s AND w.ends_at > %(starts_at)s
HAVING count(*) > 0
UNION ALL
SELECT 'days without a proof, or whose proof found differences: ' || count(*) FROM (
    SELECT DISTINCT (hour_at AT TIME ZONE 'UTC')::date AS day FROM metering_sourcehour
    WHERE hour_at >= %(starts_at)s AND hour_at < %(ends_at)s
) days LEFT JOIN LATERAL (
    SELECT p.difference_count FROM metering_usageproof p WHERE p.usage_date = days.day ORDER BY p.id DESC LIMIT 1
) latest ON true WHERE latest.difference_count IS DISTINCT FROM 0 HAVING count(*) > 0
UNION ALL
SELECT 'events that the follower has not read: ' || count(*) FROM (
    SELECT FROM metering_usageevent e
    WHERE e.occurred_at >= %(starts_at)s AND e.occurred_at < %(ends_at)s AND NOT pg_visible_in_snapshot(
        e.recorded_xid, coalesce((SELECT done_snapshot FROM metering_usagefollower), '1:1:')::pg_snapshot) LIMIT 1000
) unread HAVING count(*) > 0
"""

PROOFS_OF_MONTH = """
SELECT DISTINCT ON (usage_date) usage_date::text, event_count, events_digest, aggregates_digest
FROM metering_usageproof WHERE usage_date >= %(first)s AND usage_date < %(next)s ORDER BY usage_date, id DESC
"""
