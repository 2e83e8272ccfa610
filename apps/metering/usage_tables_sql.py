"""The tables that the ORM cannot describe: events, their identity, their rollups, and how an event is read by a meter.

Shape and order follow measurements (ADR 0010): identity in a narrow key table that COPY meets directly, events in
monthly partitions without a unique index, rollups kept by statement triggers (`usage_fold_sql.py`). A statement trigger
fires only for the table that is named, so each partition carries them, too (`usage_guards_sql.py`).
"""

# What a meter can add up, the same text for the check of an event and for the database: 20 digits before the point and
# 12 behind it; a million of them still add up exactly inside 38 digits. No backslash, so that both read it alike.
VALUE_PATTERN = "-?[0-9]{1,20}(?:[.][0-9]{1,12})?"

# How many events one event may stand for: a whole number from 1 to a million.
WEIGHT_PATTERN = "(?:[1-9][0-9]{0,5}|1000000)"

# What a unique count can tell apart: as long as an event's own id may be.
LABEL_LENGTH_MAX = 255

NO_SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"

# Identity for ever: one row per accepted (source, event id). The hash tells a repeat from a contradiction.
CREATE_KEYS = """
CREATE TABLE metering_usageeventkey (
    event_key uuid PRIMARY KEY,
    payload_hash bytea NOT NULL CHECK (length(payload_hash) = 32),
    received_at timestamptz NOT NULL
);
"""

# `recorded_xid` is the transaction that wrote the row. A rating decision stores the snapshot it read under, and
# pg_visible_in_snapshot() then tells for ever which events it had seen: late ones are told apart without a lock.
CREATE_EVENTS = """
CREATE TABLE metering_usageevent (
    event_key uuid NOT NULL,
    source text NOT NULL,
    event_id text NOT NULL,
    type text NOT NULL,
    customer_id uuid NOT NULL,
    subscription_id uuid,
    occurred_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    quantity numeric,
    properties jsonb NOT NULL,
    mapping_version smallint NOT NULL DEFAULT 0,
    recorded_xid xid8 NOT NULL DEFAULT pg_current_xact_id()
) PARTITION BY RANGE (occurred_at);
CREATE INDEX metering_usageevent_occurred ON metering_usageevent USING brin (occurred_at);
"""

CREATE_AGGREGATES = f"""
CREATE TABLE metering_usageaggregate (
    customer_id uuid NOT NULL,
    meter_id uuid NOT NULL,
    hour timestamptz NOT NULL,
    subscription_id uuid NOT NULL DEFAULT '{NO_SUBSCRIPTION}',
    dimensions jsonb NOT NULL DEFAULT '{{}}',
    event_count bigint NOT NULL,
    value_sum numeric NOT NULL,
    value_max numeric NOT NULL,
    CONSTRAINT usage_aggregate_once PRIMARY KEY (customer_id, meter_id, hour, subscription_id, dimensions)
) WITH (fillfactor = 70);
"""

# A meter counts what was not there yet when it was defined. Definition and intake exclude each other by a lock, so no
# event is half-way in, and the totals and every later reading of the raw events draw the same line for ever. A
# snapshot does not list the transaction that took it, so that one is kept beside it.
CREATE_METER_SINCE = """
ALTER TABLE metering_meter
    ADD COLUMN defined_snapshot pg_snapshot NOT NULL DEFAULT pg_current_snapshot(),
    ADD COLUMN defined_xid xid8 NOT NULL DEFAULT pg_current_xact_id();
"""

# Events of one batch came one after the other; where their times are equal, that is the order in which they count.
ADD_BATCH_POSITION = "ALTER TABLE metering_usageevent ADD COLUMN batch_position smallint NOT NULL DEFAULT 0;"
DROP_BATCH_POSITION = "ALTER TABLE metering_usageevent DROP COLUMN batch_position;"

# How many events one event stands for, where a meter says which property tells it; an event without it is one.
EVENT_WEIGHT = "coalesce((e.properties ->> m.weight_property)::numeric, 1)"

# The number that an event is for a meter: 1 where events or labels are counted, else the meter's property, else the
# top-level quantity; times its weight.
EVENT_VALUE = f"""
    CASE WHEN m.aggregation = 'unique_count' THEN 1::numeric
         WHEN m.aggregation = 'count' THEN CASE WHEN m.weight_property = '' THEN 1::numeric ELSE {EVENT_WEIGHT} END
         WHEN m.weight_property = '' THEN coalesce((e.properties ->> m.value_property)::numeric, e.quantity)
         ELSE coalesce((e.properties ->> m.value_property)::numeric, e.quantity) * {EVENT_WEIGHT} END
"""

# The text of the value that is read; JSON's null reads like a property that is not there.
_VALUE_TEXT = "coalesce(e.properties ->> m.value_property, e.quantity::text)"

# A label is one plain value as text, and never the quantity: nobody's user is called 5.
HAS_LABEL = f"""
    (jsonb_typeof(e.properties -> m.value_property) IN ('string', 'number', 'boolean')
     AND length(e.properties ->> m.value_property) BETWEEN 1 AND {LABEL_LENGTH_MAX}
     AND (m.operation_property = '' OR e.properties ->> m.operation_property IN ('add', 'remove')))
"""

# A plain decimal; only the changes that a weighted sum adds up may be below zero.
HAS_NUMBER = f"""
    ({_VALUE_TEXT} ~ '^{VALUE_PATTERN}$' AND (m.aggregation = 'weighted_sum' OR {_VALUE_TEXT} !~ '^-.*[1-9]'))
"""

HAS_WEIGHT = f"""
    (m.weight_property = '' OR coalesce(e.properties ->> m.weight_property, '1') ~ '^{WEIGHT_PATTERN}$')
"""

# The transaction that says which meters are older than an event: its own, or that of the event it restates. Who mends
# an old event brings no new meter in by accident.
WRITTEN_XID = "coalesce(e.stands_for_xid, e.recorded_xid)"
SINCE_DEFINED = f"(NOT pg_visible_in_snapshot({WRITTEN_XID}, m.defined_snapshot) OR {WRITTEN_XID} = m.defined_xid)"

# Of the type, written since the meter is there, carrying the filter's properties, and with a value that can be counted.
# A current version refuses every other value at the door, so this leaves out nothing of its own; a retired one must not
# refuse what was meant for its successor, and leaves such an event out.
EVENT_MATCHES = f"""
    m.event_type = e.type AND e.properties @> m.filters
    AND {SINCE_DEFINED}
    AND CASE m.aggregation WHEN 'count' THEN true WHEN 'unique_count' THEN {HAS_LABEL} ELSE {HAS_NUMBER} END
    AND {HAS_WEIGHT}
"""

# Most meters have no grouping, and a subquery for each of their events would cost as much as the rest of the fold.
EVENT_DIMENSIONS = """
    CASE WHEN m.group_by = '{}' THEN '{}'::jsonb
         ELSE (SELECT jsonb_object_agg(d, e.properties -> d) FROM unnest(m.group_by) d) END
"""

# Events and keys only grow. Row triggers that never fire cost the write path nothing.
CREATE_GUARDS = """
CREATE FUNCTION metering_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $guard$
BEGIN
    RAISE EXCEPTION 'Usage events only grow: correct by adding (table %)', TG_TABLE_NAME
        USING ERRCODE = 'check_violation', CONSTRAINT = 'usage_event_append_only';
END
$guard$;
CREATE TRIGGER usage_event_append_only BEFORE UPDATE OR DELETE ON metering_usageevent
    FOR EACH ROW EXECUTE FUNCTION metering_refuse_change();
CREATE TRIGGER usage_event_no_truncate BEFORE TRUNCATE ON metering_usageevent
    FOR EACH STATEMENT EXECUTE FUNCTION metering_refuse_change();
CREATE TRIGGER usage_event_key_append_only BEFORE UPDATE OR DELETE ON metering_usageeventkey
    FOR EACH ROW EXECUTE FUNCTION metering_refuse_change();
CREATE TRIGGER usage_event_key_no_truncate BEFORE TRUNCATE ON metering_usageeventkey
    FOR EACH STATEMENT EXECUTE FUNCTION metering_refuse_change();
"""

# What the rollups keep of an hour for the aggregations that count, sum and max are not made of. `value_area` is the
# value times the microseconds from each event to the end of its hour: a weighted sum of whole hours follows from it.
# `source_sequence` is the producer's own count of its events; gaps in it are losses.
WIDEN_AGGREGATES = """
ALTER TABLE metering_usageaggregate
    ADD COLUMN value_min numeric NOT NULL DEFAULT 0,
    ADD COLUMN value_area numeric NOT NULL DEFAULT 0;
-- Room for the versions that neighbours still see: without it an update moves to another page and touches the index.
ALTER TABLE metering_usageaggregate SET (fillfactor = 50);
ALTER TABLE metering_usageevent ADD COLUMN source_sequence bigint;
"""
NARROW_AGGREGATES = """
ALTER TABLE metering_usageaggregate DROP COLUMN value_min, DROP COLUMN value_area;
ALTER TABLE metering_usageevent DROP COLUMN source_sequence;
"""

# The last reading of each hour, by the order in which events count: of the whole group for `latest` (an empty label),
# of each label for `unique_count`. The label is kept as its SHA-256, because a label of 255 characters beside a
# grouping is longer than an index entry may be, and because nobody's name belongs into a total.
CREATE_LAST = f"""
CREATE TABLE metering_usagelast (
    customer_id uuid NOT NULL,
    meter_id uuid NOT NULL,
    hour timestamptz NOT NULL,
    subscription_id uuid NOT NULL DEFAULT '{NO_SUBSCRIPTION}',
    dimensions jsonb NOT NULL DEFAULT '{{}}',
    label_key bytea NOT NULL,
    occurred_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    recorded_xid xid8 NOT NULL,
    batch_position smallint NOT NULL,
    event_key uuid NOT NULL,
    value numeric NOT NULL,
    is_present boolean NOT NULL,
    CONSTRAINT usage_last_once PRIMARY KEY (customer_id, meter_id, hour, subscription_id, dimensions, label_key)
) WITH (fillfactor = 50);
"""

# Live usage of one exact window, whatever instants it begins and ends at: what a limit is judged by. Kept by the
# trigger for count, sum and max from the instant at which it was opened.
CREATE_COUNTERS = f"""
CREATE TABLE metering_usagecounter (
    counter_id uuid PRIMARY KEY,
    customer_id uuid NOT NULL,
    meter_id uuid NOT NULL,
    subscription_id uuid NOT NULL DEFAULT '{NO_SUBSCRIPTION}',
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    used_units numeric NOT NULL,
    event_count bigint NOT NULL,
    CONSTRAINT usage_counter_once UNIQUE (customer_id, meter_id, subscription_id, starts_at, ends_at),
    CONSTRAINT usage_counter_has_length CHECK (starts_at < ends_at)
) WITH (fillfactor = 20);
"""

# An event that is cancelled counts no more from here on; it stays where it is, and its id stays taken. A reader with an
# earlier snapshot goes on seeing it.
CREATE_CANCELLATIONS = """
CREATE TABLE metering_usagecancellation (
    event_key uuid PRIMARY KEY,
    customer_id uuid NOT NULL,
    type text NOT NULL,
    occurred_at timestamptz NOT NULL,
    correction_id uuid NOT NULL,
    cancelled_at timestamptz NOT NULL,
    recorded_xid xid8 NOT NULL DEFAULT pg_current_xact_id()
);
CREATE INDEX metering_usagecancellation_correction ON metering_usagecancellation (correction_id);
CREATE TRIGGER usage_cancellation_append_only BEFORE UPDATE OR DELETE ON metering_usagecancellation
    FOR EACH ROW EXECUTE FUNCTION metering_refuse_change();
CREATE TRIGGER usage_cancellation_no_truncate BEFORE TRUNCATE ON metering_usagecancellation
    FOR EACH STATEMENT EXECUTE FUNCTION metering_refuse_change();
"""

DROP_LAST = "DROP TABLE metering_usagelast;"
DROP_COUNTERS = "DROP TABLE metering_usagecounter;"
DROP_CANCELLATIONS = "DROP TABLE metering_usagecancellation;"

DROP_ALL = """
DROP TABLE metering_usageaggregate;
DROP TABLE metering_usageevent;
DROP TABLE metering_usageeventkey;
DROP FUNCTION metering_fold_usage();
DROP FUNCTION metering_refuse_change();
ALTER TABLE metering_meter DROP COLUMN defined_snapshot, DROP COLUMN defined_xid;
"""
