"""Which events and cancellations are new since the follower last looked, and how its steps read them."""

# A process without a snapshot has seen nothing.
NOTHING_SEEN = "1:1:"

# Both indexes hold one pair of numbers per block range: they cost a write next to nothing, and what the follower has
# seen already it need not read. Transaction ids only rise, which no clock promises.
ADD_RECORDED_INDEX = """
CREATE INDEX metering_usageevent_recorded ON metering_usageevent
    USING brin ((recorded_xid::text::bigint)) WITH (pages_per_range = 32, autosummarize = on);
"""
DROP_RECORDED_INDEX = "DROP INDEX metering_usageevent_recorded;"


def is_new(row: str) -> str:
    """
    Return the condition that a row with `recorded_xid` (alias `row`) is new in this run of the follower.

    Every committed row is new in exactly one run. The first comparison follows from the others; it is what an index
    can answer.
    """
    return f"""(
        {row}.recorded_xid::text::bigint >= pg_snapshot_xmin(%(done)s::pg_snapshot)::text::bigint
        AND pg_visible_in_snapshot({row}.recorded_xid, %(reached)s::pg_snapshot)
        AND NOT pg_visible_in_snapshot({row}.recorded_xid, %(done)s::pg_snapshot)
    )"""


CURSOR_CREATE = """
INSERT INTO metering_usagefollower (id, done_snapshot, reached_snapshot, is_only_row)
VALUES (%(id)s, %(nothing)s, %(nothing)s, true) ON CONFLICT (is_only_row) DO NOTHING
"""

# Whether all that ran when `reached` was taken has ended: only then is every document final, or gone, that could have
# overlooked an event which `reached` shows.
HAS_ENDED = "SELECT pg_snapshot_xmin(pg_current_snapshot()) >= pg_snapshot_xmax(%(reached)s::pg_snapshot)"

CURRENT = "SELECT pg_current_snapshot()::text"

# Whom there is something new of, for who bills usage event by event. Cancellations take nothing off a running period
# before its close, so they are no news.
MARK_CUSTOMERS = f"""
INSERT INTO metering_usagenews AS n (customer_id, number, received_at)
SELECT e.customer_id, 1, max(e.received_at) FROM metering_usageevent e WHERE {is_new("e")}
GROUP BY 1 ORDER BY 1
ON CONFLICT (customer_id) DO UPDATE SET
    number = n.number + 1, received_at = greatest(n.received_at, excluded.received_at)
"""
