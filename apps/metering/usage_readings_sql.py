"""How raw events are read one by one, in the order in which they count, as one reader saw them."""

from apps.metering.usage_sql import EVENT_ORDER, RAW_SCOPE, SEEN_BY_SNAPSHOT, TOTALS_OF, texts_of
from apps.metering.usage_tables_sql import EVENT_VALUE

SNAPSHOT = "SELECT pg_current_snapshot()::text"


def _group(document: str) -> str:
    # The same text for equal groups: jsonb has one spelling.
    return f"coalesce((SELECT jsonb_object_agg(d, {document} -> d) FROM unnest(%(group_by)s::text[]) d), '{{}}')::text"


READINGS = f"""
SELECT e.occurred_at, {EVENT_VALUE},
       CASE WHEN m.aggregation = 'unique_count' THEN e.properties ->> m.value_property ELSE '' END,
       CASE WHEN m.operation_property = '' THEN 'add' ELSE e.properties ->> m.operation_property END,
       {texts_of("e.properties")}, {_group("e.properties")},
       CASE WHEN %(names_events)s THEN format('event %%L of source %%L', e.event_id, e.source) ELSE '' END
FROM metering_usageevent e JOIN metering_meter m ON {RAW_SCOPE}
WHERE e.occurred_at >= %(reads_from)s AND e.occurred_at < %(ends_at)s AND {SEEN_BY_SNAPSHOT}
ORDER BY {EVENT_ORDER}
"""

# What all changes before a window add up to, by group: whole hours from the totals, the rest of an hour from events.
# There is always a first row, because it brings the snapshot under which the rest of the window is to be read.
LEVELS = f"""
SELECT s.snapshot, before.texts, before.grouping, before.level
FROM ({SNAPSHOT} AS snapshot) s
LEFT JOIN (
    SELECT texts, grouping, sum(value) AS level
    FROM (
        SELECT {texts_of("a.dimensions")} AS texts, {_group("a.dimensions")} AS grouping, a.value_sum AS value
        FROM metering_usageaggregate a WHERE {TOTALS_OF} AND a.hour < %(carried_until)s
        UNION ALL
        SELECT {texts_of("e.properties")}, {_group("e.properties")}, {EVENT_VALUE}
        FROM metering_usageevent e JOIN metering_meter m ON {RAW_SCOPE}
        WHERE e.occurred_at >= %(carried_until)s AND e.occurred_at < %(starts_at)s
    ) parts
    GROUP BY 1, 2 ORDER BY 2, 1
) before ON true
"""
