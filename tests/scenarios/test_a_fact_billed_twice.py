"""A customer's letter: our retries made new ids, January billed two calls twice. Then: no, they were real after all."""

from datetime import timedelta

import pytest

from apps.invoices.adjustment_models import Adjustment
from apps.ledger import selectors as ledger_selectors
from apps.metering import selectors as metering_selectors
from apps.metering.models import UsageEvent
from tests.builders import late_usage as late
from tests.builders import metering
from tests.builders.corrections import correction, counter
from tests.builders.late_usage import FEBRUARY, JANUARY, MARCH

pytestmark = pytest.mark.races

FINAL_AT = FEBRUARY + timedelta(hours=30)
LETTER_AT = FEBRUARY + timedelta(days=3)
SECOND_LETTER_AT = FEBRUARY + timedelta(days=6)


def _used(code: str, *event_ids: str) -> None:
    events = [
        metering.event(id=f"{code}-{event_id}", customer=code, type=code, occurred_at="2026-01-05T00:00:00Z")
        for event_id in event_ids
    ]
    assert metering.send(*events, at=JANUARY + timedelta(days=5)).accepted == len(events)


def _quantity(subscription) -> int:
    usage = metering_selectors.usage_quantity(
        meter=metering_selectors.meter_by_reference(subscription.customer.external_id),
        customer_id=subscription.customer_id,
        subscription_id=subscription.id,
        starts_at=JANUARY,
        ends_at=FEBRUARY,
    )
    return int(usage.quantity)


def _amounts(subscription) -> list[int]:
    adjustments = Adjustment.objects.filter(subscription=subscription).exclude(status="CANCELED").order_by("id")
    return list(adjustments.values_list("amount_minor", flat=True))


def test_what_was_billed_twice_comes_back_and_taking_it_back_returns_to_the_start(committed_tenant):
    """I09, S081: cancelled after the invoice the difference comes back; the counter-correction returns all balances."""
    code = "c-twice"
    _customer, subscription = late.subscribed(code)
    _used(code, "a", "b", "c", "b-again", "c-again")
    january = late.finalized(subscription, ends_at=FEBRUARY, at=FINAL_AT)
    assert (january.total_minor, _quantity(subscription)) == (50, 5)

    twice = [{"source": "test", "id": f"{code}-{name}-again"} for name in ("b", "c")]
    done = correction(*twice, kind="cancel", reason_code="duplicate", at=LETTER_AT)
    assert done.document_effect == {
        "is_whole": True,
        "documents": [
            {
                "invoice": january.public_id,
                "number": january.number,
                "period": late.period_of(subscription).public_id,
                "customer": subscription.customer.public_id,
                "currency": january.currency,
                "amount_minor": -20,
            }
        ],
    }
    assert _quantity(subscription) == 3
    assert late.settle(subscription, at=LETTER_AT) == 1
    assert _amounts(subscription) == [-20]

    back = counter(done, at=SECOND_LETTER_AT)
    assert back.document_effect["documents"][0]["amount_minor"] == 20
    assert _quantity(subscription) == 5
    assert late.settle(subscription, at=SECOND_LETTER_AT) == 1
    assert sum(_amounts(subscription)) == 0

    late.used(code, count=1, occurred_at=FEBRUARY + timedelta(days=9))
    february = late.finalized(subscription, ends_at=MARCH, at=MARCH + timedelta(hours=30))
    assert february.total_minor == 10, "February's own call and nothing else"
    january.refresh_from_db()
    assert january.total_minor == 50, "what was issued stays as it is"
    assert UsageEvent.objects.filter(type=code).count() == 8, (
        "five that were sent, two that were entered again, one more"
    )
    totals = ledger_selectors.trial_balance_totals(rows=ledger_selectors.trial_balance())
    assert not any(totals.values())


def test_a_correction_of_a_running_period_changes_no_document(committed_tenant):
    code = "c-running"
    _customer, subscription = late.subscribed(code)
    _used(code, "a", "b")
    done = correction({"source": "test", "id": f"{code}-a"}, kind="cancel", at=JANUARY + timedelta(days=6))
    assert done.document_effect == {"is_whole": True, "documents": []}
    january = late.finalized(subscription, ends_at=FEBRUARY, at=FINAL_AT)
    assert january.total_minor == 10
    late.settle(subscription, at=LETTER_AT)
    assert _amounts(subscription) == []
