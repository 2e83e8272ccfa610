"""Coupons and discounts over HTTP."""

import pytest

from tests.api.documents import made, sold, subscribed

pytestmark = pytest.mark.django_db

TENTH = {"code": "TENTH", "name": "A tenth off", "kind": "percent", "percent": "10", "duration": "once"}
FIVE = {
    "code": "FIVE",
    "name": "Five off",
    "kind": "fixed",
    "amount": {"amount": "5.00", "currency": "USD"},
    "duration": "periods",
    "periods_count": 2,
    "charges": ["base_fee"],
}


def test_a_coupon_is_offered_read_and_withdrawn(api):
    tenth, five = made(api.post("coupons", TENTH)), made(api.post("coupons", FIVE))
    assert (tenth["amount"], tenth["percent"], tenth["redemptions_count"]) == (None, "10", 0)
    assert (five["amount"], five["percent"], five["charges"]) == (FIVE["amount"], None, ["base_fee"])
    assert [row["code"] for row in made(api.get("coupons"))["data"]] == ["FIVE", "TENTH"]
    assert made(api.get(f"coupons/{five['id']}")) == made(api.get("coupons/FIVE")) == five
    assert made(api.post("coupons/FIVE/withdraw"))["withdrawn_at"] == "2026-01-15T12:00:00Z"
    again = api.post("coupons/FIVE/withdraw")
    assert (again.status_code, again.json()["code"]) == (409, "coupon_not_redeemable")


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"percent": "ten"}, "/percent"),
        ({"percent": "101"}, "/percent"),
        ({"kind": "fixed"}, "/amount"),
        ({"amount": {"amount": "1.234", "currency": "USD"}}, "/amount"),
        ({"periods_count": 3}, "/periods_count"),
        ({"colour": "red"}, "/colour"),
    ],
)
def test_a_coupon_that_makes_no_sense_names_the_field(api, change, pointer):
    refused = api.post("coupons", {**TENTH, **change})
    assert refused.status_code in (400, 422), refused.content
    assert pointer in [problem["pointer"] for problem in refused.json()["errors"]]
    assert made(api.get("coupons"))["data"] == []


def test_a_redeemed_coupon_is_on_the_invoice(api):
    """The customer has the discount, the document names it, and the discount says that a use is taken."""
    sold(api)
    made(api.post("coupons", TENTH))
    made(api.post("coupons", FIVE))
    clock_id = subscribed(api)
    tenth = made(api.post("customers/acme/discounts", {"coupon": "TENTH"}))
    made(api.post("customers/acme/discounts", {"coupon": "FIVE", "subscription": "acme-basic"}))
    assert (tenth["uses_count"], tenth["uses_max"], tenth["subscription"]) == (0, 1, None)
    again = api.post("customers/acme/discounts", {"coupon": "TENTH"})
    assert (again.status_code, again.json()["code"]) == (409, "discount_exists")
    made(api.post(f"test-clocks/{clock_id}/advance", {"to": "2026-02-01T06:00:00Z"}))
    [row] = made(api.get("invoices?customer=acme"))["data"]
    invoice = made(api.get(f"invoices/{row['id']}"))
    # 10.00 less 5.00, then less a tenth.
    assert [(item["code"], item["amount"]["amount"], item["use_number"]) for item in invoice["discounts"]] == [
        ("FIVE", "5.00", 1),
        ("TENTH", "0.50", 1),
    ]
    assert (invoice["discount"]["amount"], invoice["subtotal"]["amount"]) == ("5.50", "4.50")
    assert invoice["lines"][0]["discount"]["amount"] == "5.50"
    listed = made(api.get("customers/acme/discounts"))["data"]
    assert [(item["code"], item["uses_count"], item["uses_max"]) for item in listed] == [
        ("FIVE", 1, 2),
        ("TENTH", 1, 1),
    ]
    ended = made(api.post(f"customers/acme/discounts/{tenth['id']}/end"))
    assert ended["ended_at"] == "2026-02-01T06:00:00Z"


def test_a_stranger_neither_reads_nor_ends_a_discount(api):
    sold(api)
    made(api.post("coupons", TENTH))
    for name in ("acme", "other"):
        made(api.post("customers", {"external_id": name, "name": name.title(), "currency": "USD"}))
    discount = made(api.post("customers/acme/discounts", {"coupon": "TENTH"}))
    assert made(api.get("customers/other/discounts"))["data"] == []
    assert api.post(f"customers/other/discounts/{discount['id']}/end").status_code == 404
    assert made(api.get("customers/acme/discounts"))["data"][0]["ended_at"] is None
