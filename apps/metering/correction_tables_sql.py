"""What corrections add to the tables that the ORM cannot describe."""

# An event that stands for another one counts for the meters that the other counted for, and for no newer ones: its own
# transaction is later than theirs. Empty for every event that stands for itself.
ADD_STANDS_FOR = "ALTER TABLE metering_usageevent ADD COLUMN stands_for_xid xid8;"
DROP_STANDS_FOR = "ALTER TABLE metering_usageevent DROP COLUMN stands_for_xid;"
