"""Corrections and limits: a limit is a promise about the door, a correction says what has happened."""

from datetime import UTC, datetime, timedelta

import pytest

from apps.metering import intake_settings, selectors
from apps.metering.errors import CorrectionInvalid
from apps.metering.intake_terms import UsageTerms
from tests.builders import customers, limits, metering
from tests.builders.corrections import ADA, correction, counter

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


def test_an_id_that_was_forgotten_and_came_again_is_not_cancelled_by_half(tenant):
    """A cancellation is by id: where an id names two events it is refused, and both go on counting."""
    metering.meter()
    customer = customers.customer(external_id="acme")
    terms = UsageTerms(dedup_window_hours=24, retry_window_hours=24)
    intake_settings.usage_settings_set(terms=terms, actor=ADA, at=AT)
    event = metering.event(id="again")
    alone = metering.event(id="alone")
    assert metering.send(event, alone, at=AT).accepted == 2
    assert metering.send(event, at=AT + timedelta(days=3)).accepted == 1
    with pytest.raises(CorrectionInvalid) as refused:
        correction({"source": "test", "id": "again"}, kind="cancel", at=AT + timedelta(days=4))
    assert [problem.code for problem in refused.value.problems] == ["id_used_again"]
    meter = selectors.meter_by_reference("api_calls")
    scope = {"meter": meter, "customer_id": customer.id, "subscription_id": None, **WINDOW}
    assert selectors.usage_quantity(**scope).quantity == 3
    correction({"source": "test", "id": "alone"}, kind="cancel", at=AT + timedelta(days=4))
    assert selectors.usage_quantity(**scope).quantity == 2
