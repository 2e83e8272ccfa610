"""What is agreed with a new subscription over HTTP: coupons, prices of its own, a commitment."""

import pytest

from tests.api import documents

pytestmark = pytest.mark.django_db

HALF = {"code": "half", "name": "Half off", "kind": "percent", "percent": "50", "duration": "once"}
DEAL = {"terms": {"code": "calls", "model": "per_unit", "unit_rate": "0.40"}, "reason": "two years signed"}


@pytest.fixture
def customer(api) -> dict:
    """A customer on a test clock, and a plan that commits it to 25.00."""
    documents.made(api.post("meters", documents.METER))
    plan = {**documents.PLAN, "minimum_commitment": "25.00", "examples": [{"usage": {}, "total": "25.00"}]}
    documents.made(api.post("plans", plan))
    documents.made(api.post("plans/basic/versions/1/publish"))
    documents.made(api.post("coupons", HALF))
    clock = documents.made(api.post("test-clocks", {"name": "acme", "now": documents.JANUARY}))
    return documents.made(api.post("customers", {**documents.CUSTOMER, "test_clock": clock["id"]}))


def test_a_subscription_with_a_coupon_and_an_asked_price(api, customer):
    """S094: the coupon counts at once; the price waits for somebody else, and the plan's is billed meanwhile."""
    body = {"customer": "acme", "plan": "basic", "external_id": "one", "discounts": ["half"], "overrides": [DEAL]}
    documents.made(api.post("subscriptions", body))
    [discount] = documents.made(api.get("customers/acme/discounts"))["data"]
    assert discount["code"] == "half"
    [asked] = documents.made(api.get("subscriptions/one/overrides"))["data"]
    assert (asked["charge"], asked["status"], asked["terms"]["unit_rate"]) == ("calls", "requested", "0.4")
    documents.made(api.post("subscriptions/one/overrides", {**DEAL, "reason": "again"}))
    assert len(documents.made(api.get("subscriptions/one/overrides"))["data"]) == 2
    commitment = documents.made(api.get("subscriptions/one/commitment"))
    # The fee of 10.00 in arrears is drawn already; the coupon takes off what is billed, not what counts.
    assert (commitment["committed"]["amount"], commitment["drawn"]["amount"]) == ("25.00", "10.00")


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"discounts": ["nothing"]}, 404),
        ({"overrides": [{**DEAL, "terms": {"code": "other", "model": "flat", "amount": "1"}}]}, 422),
        ({"overrides": [{"terms": {}}]}, 422),
        ({"discounts": ["half", "half"]}, 409),
    ],
)
def test_what_is_refused_leaves_no_subscription(api, customer, more, status):
    body = {"customer": "acme", "plan": "basic", **more}
    refused = api.post("subscriptions", body, idempotency_key="once")
    assert refused.status_code == status, refused.content
    assert documents.made(api.get("subscriptions"))["data"] == []
    assert documents.made(api.get("customers/acme/discounts"))["data"] == []
