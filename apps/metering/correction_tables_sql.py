"""What corrections add to the tables that the ORM cannot describe."""

# An event that stands for another one counts for the meters that the other counted for, and for no newer ones: its own
# transaction is later than theirs. Empty for every event that stands for itself.
ADD_STANDS_FOR = "ALTER TABLE metering_usageevent ADD COLUMN stands_for_xid xid8;"
DROP_STANDS_FOR = "ALTER TABLE metering_usageevent DROP COLUMN stands_for_xid;"

# Who knows an event's identity knows when it was received, and so where it lies: without this, one event of a firehose
# would be looked for in all of it. One pair of instants per block range, so that a write pays next to nothing.
ADD_RECEIVED_INDEX = """
CREATE INDEX metering_usageevent_received ON metering_usageevent
    USING brin (received_at) WITH (pages_per_range = 32, autosummarize = on);
"""
DROP_RECEIVED_INDEX = "DROP INDEX metering_usageevent_received;"
