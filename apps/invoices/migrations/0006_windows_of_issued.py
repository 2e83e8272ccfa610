from django.db import migrations

# Documents that were final before windows were kept billed windows, too: the charge of a line names its meter.
CLOSE_WINDOWS = """
INSERT INTO metering_usagewindow
    (id, customer_id, subscription_id, meter_id, starts_at, ends_at, snapshot, source_type, source_id, closed_at)
SELECT DISTINCT ON (i.subscription_id, c.meter_id, l.service_starts_at)
       gen_random_uuid(), i.customer_id, i.subscription_id, c.meter_id, l.service_starts_at, l.service_ends_at,
       l.decision -> 'usage' ->> 'snapshot', 'subscriptions.billingperiod', p.id, i.finalized_at
FROM invoices_invoiceline l
JOIN invoices_invoice i ON i.id = l.invoice_id AND i.kind = 'CYCLE' AND i.status IN ('OPEN', 'PAID', 'UNCOLLECTIBLE')
JOIN subscriptions_billingperiod p ON p.id = i.billing_period_id
JOIN plans_charge c ON c.plan_version_id = p.plan_version_id AND c.code = l.code AND c.meter_id IS NOT NULL
WHERE l.kind = 'usage' AND l.decision -> 'usage' ? 'snapshot'
ORDER BY i.subscription_id, c.meter_id, l.service_starts_at, l.position
ON CONFLICT DO NOTHING;
"""


class Migration(migrations.Migration):
    dependencies = [("invoices", "0005_adjustment_terms"), ("metering", "0011_late_usage")]

    operations = [migrations.RunSQL(sql=CLOSE_WINDOWS, reverse_sql=migrations.RunSQL.noop)]
