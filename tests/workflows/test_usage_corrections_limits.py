"""Corrections and limits: a limit is a promise about the door, a correction says what has happened."""

from datetime import UTC, datetime

import pytest

from apps.metering import selectors
from tests.builders import limits, metering
from tests.builders.corrections import correction, counter

pytestmark = pytest.mark.django_db

AT = datetime(2026, 1, 15, 12, tzinfo=UTC)
WINDOW = {"starts_at": datetime(2026, 1, 1, tzinfo=UTC), "ends_at": datetime(2026, 2, 1, tzinfo=UTC)}


def _used(subscription) -> int:
    meter = selectors.meter_by_reference("api_calls")
    usage = selectors.usage_quantity(
        meter=meter, customer_id=subscription.customer_id, subscription_id=subscription.id, **WINDOW
    )
    return int(usage.quantity)


def test_a_limit_that_is_used_up_keeps_no_correction_from_being_taken_back(tenant):
    """I09: what was cancelled comes back although others have used what it left; the door goes on refusing."""
    metering.meter()
    subscription = limits.limited(limit="2")
    first, second, third, fourth = (metering.event(id=f"e{number}") for number in range(4))
    assert metering.send(first, second, at=AT).accepted == 2
    assert metering.send(third, at=AT).results[0].code == "quota_exceeded"
    done = correction({"source": "test", "id": "e0"}, kind="cancel", at=AT)
    assert metering.send(third, at=AT).accepted == 1, "a cancellation makes room"
    counter(done, at=AT)
    assert _used(subscription) == 3
    assert metering.send(fourth, at=AT).results[0].code == "quota_exceeded"
    assert selectors.aggregates_compare(limit=10) == []
