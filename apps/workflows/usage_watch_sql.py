"""What an event of a source is worth on average, by the documents of the customers it speaks of."""

# The customers of the source's latest hour stand for those of the events that are missing.
RATE_OF_SOURCE = """
WITH latest AS (
    SELECT h.hour_at FROM metering_sourcehour h JOIN metering_usagesource s ON s.id = h.source_id
    WHERE s.source = %(source)s ORDER BY h.hour_at DESC LIMIT 1
), spoken_of AS (
    SELECT DISTINCT few.customer_id FROM (
        SELECT e.customer_id FROM metering_usageevent e, latest
        WHERE e.source = %(source)s AND e.occurred_at >= latest.hour_at
          AND e.occurred_at < latest.hour_at + interval '1 hour' LIMIT %(events_max)s
    ) few
)
SELECT i.currency, sum(l.net_minor)::bigint, sum((l.decision -> 'usage' ->> 'event_count')::bigint)::bigint
FROM spoken_of JOIN invoices_invoice i USING (customer_id) JOIN invoices_invoiceline l ON l.invoice_id = i.id
WHERE l.kind = 'usage' AND i.number IS NOT NULL AND i.status <> 'VOID' AND i.finalized_at >= %(since)s
GROUP BY i.currency ORDER BY i.currency
"""
