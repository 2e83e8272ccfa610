from django.db import migrations

from apps.metering import usage_fold_sql
from apps.metering import usage_tables_sql as sql


class Migration(migrations.Migration):
    dependencies = [("metering", "0005_aggregations")]

    operations = [
        migrations.RunSQL(sql=sql.ADD_BATCH_POSITION, reverse_sql=sql.DROP_BATCH_POSITION),
        # The function as it is now: it knows which values each aggregation counts.
        migrations.RunSQL(sql=usage_fold_sql.FOLD_FUNCTION, reverse_sql=migrations.RunSQL.noop),
    ]
