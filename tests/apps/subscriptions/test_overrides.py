"""Prices of one's own: asked for by one, decided by another, billed only when approved."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, transaction

from apps.subscriptions import overrides
from apps.subscriptions.errors import OverrideDecided, OverrideInvalid, OverrideNeedsAnother, OverrideUnknown
from apps.subscriptions.special_terms import PriceOverride
from tests.builders import customers, plans, subscriptions
from tests.builders.discounts import APPROVER, SELLER

pytestmark = pytest.mark.django_db
FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)
CHEAPER = {"code": "api_calls", "model": "per_unit", "unit_rate": "0.001"}


@pytest.fixture
def subscription(tenant):
    """A customer on graduated calls."""
    plans.published_plan(code="growth")
    return subscriptions.subscription(customer=customers.customer(), plan_code="growth")


@pytest.fixture
def calls(subscription):
    """The charge that is priced otherwise."""
    return subscription.plan_version.charges.get(code="api_calls")


def _asked(subscription, at, **terms) -> PriceOverride:
    return overrides.price_override_request(
        subscription=subscription, terms={**CHEAPER, **terms}, reason="Signed for two years", actor=SELLER, at=at
    )


def _approved(override: PriceOverride, at) -> PriceOverride:
    return overrides.price_override_approve(override_id=override.id, comment="As signed", actor=APPROVER, at=at)


def _in_force(subscription, charge, billed_at):
    found = overrides.terms_for(subscription=subscription, charge=charge, billed_at=billed_at)
    return found.terms.model, found.override_id


def test_only_an_approved_price_is_billed(subscription, calls, at):
    """S094: asked for, refused or ended, it changes nothing; approved, it counts from that instant on."""
    override = _asked(subscription, at)
    assert _in_force(subscription, calls, FEBRUARY) == ("graduated", None)
    _approved(override, at)
    assert _in_force(subscription, calls, FEBRUARY) == ("per_unit", override.public_id)
    assert _in_force(subscription, calls, at - timedelta(seconds=1)) == ("graduated", None)
    overrides.price_override_end(override_id=override.id, actor=SELLER, at=FEBRUARY)
    assert _in_force(subscription, calls, FEBRUARY) == ("graduated", None)
    assert _in_force(subscription, calls, FEBRUARY - timedelta(seconds=1)) == ("per_unit", override.public_id)
    rejected = _asked(subscription, at)
    overrides.price_override_reject(override_id=rejected.id, comment="Too cheap", actor=APPROVER, at=at)
    assert _in_force(subscription, calls, FEBRUARY) == ("graduated", None)


def test_another_subscription_keeps_the_plans_price(subscription, calls, at):
    other = subscriptions.subscription(customer=customers.customer(), plan_code="growth")
    _approved(_asked(subscription, at), at)
    assert _in_force(other, calls, FEBRUARY) == ("graduated", None)


def test_who_asks_does_not_decide(subscription, at):
    """S094: the service refuses, and the database refuses again."""
    override = _asked(subscription, at)
    for decide in (overrides.price_override_approve, overrides.price_override_reject):
        with pytest.raises(OverrideNeedsAnother, match=r"seller@example.com asked for this price"):
            decide(override_id=override.id, comment="", actor=SELLER, at=at)
    with pytest.raises(IntegrityError, match="price_override_four_eyes"), transaction.atomic():
        PriceOverride.objects.filter(id=override.id).update(
            is_approved=True, decided_by=override.requested_by, decided_at=at
        )
    with pytest.raises(IntegrityError, match="price_override_decision_whole"), transaction.atomic():
        PriceOverride.objects.filter(id=override.id).update(is_approved=True)
    override.refresh_from_db()
    assert override.is_approved is None


def test_it_is_decided_once_and_ends_once(subscription, at):
    override = _approved(_asked(subscription, at), at)
    with pytest.raises(OverrideDecided, match=r"was approved by approver@example.com"):
        overrides.price_override_reject(override_id=override.id, comment="", actor=APPROVER, at=at)
    overrides.price_override_end(override_id=override.id, actor=APPROVER, at=at)
    with pytest.raises(OverrideDecided, match="not in force"):
        overrides.price_override_end(override_id=override.id, actor=APPROVER, at=at)
    with pytest.raises(IntegrityError, match="price_override_ended_once"), transaction.atomic():
        PriceOverride.objects.filter(id=override.id).update(ended_at=None)
    with pytest.raises(IntegrityError, match="price_override_asked_fixed"), transaction.atomic():
        PriceOverride.objects.filter(id=override.id).update(terms={})
    assert overrides.override_by_reference(override.public_id) == override
    with pytest.raises(OverrideUnknown):
        overrides.override_by_reference("pov_none")


def test_a_newer_price_ends_the_one_before(subscription, calls, at):
    """One price of a charge is in force at a time; the database would not take a second."""
    older = _approved(_asked(subscription, at), at)
    newer = _asked(subscription, at, unit_rate="0.002")
    with pytest.raises(IntegrityError, match="price_override_one_live"), transaction.atomic():
        PriceOverride.objects.filter(id=newer.id).update(is_approved=True, decided_by="user:x", decided_at=at)
    _approved(newer, FEBRUARY)
    older.refresh_from_db()
    assert older.ended_at == FEBRUARY
    assert _in_force(subscription, calls, FEBRUARY) == ("per_unit", newer.public_id)


@pytest.mark.parametrize(
    ("terms", "pointer"),
    [
        ({"code": "storage"}, "/terms/code"),
        ({"meter": "storage"}, "/terms/meter"),
        ({"timing": "advance"}, "/terms/timing"),
        ({"tax_category": "books"}, "/terms/tax_category"),
        ({"unit_rate": "-1"}, "/terms/unit_rate"),
        ({"unit_rate": 0.5}, "/terms/unit_rate"),
        ({"colour": "red"}, "/terms/colour"),
        (
            {"prices_by": {"property": "region", "match": {"eu": {"unit_rate": "1"}}, "default": {}}},
            "/terms/prices_by",
        ),
        (plans.CALLS, "/terms"),
    ],
)
def test_only_the_price_may_differ(subscription, at, terms, pointer):
    """S094: the same charge of the same meter, billed at the same time and taxed alike; nothing else is stored."""
    asked = terms if "tiers" in terms else {**CHEAPER, **terms}
    with pytest.raises(OverrideInvalid) as refusal:
        overrides.price_override_request(subscription=subscription, terms=asked, reason="Why", actor=SELLER, at=at)
    assert [problem.pointer for problem in refusal.value.problems] == [pointer]
    assert not PriceOverride.objects.exists()


def test_a_reason_is_asked_for(subscription, at):
    with pytest.raises(OverrideInvalid, match="say why"):
        overrides.price_override_request(subscription=subscription, terms=CHEAPER, reason=" ", actor=SELLER, at=at)


def test_a_meter_that_cannot_carry_a_model_refuses_it(subscription, at):
    """A plan may not price a count in percent of each event, and neither may an agreed price."""
    percentage = {"code": "api_calls", "model": "percentage", "rate_percent": "10"}
    with pytest.raises(OverrideInvalid, match="aggregation is sum; this one is count") as refused:
        overrides.price_override_request(
            subscription=subscription, terms=percentage, reason="Signed", actor=SELLER, at=at
        )
    assert [problem.pointer for problem in refused.value.problems] == ["/terms/model"]
    assert PriceOverride.objects.count() == 0
