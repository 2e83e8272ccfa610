from django.db import migrations

from apps.metering import correction_tables_sql as sql


class Migration(migrations.Migration):
    dependencies = [("metering", "0015_usage_intake")]

    operations = [migrations.RunSQL(sql=sql.ADD_RECEIVED_INDEX, reverse_sql=sql.DROP_RECEIVED_INDEX)]
