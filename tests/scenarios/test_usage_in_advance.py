"""Usage in advance: documents when it happens, and together the price of the period. Commits are real here."""

from datetime import UTC, datetime, timedelta

import pytest

from apps.invoices.models import Invoice, InvoiceLine
from apps.workflows import explanations, invariants
from tests.builders import customers, metering, plans, subscriptions

APRIL = datetime(2026, 4, 1, tzinfo=UTC)
MAY = datetime(2026, 5, 1, tzinfo=UTC)
TIERS = {
    "model": "graduated",
    "tiers": [{"up_to": "100", "unit_rate": "0.10"}, {"up_to": None, "unit_rate": "0.05"}],
}


@pytest.fixture
def world(tenant_of_its_own):
    """A customer whose payments are billed one by one: 0.10 a unit up to 100 a month, 0.05 above."""
    metering.meter(code="payments", event_type="payment", aggregation="sum", value_property="value")
    charge = {"code": "fees", "meter": "payments", "timing": "advance", **TIERS}
    plans.published_plan(code="plan", base_fee=None, charges=[charge])
    clock = customers.test_clock(now_at=APRIL)
    customer = customers.customer(external_id="acme", test_clock=clock)
    subscriptions.subscription(customer=customer, plan_code="plan", starts_at=APRIL)
    return clock, customer


def _pay(value: str, *, occurred_at: datetime, at: datetime) -> None:
    metering.events(
        customer="acme",
        event_type="payment",
        occurred_at=occurred_at,
        at=at,
        prefix=f"of-{value}",
        properties={"value": value},
    )


def _assert_proven(clock, customer) -> None:
    """Require that each line is recomputed from the events that it had seen, hash for hash."""
    for line in InvoiceLine.objects.filter(invoice__customer=customer).select_related("invoice"):
        explained = explanations.line_explain(line=line)
        assert explained.is_equal, explained.explanation.check
    assert not invariants.invariants_check(at=clock.now_at)


def test_usage_is_billed_when_it_happens_and_sums_to_the_price(world):
    """S105: 80 units, then 60 more: two documents, and 140 units cost what both say; nothing is left for the close."""
    clock, customer = world
    for value, day in (("80", 2), ("60", 7)):
        moment = APRIL + timedelta(days=day)
        _pay(value, occurred_at=moment, at=moment + timedelta(hours=1))
        subscriptions.advance(clock, moment + timedelta(days=2))
    subscriptions.advance(clock, APRIL + timedelta(days=12))
    subscriptions.advance(clock, MAY + timedelta(days=2))
    documents = list(Invoice.objects.filter(customer=customer).order_by("id").values_list("kind", "total_minor"))
    # 80 x 0.10; then 20 x 0.10 + 40 x 0.05.
    assert documents == [("USAGE", 8_00), ("USAGE", 4_00), ("CYCLE", 0)]
    _assert_proven(clock, customer)


def test_what_comes_after_the_last_document_is_on_that_of_the_close(world):
    """An event of April that arrives in May, within the grace, is billed once, by April's close."""
    clock, customer = world
    _pay("80", occurred_at=APRIL + timedelta(days=2), at=APRIL + timedelta(days=3))
    subscriptions.advance(clock, MAY + timedelta(minutes=10))
    _pay("5", occurred_at=MAY - timedelta(seconds=1), at=MAY + timedelta(minutes=20))
    subscriptions.advance(clock, MAY + timedelta(days=2))
    lines = InvoiceLine.objects.filter(invoice__customer=customer, service_starts_at=APRIL).order_by("invoice_id")
    assert [line.net_minor for line in lines] == [8_00, 50]
    _assert_proven(clock, customer)
