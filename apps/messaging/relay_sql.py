"""The statements of publisher, sealer and relay; each says what it guarantees."""

# Numbered and written in one statement: news is written with every batch of events, and each round trip counts there.
PUBLISH = """
INSERT INTO messaging_domainevent
    (id, topic, schema_version, aggregate_type, aggregate_id, sequence, payload, actor_kind, actor_label, at,
     request_id)
SELECT %(id)s, %(topic)s, 1, %(aggregate_type)s, %(aggregate_id)s, coalesce(max(sequence), 0) + 1, %(payload)s,
       %(actor_kind)s, %(actor_label)s, %(at)s, %(request_id)s
FROM messaging_domainevent WHERE aggregate_type = %(aggregate_type)s AND aggregate_id = %(aggregate_id)s
RETURNING *
"""

# Positions follow the head without a hole. Only committed rows are visible here, so a position once given is never
# preceded later by a smaller one.
SEAL = """
WITH batch AS (
    SELECT id, row_number() OVER (ORDER BY id) AS place
    FROM messaging_domainevent WHERE position IS NULL ORDER BY id LIMIT %(limit)s
)
UPDATE messaging_domainevent e SET position = %(head)s + batch.place FROM batch WHERE e.id = batch.id RETURNING e.id
"""

# Takes what is due and not leased, skipping rows another relay holds. A message waits while an earlier one for the
# same handler and aggregate is unfinished, so each handler sees an aggregate's news in order; a dead one does not
# block those behind it, it waits for a person.
CLAIM = """
UPDATE messaging_outboxmessage m
SET claimed_until = %(until)s, attempts = attempts + 1
WHERE m.id IN (
    SELECT o.id FROM messaging_outboxmessage o
    WHERE o.status = 'PENDING' AND (o.due_at IS NULL OR o.due_at <= %(now)s)
      AND (o.claimed_until IS NULL OR o.claimed_until < %(now)s)
      AND NOT EXISTS (
        SELECT 1 FROM messaging_outboxmessage earlier
        WHERE earlier.status = 'PENDING' AND earlier.handler = o.handler
          AND earlier.aggregate_id = o.aggregate_id AND earlier.id < o.id
      )
    ORDER BY o.id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
RETURNING m.id, m.handler, m.attempts, m.event_id
"""
