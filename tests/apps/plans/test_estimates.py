"""Estimates: the engine of the invoices, for usage that somebody merely thought of."""

from datetime import timedelta

import pytest

from apps.metering.models import UsageEvent
from apps.plans import estimates
from apps.plans.errors import EstimateInvalid, PlanUnknown
from apps.plans.models import Charge, Plan
from tests.builders import metering, plans

pytestmark = pytest.mark.django_db

GRADUATED = {
    "model": "graduated",
    "tiers": [{"up_to": "10", "unit_rate": "1"}, {"up_to": None, "unit_rate": "0.50"}],
}


def _charge(*, charge, currency, at, units=None, rounding="half_up", **fields):
    usage = {} if units is None else {"units": units}
    usage |= {name: fields.pop(name) for name in ("groups", "events", "amount") if name in fields}
    question = estimates.ChargeQuestion(charge=charge, currency=currency, usage=usage, rounding=rounding, **fields)
    return estimates.charge_estimate(question=question, at=at)


def test_a_plan_is_estimated_with_its_explanation(tenant, at):
    """S105: deterministic and without side effects: the same question has the same answer and stores nothing."""
    plans.published_plan()
    question = {"plan_code": "growth", "usage": {"api_calls": "120000"}, "at": at}
    counted = Plan.objects.count(), Charge.objects.count()
    estimate = estimates.plan_estimate(**question)
    assert estimate == estimates.plan_estimate(**question)
    assert (Plan.objects.count(), Charge.objects.count()) == counted
    assert estimate["plan"] == {"code": "growth", "version": 1}
    assert estimate["total"] == {"amount": "609.00", "currency": "USD"}
    assert estimate["is_before_tax"] is True
    assert [(line["code"], line["net"]["amount"]) for line in estimate["lines"]] == [
        ("base_fee", "99.00"),
        ("api_calls", "510.00"),
    ]
    explained = estimate["lines"][1]["explanation"]
    assert explained["amount"] == "510.00"
    assert explained["is_equal"] is True
    assert len(explained["rows"]) >= 2


def test_a_draft_can_be_estimated_before_it_is_on_sale(tenant, at):
    """A version named by its number need not be published; without a number it must be on sale."""
    plans.drafted_plan()
    estimate = estimates.plan_estimate(plan_code="growth", version=1, usage={}, at=at)
    assert estimate["total"]["amount"] == "99.00"
    with pytest.raises(PlanUnknown):
        estimates.plan_estimate(plan_code="growth", usage={}, at=at)


def test_every_unit_that_cannot_be_priced_is_named(tenant, at):
    """Wrong meters and wrong numbers come in one answer."""
    plans.published_plan()
    usage = {"api_calls": 5, "seats": "1", "jobs": "1"}
    with pytest.raises(EstimateInvalid) as refused:
        estimates.plan_estimate(plan_code="growth", usage=usage, at=at)
    assert [problem.pointer for problem in refused.value.problems] == [
        "/usage/api_calls",
        "/usage/seats",
        "/usage/jobs",
    ]
    for units in ("-1", "1e3", "NaN", "9" * 32, 1.5, None):
        with pytest.raises(EstimateInvalid):
            estimates.plan_estimate(plan_code="growth", usage={"api_calls": units}, at=at)


def test_a_charge_that_nobody_stored_is_estimated(at):
    """S106: replaying the same inputs yields the same hash; another unit another one."""
    first, again, other = (
        _charge(charge=GRADUATED, currency="USD", units=units, at=at) for units in ("15", "15", "16")
    )
    assert first["total"] == {"amount": "12.50", "currency": "USD"}
    assert first["hash"] == again["hash"] != other["hash"]


def test_a_charge_with_a_meter_or_without_units_is_estimated(at):
    """The meter's code plays no part, and a flat fee has no units."""
    metered = _charge(charge=GRADUATED | {"meter": "m"}, currency="JPY", units="3", at=at)
    assert metered["total"] == {"amount": "3", "currency": "JPY"}
    flat = {"model": "flat", "amount": "20.00"}
    assert _charge(charge=flat, currency="EUR", units=None, at=at)["total"]["amount"] == "20.00"


def test_a_currency_is_required_even_for_nothing(at):
    """S251: an estimate of zero names its currency, or is refused."""
    free = {"model": "per_unit", "unit_rate": "0"}
    answer = _charge(charge=free, currency="EUR", units="0", at=at)
    assert answer["total"] == {"amount": "0.00", "currency": "EUR"}
    assert answer["lines"][0]["net"]["currency"] == "EUR"
    with pytest.raises(EstimateInvalid):
        _charge(charge=free, currency="", units="0", at=at)


def test_everything_wrong_with_a_charge_is_named(at):
    """Terms, units and rounding are looked at together."""
    with pytest.raises(EstimateInvalid) as refused:
        _charge(charge={"model": "volume"}, currency="USD", units="many", rounding="nearest", at=at)
    assert [problem.pointer for problem in refused.value.problems] == ["/charge/tiers", "/rounding", "/units"]
    assert "is required by the model" in refused.value.problems[0].detail


MATRIX = {
    "model": "per_unit",
    "unit_rate": "1",
    "prices_by": {"property": "region", "match": {"eu": {"unit_rate": "2"}}, "default": {}},
}
FEE = {"model": "percentage", "rate_percent": "2.9", "fixed_fee": "0.30", "free_events": "1"}


@pytest.mark.parametrize(
    ("charge", "usage", "total"),
    [
        (MATRIX, {"groups": [{"values": {"region": "eu"}, "units": "3"}, {"values": {}, "units": "4"}]}, "10.00"),
        (FEE, {"events": ["99", "100"]}, "3.20"),
        ({"model": "dynamic", "amount_property": "price"}, {"amount": "12.345"}, "12.35"),
    ],
)
def test_usage_is_written_as_the_charge_needs_it(at, charge, usage, total):
    """S099, S100: units by properties, values of events in order, and an amount that events carry."""
    assert _charge(charge=charge, currency="USD", at=at, **usage)["total"]["amount"] == total


def test_usage_that_says_too_little_is_refused_with_the_remedy(at):
    """A percentage of nobody knows how many events is not priced as nothing."""
    with pytest.raises(EstimateInvalid) as refused:
        _charge(charge=FEE, currency="USD", units="100", at=at)
    assert [problem.pointer for problem in refused.value.problems] == ["/units"]
    assert "give their values in order" in refused.value.problems[0].detail
    with pytest.raises(EstimateInvalid) as refused:
        _charge(charge={"model": "flat", "amount": "1.00"}, currency="USD", units="100", at=at)
    assert "which has no usage" in refused.value.problems[0].detail


def test_event_documents_are_counted_by_the_charges_own_meter(tenant, at):
    """S105: hand-written events pass the meter's filters and folds, and none of them is stored."""
    metering.meter(code="storage", aggregation="max", value_property="gb", unit_name="GB")
    charge = {"model": "per_unit", "meter": "storage", "unit_rate": "2"}
    events = [{"occurred_at": at.isoformat(), "properties": {"gb": size}} for size in ("5", "7", "6")]
    answer = _charge(charge=charge, currency="USD", events=events, at=at)
    assert answer["total"]["amount"] == "14.00"
    assert UsageEvent.objects.count() == 0
    with pytest.raises(EstimateInvalid) as refused:
        _charge(charge=charge, currency="USD", events=[*events, {"occurred_at": "yesterday"}], at=at)
    assert [problem.pointer for problem in refused.value.problems] == ["/events/3"]
    with pytest.raises(EstimateInvalid) as refused:
        _charge(charge=charge | {"meter": "unheard"}, currency="USD", events=events, at=at)
    assert [problem.pointer for problem in refused.value.problems] == ["/charge/meter"]


def test_a_part_of_a_period_is_prorated_exactly(tenant, at):
    """S107: fees and minimums shrink with the part that is served; a longer time than a period is refused."""
    plans.published_plan(base_fee="31.00", minimum_commitment="62.00")
    begins = at.replace(month=1, day=1, hour=0, minute=0, second=0, microsecond=0)
    span = (begins, begins + timedelta(days=10))
    estimate = estimates.plan_estimate(plan_code="growth", usage={}, span=span, at=at)
    assert [(line["code"], line["net"]["amount"]) for line in estimate["lines"]] == [
        ("base_fee", "10.00"),
        ("api_calls", "0.00"),
        ("minimum_commitment", "10.00"),
    ]
    for wrong in ((begins, begins), (begins, begins + timedelta(days=32))):
        with pytest.raises(EstimateInvalid) as refused:
            estimates.plan_estimate(plan_code="growth", usage={}, span=wrong, at=at)
        assert [problem.pointer for problem in refused.value.problems] == ["/period"]


def test_seats_multiply_the_fee_that_is_per_seat(tenant, at):
    """S096: the seat model: the quantity of the subscription is part of the question."""
    plans.published_plan(charges=[{"code": "seats", "model": "flat", "amount": "8.00", "per_quantity": True}])
    assert estimates.plan_estimate(plan_code="growth", usage={}, quantity="5", at=at)["total"]["amount"] == "139.00"
    with pytest.raises(EstimateInvalid):
        estimates.plan_estimate(plan_code="growth", usage={}, quantity="-1", at=at)
