from django.db import migrations

# Every period but the first starts where another of the same subscription ends: neither gap nor overlap can be
# written. The first has no reference because `continues_at` is null there.
CONTINUES = """
ALTER TABLE subscriptions_billingperiod ADD CONSTRAINT billing_period_continues
    FOREIGN KEY (subscription_id, continues_at)
    REFERENCES subscriptions_billingperiod (subscription_id, ends_at);
"""


class Migration(migrations.Migration):
    dependencies = [("subscriptions", "0001_initial")]

    operations = [
        migrations.RunSQL(
            sql=CONTINUES,
            reverse_sql="ALTER TABLE subscriptions_billingperiod DROP CONSTRAINT billing_period_continues;",
        )
    ]
