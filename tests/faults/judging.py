"""What must be true of a customer's usage after whatever has happened to the processes that took it in."""

from collections.abc import Collection, Sequence
from typing import Any

from apps.common import clock
from apps.common.db import fetch_all
from apps.customers.models import Customer
from apps.metering import following, selectors
from apps.metering.models import UsageSource

_STORED = """
SELECT
    (SELECT count(*) FROM metering_usageevent WHERE type = %(type)s),
    (SELECT count(DISTINCT event_id) FROM metering_usageevent WHERE type = %(type)s),
    (SELECT count(*) FROM metering_usageeventkey k WHERE EXISTS (
        SELECT FROM metering_usageevent e WHERE e.event_key = k.event_key AND e.type = %(type)s)),
    (SELECT coalesce(sum(a.event_count), 0) FROM metering_usageaggregate a
        JOIN metering_meter m ON m.id = a.meter_id WHERE m.event_type = %(type)s),
    (SELECT coalesce(sum(a.value_sum), 0) FROM metering_usageaggregate a
        JOIN metering_meter m ON m.id = a.meter_id WHERE m.event_type = %(type)s)
"""
_CUSTOMERS = "SELECT DISTINCT customer_id FROM metering_usageevent WHERE type = %s"
_KEYS_WITHOUT_EVENT = """
SELECT count(*) FROM metering_usageeventkey k
WHERE NOT EXISTS (SELECT FROM metering_usageevent e WHERE e.event_key = k.event_key)
"""
_MISSING = """
SELECT id FROM unnest(%(ids)s::text[]) id
WHERE NOT EXISTS (SELECT FROM metering_usageevent e WHERE e.type = %(type)s AND e.event_id = id) LIMIT 5
"""


def assert_counted_once(*, event_type: str, ids: Collection[str], units: int | None = None) -> None:
    """
    Require that exactly these ids are stored, each once, with its identity and in the totals; tolerance zero.

    :param units: what the values of all events sum to; one each without it
    """
    stored, distinct, keys, counted, value = fetch_all(_STORED, {"type": event_type})[0]
    assert fetch_all(_MISSING, {"ids": list(ids), "type": event_type}) == [], "an event that was answered is not there"
    assert (stored, distinct, keys, counted) == (len(ids),) * 4, (
        f"{len(ids)} ids were sent; stored {stored}, distinct {distinct}, identities {keys}, in the totals {counted}"
    )
    assert value == (len(ids) if units is None else units)
    assert fetch_all(_KEYS_WITHOUT_EVENT) == [(0,)], "an identity without its event"
    customers = Customer.objects.filter(id__in=[row[0] for row in fetch_all(_CUSTOMERS, [event_type])])
    for customer in customers:
        assert selectors.aggregates_compare(limit=1, customer_id=customer.id) == []


def ids_of(batches: Sequence[Sequence[dict[str, Any]]]) -> set[str]:
    """Return the distinct ids of all events."""
    return {event["id"] for batch in batches for event in batch}


def assert_followed(*, source: str, ids: Collection[str]) -> None:
    """Require that the follower counts each of a source's events once, however often it was killed."""
    for _ in range(4):
        following.usage_follow(at=clock.now())
    assert UsageSource.objects.get(source=source).event_count == len(ids)
