from django.db import migrations

from apps.metering import usage_fold_sql
from apps.metering import usage_tables_sql as sql


class Migration(migrations.Migration):
    dependencies = [("metering", "0001_initial")]

    operations = [
        migrations.RunSQL(
            sql=(
                sql.CREATE_METER_SINCE
                + sql.CREATE_KEYS
                + sql.CREATE_EVENTS
                + sql.CREATE_AGGREGATES
                + usage_fold_sql.CREATE_FOLD
                + sql.CREATE_GUARDS
            ),
            reverse_sql=sql.DROP_ALL,
        )
    ]
