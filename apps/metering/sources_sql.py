"""What the follower keeps of sources, and how loss is read from it."""

# The numbers that are there. Null means that they have more gaps than a row can list; the counts remain.
ADD_SEQUENCES = "ALTER TABLE metering_sourcehour ADD COLUMN sequences int8multirange DEFAULT '{}';"
DROP_SEQUENCES = "ALTER TABLE metering_sourcehour DROP COLUMN sequences;"

# One hour of all customers is read by the watch for unusual usage, one day by its proof; the key leads with customers.
# Totals are made in the order of time, so a few bytes per block are enough to find them.
ADD_TOTALS_BY_HOUR = """
CREATE INDEX metering_usageaggregate_hour ON metering_usageaggregate
    USING brin (hour) WITH (pages_per_range = 32, autosummarize = on);
"""
DROP_TOTALS_BY_HOUR = "DROP INDEX metering_usageaggregate_hour;"
