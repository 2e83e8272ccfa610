"""Guards that a partitioned table does not hand down, and the guard of the running totals.

Row triggers of the parent are cloned to each partition; statement triggers fire only for the table that a statement
names. So each partition has its own: else a direct TRUNCATE would pass, and a direct INSERT would not be counted. An
insert into the parent fires the parent's only, so nothing is counted twice.
"""

# One statement each, with the partition's name to be filled in; run again, they change nothing.
PARTITION_TRIGGERS = (
    "CREATE OR REPLACE TRIGGER usage_event_no_truncate BEFORE TRUNCATE ON {name} "
    "FOR EACH STATEMENT EXECUTE FUNCTION metering_refuse_change()",
    "CREATE OR REPLACE TRIGGER usage_event_fold AFTER INSERT ON {name} REFERENCING NEW TABLE AS fresh "
    "FOR EACH STATEMENT EXECUTE FUNCTION metering_fold_usage()",
    "CREATE OR REPLACE TRIGGER usage_event_count AFTER INSERT ON {name} REFERENCING NEW TABLE AS fresh "
    "FOR EACH STATEMENT EXECUTE FUNCTION metering_count_usage()",
)


def _for_each_partition(*statements: str) -> str:
    executed = "\n".join(f"EXECUTE format($ddl${statement.format(name='%s')}$ddl$, part);" for statement in statements)
    return f"""
DO $each$
DECLARE part regclass;
BEGIN
    FOR part IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'metering_usageevent'::regclass LOOP
        {executed}
    END LOOP;
END
$each$;
"""


# The first two guarded the partitions that were there when guards came; the third came with the counters.
GUARD_PARTITIONS = _for_each_partition(*PARTITION_TRIGGERS[:2])
COUNT_PARTITIONS = _for_each_partition(PARTITION_TRIGGERS[2])
UNCOUNT_PARTITIONS = _for_each_partition("DROP TRIGGER usage_event_count ON {name}")
UNGUARD_PARTITIONS = _for_each_partition(
    "DROP TRIGGER usage_event_no_truncate ON {name}", "DROP TRIGGER usage_event_fold ON {name}"
)

# Totals follow the events: they are written from inside the fold, where the depth is one, and by nobody's hand. None
# is ever taken away.
GUARD_TOTALS = """
CREATE FUNCTION metering_refuse_hand() RETURNS trigger LANGUAGE plpgsql AS $guard$
BEGIN
    RAISE EXCEPTION 'Running totals follow the events: add an event instead (table %)', TG_TABLE_NAME
        USING ERRCODE = 'check_violation', CONSTRAINT = 'usage_aggregate_by_trigger';
END
$guard$;
CREATE TRIGGER usage_aggregate_by_trigger BEFORE INSERT OR UPDATE ON metering_usageaggregate
    FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION metering_refuse_hand();
CREATE TRIGGER usage_aggregate_kept BEFORE DELETE OR TRUNCATE ON metering_usageaggregate
    FOR EACH STATEMENT EXECUTE FUNCTION metering_refuse_hand();
"""
UNGUARD_TOTALS = """
DROP TRIGGER usage_aggregate_by_trigger ON metering_usageaggregate;
DROP TRIGGER usage_aggregate_kept ON metering_usageaggregate;
DROP FUNCTION metering_refuse_hand();
"""

# Last readings follow the events like the totals. A counter is opened and closed by services, and moved by events only.
GUARD_LAST_AND_COUNTERS = """
CREATE TRIGGER usage_last_by_trigger BEFORE INSERT OR UPDATE OR DELETE ON metering_usagelast
    FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION metering_refuse_hand();
CREATE TRIGGER usage_last_kept BEFORE TRUNCATE ON metering_usagelast
    FOR EACH STATEMENT EXECUTE FUNCTION metering_refuse_hand();
CREATE TRIGGER usage_counter_by_trigger BEFORE UPDATE ON metering_usagecounter
    FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION metering_refuse_hand();
"""
UNGUARD_LAST_AND_COUNTERS = """
DROP TRIGGER usage_last_by_trigger ON metering_usagelast;
DROP TRIGGER usage_last_kept ON metering_usagelast;
DROP TRIGGER usage_counter_by_trigger ON metering_usagecounter;
"""
