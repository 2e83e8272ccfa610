from django.db import migrations

from apps.metering import usage_guards_sql as sql


class Migration(migrations.Migration):
    dependencies = [("metering", "0002_usage_tables")]

    operations = [
        migrations.RunSQL(
            sql=sql.GUARD_PARTITIONS + sql.GUARD_TOTALS, reverse_sql=sql.UNGUARD_PARTITIONS + sql.UNGUARD_TOTALS
        )
    ]
