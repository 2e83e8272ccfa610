"""Buttons of coupons, discounts and agreed prices: four eyes, and what came of it."""

import pytest

from apps.identity import actors
from apps.identity.models import Role
from apps.subscriptions import overrides
from apps.subscriptions.special_terms import AppliedDiscount, PriceOverride
from tests.builders import discounts, faces
from tests.builders.faces import NOW

pytestmark = pytest.mark.django_db


@pytest.fixture
def house(tenant):
    """A customer with a discount."""
    found = faces.house(token="")
    discounts.discount(customer=found.customer, coupon=discounts.coupon(duration="forever"))
    return found


def _asked(house, actor) -> PriceOverride:
    return overrides.price_override_request(
        subscription=house.subscription,
        terms={"code": "api_calls", "model": "per_unit", "unit_rate": "0.25"},
        reason="Signed for two years",
        actor=actor,
        at=NOW,
    )


def _press(client, button, row, /, **form):
    answer = client.post(f"/backoffice/do/{button}/{row.pk}/", form, follow=True)
    row.refresh_from_db()
    return [str(message) for message in answer.context["messages"]]


def test_an_approver_decides_what_another_asked_for(house):
    """S094: who asked for the price is refused, somebody else's press brings it into force."""
    seller, approver = faces.staff(Role.APPROVER), faces.staff(Role.APPROVER, email="second@alpha.example")
    override = _asked(house, actors.actor_of_user(seller))
    refused = _press(faces.browser(seller), "price-approve", override, comment="Mine")
    assert "somebody else has to decide it" in refused[0]
    assert override.is_approved is None
    assert _press(faces.browser(approver), "price-approve", override, comment="As signed") == [
        "The price counts for what is billed from now on."
    ]
    assert (override.is_approved, override.comment, override.decided_at) == (True, "As signed", NOW)
    assert _press(faces.browser(approver), "price-end", override) == [
        "The plan's price counts for what is billed from now on."
    ]
    assert override.ended_at == NOW


def test_rejecting_keeps_the_plans_price(house):
    override = _asked(house, discounts.SELLER)
    client = faces.browser(faces.staff(Role.APPROVER))
    assert _press(client, "price-reject", override, comment="Too cheap") == ["The price stays as the plan has it."]
    assert override.is_approved is False


def test_who_bills_does_not_approve(house):
    override = _asked(house, discounts.SELLER)
    client = faces.browser(faces.staff(Role.BILLER))
    assert client.post(f"/backoffice/do/price-approve/{override.pk}/", {"comment": "x"}).status_code == 403
    override.refresh_from_db()
    assert override.is_approved is None


def test_discounts_end_and_coupons_are_withdrawn(house):
    client = faces.browser(faces.staff(Role.BILLER, Role.CATALOG))
    discount = AppliedDiscount.objects.get()
    assert "takes nothing" in _press(client, "discount-end", discount)[0]
    assert discount.ended_at == NOW
    assert "can be redeemed no more" in _press(client, "coupon-withdraw", discount.coupon)[0]
    assert discount.coupon.withdrawn_at is not None


def test_the_lists_show_them(house):
    _asked(house, discounts.SELLER)
    client = faces.browser(faces.staff(Role.VIEWER))
    for path, word in (
        ("plans/coupon", "WELCOME"),
        ("subscriptions/applieddiscount", "10 %"),
        ("subscriptions/priceoverride", "To be decided"),
        ("invoices/invoicediscount", ""),
    ):
        answer = client.get(f"/backoffice/{path}/")
        assert answer.status_code == 200
        assert word in answer.content.decode()
