from django.db import migrations

from apps.metering import usage_fold_sql as sql


class Migration(migrations.Migration):
    dependencies = [("metering", "0003_usage_guards")]

    # The function as it is now, for schemas that were made with the one before.
    operations = [migrations.RunSQL(sql=sql.FOLD_FUNCTION, reverse_sql=migrations.RunSQL.noop)]
