from django.db import migrations, models
from django.db.models import Q

from apps.metering import usage_fold_sql, usage_guards_sql, usage_rebuild_sql
from apps.metering import usage_tables_sql as tables


class Migration(migrations.Migration):
    dependencies = [("metering", "0008_corrections")]

    operations = [
        migrations.AddField(
            model_name="meter",
            name="weight_property",
            field=models.CharField(
                blank=True,
                default="",
                help_text="For count and sum: the property that says how many events one event stands for.",
                max_length=60,
            ),
        ),
        migrations.AddConstraint(
            model_name="meter",
            constraint=models.CheckConstraint(
                condition=Q(weight_property="") | Q(aggregation__in=["count", "sum"]), name="meter_weight_for_sums"
            ),
        ),
        migrations.RunSQL(sql=tables.WIDEN_AGGREGATES, reverse_sql=tables.NARROW_AGGREGATES),
        migrations.RunSQL(sql=tables.CREATE_LAST, reverse_sql=tables.DROP_LAST),
        migrations.RunSQL(sql=tables.CREATE_COUNTERS, reverse_sql=tables.DROP_COUNTERS),
        migrations.RunSQL(sql=tables.CREATE_CANCELLATIONS, reverse_sql=tables.DROP_CANCELLATIONS),
        migrations.CreateModel(
            name="UsageCounter",
            fields=[
                ("counter_id", models.UUIDField(primary_key=True, serialize=False)),
                ("customer_id", models.UUIDField()),
                ("meter_id", models.UUIDField()),
                ("subscription_id", models.UUIDField()),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField()),
                ("used_units", models.DecimalField(decimal_places=12, max_digits=60)),
                ("event_count", models.BigIntegerField()),
            ],
            options={"db_table": "metering_usagecounter", "managed": False},
        ),
        migrations.CreateModel(
            name="UsageCancellation",
            fields=[
                ("event_key", models.UUIDField(primary_key=True, serialize=False)),
                ("customer_id", models.UUIDField()),
                ("type", models.TextField()),
                ("occurred_at", models.DateTimeField()),
                ("correction_id", models.UUIDField()),
                ("cancelled_at", models.DateTimeField()),
            ],
            options={"db_table": "metering_usagecancellation", "managed": False},
        ),
        # The function as it is now: smallest values, areas, last readings, weights.
        migrations.RunSQL(sql=usage_fold_sql.FOLD_FUNCTION, reverse_sql=migrations.RunSQL.noop),
        migrations.RunSQL(
            sql=usage_fold_sql.CREATE_COUNT + usage_guards_sql.COUNT_PARTITIONS,
            reverse_sql=usage_guards_sql.UNCOUNT_PARTITIONS + usage_fold_sql.DROP_COUNT,
        ),
        migrations.RunSQL(sql=usage_rebuild_sql.CREATE_CANCEL, reverse_sql=usage_rebuild_sql.DROP_CANCEL),
        migrations.RunSQL(sql=usage_rebuild_sql.FILL_ROLLUPS, reverse_sql=migrations.RunSQL.noop),
        migrations.RunSQL(
            sql=usage_guards_sql.GUARD_LAST_AND_COUNTERS, reverse_sql=usage_guards_sql.UNGUARD_LAST_AND_COUNTERS
        ),
    ]
