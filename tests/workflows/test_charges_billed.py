"""Every kind of charge, from raw events to a final document that explains itself."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from apps.common.actors import OPERATOR
from apps.invoices.models import InvoiceLine
from apps.subscriptions import changes
from apps.subscriptions.inputs import TermsChange, When
from apps.workflows import explanations, invariants
from tests.builders import customers, metering, plans, subscriptions

pytestmark = pytest.mark.django_db

APRIL = datetime(2026, 4, 1, tzinfo=UTC)
MID_APRIL = datetime(2026, 4, 16, tzinfo=UTC)
MAY = datetime(2026, 5, 1, tzinfo=UTC)
JUNE = datetime(2026, 6, 1, tzinfo=UTC)


def _world(*, quantity: Decimal = Decimal(1), **document):
    """Return a clock, a customer and its subscription to a plan of these charges since 1 April."""
    plans.published_plan(code="plan", **{"base_fee": None, **document})
    clock = customers.test_clock(now_at=APRIL)
    customer = customers.customer(external_id="acme", test_clock=clock)
    subscription = subscriptions.subscription(customer=customer, plan_code="plan", starts_at=APRIL, quantity=quantity)
    return clock, customer, subscription


def _pay(*amounts: str, at: datetime = MID_APRIL, event_type: str = "payment", **properties: str) -> None:
    for number, amount in enumerate(amounts):
        metering.events(
            customer="acme",
            event_type=event_type,
            occurred_at=at + timedelta(minutes=number),
            at=at + timedelta(hours=1),
            prefix=f"{event_type}-{number}",
            properties={"value": amount, **properties},
        )


def _usage_line(customer, *, month: datetime = APRIL) -> InvoiceLine:
    return InvoiceLine.objects.get(invoice__customer=customer, kind="usage", service_starts_at=month)


def _assert_proven(clock, customer) -> None:
    """Require that every line is recomputed from its raw events, hash for hash, and that the books hold."""
    for line in InvoiceLine.objects.filter(invoice__customer=customer).select_related("invoice"):
        explained = explanations.line_explain(line=line)
        assert explained.is_equal, (line.code, explained.explanation.check)
        assert Decimal(explained.explanation.amount) * 100 == line.net_minor
    assert not invariants.invariants_check(at=clock.now_at)


PAYMENTS = {"code": "fees", "meter": "payments", "tax_category": None}


@pytest.mark.parametrize(
    ("charge", "net_minor"),
    [
        # 3 payments of 10.00, 250.00 and 40.00; one is free, so 290.00 x 2.9 % + 2 x 0.30 = 9.01
        ({"model": "percentage", "rate_percent": "2.9", "fixed_fee": "0.30", "free_events": "1"}, 9_01),
        # At most 5.00 a payment: 5.00 instead of 7.55, and 40.00 x 2.9 % + 0.30 = 1.46, and 10.00 free
        (
            {
                "model": "percentage",
                "rate_percent": "2.9",
                "fixed_fee": "0.30",
                "free_events": "1",
                "max_per_event": "5.00",
            },
            6_46,
        ),
        # 100.00 at 1 percent and 200.00 at half of that
        (
            {
                "model": "graduated_percentage",
                "tiers": [{"up_to": "100", "rate_percent": "1"}, {"up_to": None, "rate_percent": "0.5"}],
            },
            2_00,
        ),
        # 300 units are 3 packages of 100, and volume finds them in its second tier
        ({"model": "package", "package_size": "100", "package_price": "4.00"}, 12_00),
        (
            {
                "model": "volume",
                "tiers": [{"up_to": "200", "unit_rate": "0.05"}, {"up_to": None, "unit_rate": "0.02"}],
            },
            6_00,
        ),
        # 300 / 1000 rounded up is one unit of thousand; a tenth off
        (
            {
                "model": "per_unit",
                "unit_rate": "7.00",
                "unit_transform": {"divide_by": "1000", "mode": "ceil", "precision": 0},
                "discount_percent": "10",
            },
            6_30,
        ),
        ({"model": "dynamic", "amount_property": "value"}, 300_00),
    ],
    ids=["percentage", "capped", "graduated_percentage", "package", "volume", "transformed", "dynamic"],
)
def test_a_model_is_billed_and_proven(tenant, charge, net_minor):
    """S096 S097 S100 S113: from raw events to a line whose explanation is recomputed with an equal hash."""
    metering.meter(code="payments", event_type="payment", aggregation="sum", value_property="value")
    clock, customer, _subscription = _world(charges=[{**PAYMENTS, **charge}])
    _pay("10.00", "250.00", "40.00")
    subscriptions.advance(clock, MAY + timedelta(days=2))
    line = _usage_line(customer)
    assert (line.net_minor, line.quantity) == (net_minor, Decimal(300))
    _assert_proven(clock, customer)


def test_a_matrix_prices_each_region_and_the_rest_by_default(tenant):
    """S099: 200 in the EU at 0.10, 100 elsewhere at 0.05; 50 included ones are taken from the first cell."""
    metering.meter(
        code="payments", event_type="payment", aggregation="sum", value_property="value", group_by=["region"]
    )
    charge = {
        **PAYMENTS,
        "model": "per_unit",
        "unit_rate": "0.05",
        "included_units": "50",
        "prices_by": {"property": "region", "match": {"eu": {"unit_rate": "0.10"}}, "default": {}},
    }
    clock, customer, _subscription = _world(charges=[charge])
    _pay("120", "80", region="eu")
    _pay("60", at=MID_APRIL + timedelta(hours=3), region="us")
    _pay("40", at=MID_APRIL + timedelta(hours=6))
    subscriptions.advance(clock, MAY + timedelta(days=2))
    assert _usage_line(customer).net_minor == 20_00
    _assert_proven(clock, customer)


def test_a_level_is_carried_into_the_next_month(tenant):
    """S100: 10 machines from 1 April, 4 fewer from the 16th: 8 in April, and still 6 in May without an event."""
    metering.meter(
        code="machines",
        event_type="machines.changed",
        aggregation="weighted_sum",
        value_property="value",
        has_carry_over=True,
    )
    charge = {"code": "machines", "meter": "machines", "model": "per_unit", "unit_rate": "1.00"}
    clock, customer, _subscription = _world(charges=[charge])
    _pay("10", at=APRIL, event_type="machines.changed")
    _pay("-4", at=MID_APRIL, event_type="machines.changed")
    subscriptions.advance(clock, JUNE + timedelta(days=2))
    assert [_usage_line(customer, month=month).net_minor for month in (APRIL, MAY)] == [8_00, 6_00]
    _assert_proven(clock, customer)


def test_seats_are_billed_by_the_piece_and_by_the_day_they_were_there(tenant):
    """S096 S107: 5 seats at 10.00 in advance, 3 more from the middle of the month."""
    fee = {"amount": "10.00", "timing": "advance", "per_quantity": True}
    clock, customer, subscription = _world(
        base_fee=fee, charges=[], quantity=Decimal(5), examples=[{"usage": {}, "quantity": "5", "total": "50.00"}]
    )
    subscriptions.advance(clock, MID_APRIL)
    changes.subscription_change(
        subscription_id=subscription.id,
        wanted=TermsChange(quantity=Decimal(8)),
        when=When(),
        actor=OPERATOR,
        at=MID_APRIL,
    )
    subscriptions.advance(clock, MAY + timedelta(days=2))
    lines = InvoiceLine.objects.filter(invoice__subscription=subscription).order_by("invoice_id", "position")
    assert [(line.kind, line.quantity, line.net_minor) for line in lines] == [
        ("base_fee", 5, 50_00),
        ("base_fee", 8, 40_00),
        ("credit", 1, -25_00),
        ("base_fee", 8, 80_00),
    ]
    _assert_proven(clock, customer)


@pytest.mark.parametrize(
    ("used", "lines"),
    [
        # 1,000 at list 0.10 is 100.00, 90.00 discounted: the rest to 500.00 is trued up.
        ("1000", {"usage": 100_00, "commitment_discount": -10_00, "minimum_commitment": 410_00}),
        # 10,000 at list is 1,000.00: 500.00 cover 555.56 of it, the rest is charged x 1.5.
        ("10000", {"usage": 1_000_00, "commitment_discount": -55_56, "commitment_overage": 222_22}),
    ],
)
def test_a_commitment_is_discounted_below_and_dearer_above(tenant, used, lines):
    """S098: what the commitment gives and takes stands on lines of its own; usage stays at list price."""
    metering.meter(code="payments", event_type="payment", aggregation="sum", value_property="value")
    clock, customer, _subscription = _world(
        charges=[{**PAYMENTS, "model": "per_unit", "unit_rate": "0.10"}],
        commitment={"amount": "500.00", "discount_percent": "10", "overage_factor": "1.5"},
        examples=[{"usage": {}, "total": "500.00"}],
    )
    _pay(used)
    subscriptions.advance(clock, MAY + timedelta(days=2))
    billed = InvoiceLine.objects.filter(invoice__customer=customer, service_starts_at=APRIL)
    assert {line.kind if line.kind == "usage" else line.code: line.net_minor for line in billed} == lines
    _assert_proven(clock, customer)


def test_a_minimum_counts_fees_billed_ahead_and_shrinks_with_the_period(tenant):
    """500.00 a month, half a month served: 250.00, of which 50.00 were the half of a fee billed in advance."""
    metering.meter(code="payments", event_type="payment", aggregation="sum", value_property="value")
    clock, customer, subscription = _world(
        base_fee="100.00",
        charges=[{**PAYMENTS, "model": "per_unit", "unit_rate": "0.10"}],
        minimum_commitment="500.00",
        examples=[{"usage": {}, "total": "500.00"}],
    )
    _pay("300", at=APRIL + timedelta(days=3))
    subscriptions.advance(clock, MID_APRIL)
    changes.subscription_cancel(subscription_id=subscription.id, when=When(), actor=OPERATOR, at=MID_APRIL)
    subscriptions.advance(clock, MID_APRIL + timedelta(days=2))
    total = sum(invoice.total_minor for invoice in subscriptions.invoices_of(customer))
    assert total == 250_00
    _assert_proven(clock, customer)
