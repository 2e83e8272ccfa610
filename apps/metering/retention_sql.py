"""Months of raw events as tables: which are there, what they are made of, and how one leaves and comes back."""

# The months that are partitions, oldest first, and how many rows the planner believes each to have.
MONTHS_AT_HAND = """
    SELECT to_date(right(c.relname, 6), 'YYYYMM'), greatest(c.reltuples, 0)::bigint
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'metering_usageevent'::regclass ORDER BY 1
"""

COLUMNS = """
    SELECT attname FROM pg_attribute
    WHERE attrelid = 'metering_usageevent'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""

# Nobody writes to the month any more, and readers go on, until it is taken out.
HOLD_MONTH = "LOCK TABLE {table} IN SHARE MODE"
COPY_OUT = "COPY (SELECT {columns} FROM {table} ORDER BY occurred_at, event_key) TO STDOUT"
COPY_IN = "COPY {table} ({columns}) FROM STDIN"
READ_BACK = "CREATE TEMPORARY TABLE usage_read_back (LIKE metering_usageevent INCLUDING DEFAULTS) ON COMMIT DROP"
DETACH = "ALTER TABLE metering_usageevent DETACH PARTITION {table}"
DROP = "DROP TABLE {table}"
# What came to a retired month meanwhile goes back in beside what the file brings; it was counted when it came.
SET_ASIDE = "ALTER TABLE {table} RENAME TO usage_set_aside"
TAKE_BACK = "INSERT INTO {table} ({columns}) SELECT {columns} FROM usage_set_aside"
DROP_ASIDE = "DROP TABLE usage_set_aside"
# The file's instants as it wrote them, whatever the session is set to.
PLAIN_INSTANTS = "SELECT set_config('TimeZone', 'UTC', true), set_config('DateStyle', 'ISO', true)"
