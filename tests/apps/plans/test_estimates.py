"""Estimates: the engine of the invoices, for usage that somebody merely thought of."""

import pytest

from apps.plans import selectors
from apps.plans.errors import EstimateInvalid, PlanUnknown
from apps.plans.models import Charge, Plan
from tests.builders import plans

pytestmark = pytest.mark.django_db

GRADUATED = {
    "model": "graduated",
    "tiers": [{"up_to": "10", "unit_rate": "1"}, {"up_to": None, "unit_rate": "0.50"}],
}


def test_a_plan_is_estimated_with_its_explanation(tenant, at):
    """S105: deterministic and without side effects: the same question has the same answer and stores nothing."""
    plans.published_plan()
    question = {"plan_code": "growth", "usage": {"api_calls": "120000"}, "at": at}
    counted = Plan.objects.count(), Charge.objects.count()
    estimate = selectors.plan_estimate(**question)
    assert estimate == selectors.plan_estimate(**question)
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
    estimate = selectors.plan_estimate(plan_code="growth", version=1, usage={}, at=at)
    assert estimate["total"]["amount"] == "99.00"
    with pytest.raises(PlanUnknown):
        selectors.plan_estimate(plan_code="growth", usage={}, at=at)


def test_every_unit_that_cannot_be_priced_is_named(tenant, at):
    """Wrong meters and wrong numbers come in one answer."""
    plans.published_plan()
    usage = {"api_calls": 5, "seats": "1", "jobs": "1"}
    with pytest.raises(EstimateInvalid) as refused:
        selectors.plan_estimate(plan_code="growth", usage=usage, at=at)
    assert [problem.pointer for problem in refused.value.problems] == [
        "/usage/api_calls",
        "/usage/seats",
        "/usage/jobs",
    ]
    for units in ("-1", "1e3", "NaN", "9" * 32, 1.5, None):
        with pytest.raises(EstimateInvalid):
            selectors.plan_estimate(plan_code="growth", usage={"api_calls": units}, at=at)


def test_a_charge_that_nobody_stored_is_estimated(at):
    """S106: replaying the same inputs yields the same hash; another unit another one."""
    first, again, other = (
        selectors.charge_estimate(charge=GRADUATED, currency="USD", units=units, at=at) for units in ("15", "15", "16")
    )
    assert first["total"] == {"amount": "12.50", "currency": "USD"}
    assert first["hash"] == again["hash"] != other["hash"]


def test_a_charge_with_a_meter_or_without_units_is_estimated(at):
    """The meter's code plays no part, and a flat fee has no units."""
    metered = selectors.charge_estimate(charge=GRADUATED | {"meter": "m"}, currency="JPY", units="3", at=at)
    assert metered["total"] == {"amount": "3", "currency": "JPY"}
    flat = {"model": "flat", "amount": "20.00"}
    assert selectors.charge_estimate(charge=flat, currency="EUR", units=None, at=at)["total"]["amount"] == "20.00"


def test_a_currency_is_required_even_for_nothing(at):
    """S251: an estimate of zero names its currency, or is refused."""
    free = {"model": "per_unit", "unit_rate": "0"}
    answer = selectors.charge_estimate(charge=free, currency="EUR", units="0", at=at)
    assert answer["total"] == {"amount": "0.00", "currency": "EUR"}
    assert answer["lines"][0]["net"]["currency"] == "EUR"
    with pytest.raises(EstimateInvalid):
        selectors.charge_estimate(charge=free, currency="", units="0", at=at)


def test_everything_wrong_with_a_charge_is_named(at):
    """Terms, units and rounding are looked at together."""
    with pytest.raises(EstimateInvalid) as refused:
        selectors.charge_estimate(charge={"model": "volume"}, currency="USD", units="many", rounding="nearest", at=at)
    assert [problem.pointer for problem in refused.value.problems] == ["/charge/model", "/units", "/rounding"]
    assert '"volume" is not available yet' in refused.value.problems[0].detail
