"""How a batch is written: COPY for what is new, a second way for what may be there already."""

# Identity first: COPY meets the unique index itself, so the check and the write are one thing. A key that is taken
# fails the whole COPY, and the batch goes the second way.
COPY_KEYS = "COPY metering_usageeventkey (event_key, payload_hash, received_at) FROM STDIN"

# The second way, in the same key order, so that two batches that overlap wait for each other and never in a circle.
# What another transaction is writing is waited for; its keys are then not returned.
INSERT_KEYS = """
INSERT INTO metering_usageeventkey (event_key, payload_hash, received_at)
SELECT k, h, %(at)s FROM unnest(%(keys)s::uuid[], %(hashes)s::bytea[]) AS fresh (k, h) ORDER BY k
ON CONFLICT (event_key) DO NOTHING
RETURNING replace(event_key::text, '-', '')
"""

# A later statement, so it sees what the insert above waited for.
STORED_HASHES = """
SELECT replace(event_key::text, '-', ''), encode(payload_hash, 'hex') FROM metering_usageeventkey
WHERE event_key = ANY(%s::uuid[])
"""

COPY_EVENTS = """
COPY metering_usageevent (event_key, source, event_id, type, customer_id, subscription_id, occurred_at, received_at,
                          quantity, properties, mapping_version, batch_position) FROM STDIN
"""

# The same for events that a correction brings: one that stands for another counts for that one's meters.
COPY_RESTATED = """
COPY metering_usageevent (event_key, source, event_id, type, customer_id, subscription_id, occurred_at, received_at,
                          quantity, properties, mapping_version, batch_position, stands_for_xid) FROM STDIN
"""

# Held by every intake, shared, and by whoever defines a meter, alone: each event is written wholly before or wholly
# after a meter is there. The key is the one that `common.locks.advisory_lock("metering:meters")` takes.
METERS_HOLD = "SELECT pg_advisory_xact_lock_shared(hashtextextended(%s, 0))"
