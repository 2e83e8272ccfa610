"""Usage that no document bills, by where it got lost; each reads rollups and rows of few, never the events."""

# What an event of this tenant comes to on average, per currency, by its own documents.
RATE_OF_ALL = """
SELECT i.currency, sum(l.net_minor)::bigint, sum((l.decision -> 'usage' ->> 'event_count')::bigint)::bigint
FROM invoices_invoiceline l JOIN invoices_invoice i ON i.id = l.invoice_id
WHERE l.kind = 'usage' AND i.number IS NOT NULL AND i.status <> 'VOID' AND i.finalized_at >= %(since)s
GROUP BY i.currency ORDER BY i.currency
"""

LATE = """
SELECT u.currency, count(*), sum(u.event_count)::bigint, sum(u.effect_minor)::bigint, min(u.first_received_at)
FROM metering_lateusage u WHERE u.resolved_at IS NULL GROUP BY u.currency ORDER BY u.currency
"""

# Counted for a customer, in hours in which no billing period of it has a charge for the meter, in whatever version.
UNCHARGED = """
WITH used AS (
    SELECT customer_id, meter_id, hour, sum(event_count) AS events FROM metering_usageaggregate
    WHERE hour >= %(starts_at)s AND hour < %(ends_at)s GROUP BY 1, 2, 3
)
SELECT c.name, m.code, sum(u.events)::bigint, min(u.hour)
FROM used u JOIN customers_customer c ON c.id = u.customer_id JOIN metering_meter m ON m.id = u.meter_id
WHERE NOT EXISTS (
    SELECT FROM subscriptions_subscription s JOIN subscriptions_billingperiod p ON p.subscription_id = s.id
    JOIN plans_charge h ON h.plan_version_id = p.plan_version_id
    JOIN metering_meter charged ON charged.id = h.meter_id AND charged.code = m.code
    WHERE s.customer_id = u.customer_id AND p.starts_at < u.hour + interval '1 hour' AND p.ends_at > u.hour
)
GROUP BY c.id, c.name, m.code HAVING sum(u.events) > 0 ORDER BY 3 DESC, 1, 2 LIMIT %(limit)s
"""

UNMATCHED = """
SELECT event_type, reason, sum(event_count)::bigint, min(usage_date) FROM metering_unmatchedusage
WHERE usage_date >= (%(starts_at)s::timestamptz AT TIME ZONE 'UTC')::date
  AND usage_date <= ((%(ends_at)s::timestamptz - interval '1 microsecond') AT TIME ZONE 'UTC')::date
GROUP BY event_type, reason ORDER BY 3 DESC, 1, 2 LIMIT %(limit)s
"""

# Final documents that charged nothing for usage that was there: within what is included, or by mistake.
ZERO_PRICED = """
SELECT l.code, i.currency, count(*), sum((l.decision -> 'usage' ->> 'event_count')::bigint)::bigint,
       min(l.service_starts_at)
FROM invoices_invoiceline l JOIN invoices_invoice i ON i.id = l.invoice_id
WHERE l.kind = 'usage' AND l.net_minor = 0 AND l.quantity > 0 AND i.number IS NOT NULL AND i.status <> 'VOID'
  AND l.service_starts_at < %(ends_at)s AND l.service_ends_at > %(starts_at)s
GROUP BY l.code, i.currency ORDER BY 4 DESC, 1 LIMIT %(limit)s
"""

QUARANTINED = """
SELECT code, count(*), min(received_at) FROM metering_quarantinedevent
WHERE status = 'HELD' AND code <> 'id_reused' GROUP BY code ORDER BY 2 DESC, 1
"""
