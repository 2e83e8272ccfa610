"""All work that waits for somebody, in one statement: a home page must not cost a query per card."""

# Each row: kind of work, currency (empty where there is no money), count, sum in minor units, since when the oldest
# waits. Every branch reads a partial index over what waits, not the whole table.
WORK_WAITING = """
SELECT 'parked', '', count(*), 0::bigint, min(parked_at)
FROM subscriptions_billingperiod WHERE parked_at IS NOT NULL AND status <> 'CLOSED'
UNION ALL
SELECT 'unknown', currency, count(*), sum(amount_minor)::bigint, min(opened_at)
FROM payments_paymentattempt WHERE status = 'UNKNOWN' GROUP BY currency
UNION ALL
SELECT 'dead', '', count(*), 0::bigint, min(finished_at) FROM messaging_outboxmessage WHERE status = 'DEAD'
UNION ALL
SELECT 'quarantined', '', count(*), 0::bigint, min(received_at)
FROM metering_quarantinedevent WHERE status = 'HELD'
UNION ALL
SELECT 'corrections', '', count(*), 0::bigint, min(requested_at)
FROM metering_usagecorrection WHERE status = 'PENDING_APPROVAL'
UNION ALL
SELECT 'alerts', '', count(*), 0::bigint, min(opened_at) FROM metering_usagealert WHERE status <> 'CLOSED'
UNION ALL
SELECT 'alerts', risk.key, 0, sum(risk.value::bigint)::bigint, NULL
FROM metering_usagealert a, jsonb_each_text(a.at_risk) risk WHERE a.status <> 'CLOSED' GROUP BY risk.key
UNION ALL
SELECT 'late', '', count(*), 0::bigint, min(first_received_at) FROM metering_lateusage WHERE status = 'FOUND'
UNION ALL
SELECT 'adjustments', currency, count(*), sum(amount_minor)::bigint, min(made_at)
FROM invoices_adjustment WHERE status = 'PENDING_APPROVAL' GROUP BY currency
UNION ALL
SELECT 'drafts', currency, count(*), sum(total_minor)::bigint, min(drafted_at)
FROM invoices_invoice WHERE status = 'DRAFT' GROUP BY currency
UNION ALL
SELECT 'overdue', i.currency, count(*), sum(i.total_minor - i.credit_minor - i.paid_minor)::bigint,
       min(i.due_date)::timestamptz
FROM invoices_invoice i
JOIN customers_customer c ON c.id = i.customer_id
LEFT JOIN customers_testclock k ON k.id = c.test_clock_id
WHERE i.status = 'OPEN' AND i.due_date < (coalesce(k.now_at, %(at)s) AT TIME ZONE 'UTC')::date
GROUP BY i.currency
UNION ALL
SELECT 'unsealed', '', count(*), 0::bigint, min(created_at) FROM (
    SELECT created_at FROM audit_auditentry WHERE position IS NULL
    UNION ALL
    SELECT created_at FROM messaging_domainevent WHERE position IS NULL
) tail
"""
