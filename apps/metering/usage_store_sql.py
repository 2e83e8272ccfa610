"""How a batch is written: COPY for what is new, a second way for what may be there already."""

# Identity first: COPY meets the unique index itself, so the check and the write are one thing. A key that is taken
# fails the whole COPY, and the batch goes the second way.
COPY_KEYS = "COPY metering_usageeventkey (event_key, payload_hash, received_at) FROM STDIN (FORMAT binary)"

# Which keys of a batch are there, and whether with the same content. The limit keeps the search one look at the index
# for each key, however large the planner believes the table to be.
FIND_STORED = """
SELECT fresh.n, stored.payload_hash = decode(fresh.h, 'hex')
FROM unnest(%(keys)s::uuid[], %(hashes)s::text[]) WITH ORDINALITY AS fresh (k, h, n),
     LATERAL (SELECT payload_hash FROM metering_usageeventkey WHERE event_key = fresh.k
              AND (%(known_since)s::timestamptz IS NULL OR received_at > %(known_since)s::timestamptz) LIMIT 1) stored
"""

# The second way, in the same key order, so that two batches that overlap wait for each other and never in a circle.
# What another transaction is writing is waited for; its keys are then not returned. A tenant may limit how long an id
# is known: a key from before then is taken by the event that comes now.
INSERT_KEYS = """
INSERT INTO metering_usageeventkey AS stored (event_key, payload_hash, received_at)
SELECT k, decode(h, 'hex'), %(at)s FROM unnest(%(keys)s::uuid[], %(hashes)s::text[]) AS fresh (k, h) ORDER BY k
ON CONFLICT (event_key) DO UPDATE SET payload_hash = excluded.payload_hash, received_at = excluded.received_at
    WHERE stored.received_at <= %(known_since)s::timestamptz
RETURNING uuid_send(event_key)
"""

COPY_EVENTS = """
COPY metering_usageevent (event_key, source, event_id, type, customer_id, subscription_id, occurred_at, received_at,
                          quantity, properties, mapping_version, batch_position, source_sequence)
FROM STDIN (FORMAT binary)
"""

# The same for events that a correction brings: one that stands for another counts for that one's meters.
COPY_RESTATED = """
COPY metering_usageevent (event_key, source, event_id, type, customer_id, subscription_id, occurred_at, received_at,
                          quantity, properties, mapping_version, batch_position, source_sequence, stands_for_xid)
FROM STDIN (FORMAT binary)
"""

# What the terms of the intake are made of, in one text. A meter is defined or retired, a policy defined, and neither
# is changed otherwise; of the one row of settings, and of who has limits that refuse events, the transaction that wrote
# it: what was rolled back had the same number and another meaning.
TERMS_VERSION = """
SELECT concat_ws(' ', max(defined_xid), count(*), count(retired_at),
                 (SELECT concat_ws(' ', 'p', max(defined_xid), count(*)) FROM metering_eventtypepolicy),
                 (SELECT concat_ws(' ', 's', xmin::text) FROM metering_usagesettings),
                 (SELECT concat_ws(' ', 'l', version, xmin::text) FROM metering_limitedversion))
FROM metering_meter
"""

# Whoever sends again after the window is new, so what is older can go: a batch at a time, oldest pages first.
PURGE_KEYS = """
DELETE FROM metering_usageeventkey WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM metering_usageeventkey WHERE received_at <= %(known_since)s LIMIT %(limit)s
))
RETURNING 1
"""

# How many ids are known, as the planner believes, and the bytes that table and index take.
KEYS_SIZE = """
SELECT greatest(reltuples, 0)::bigint, pg_total_relation_size(oid)
FROM pg_class WHERE oid = 'metering_usageeventkey'::regclass
"""

# One round trip, and yet four statements: each sees what was committed before it began, so the version is read as it
# is once the lock is held. The lock is held by every intake, shared, and by whoever changes the terms, alone: each
# event is written wholly before or wholly after. Its key is the one that `common.locks.advisory_lock` takes.
HOLD_TERMS = f"""
SELECT set_config('lock_timeout', %(wait)s, true);
SELECT pg_advisory_xact_lock_shared(hashtextextended(%(lock)s, 0));
SELECT EXISTS (SELECT FROM metering_usageeventkey WHERE event_key = ANY(%(keys)s::uuid[]));
{TERMS_VERSION}
"""
