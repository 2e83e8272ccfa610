"""Bad values everywhere: whatever is sent to whichever route, the answer is a problem and never a failure of ours.

A good body is taken for each route, and one value at a time is replaced, at every depth. A body that is bad in one
place only reaches the checks that a wholly bad one never comes to: the services' and the database's.
"""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction

from tests.api import documents
from tests.api.routes import routes

pytestmark = pytest.mark.django_db

JUNK: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    10**40,
    "",
    " ",
    "NaN",
    "Infinity",
    "1e400",
    "-0.00000000000000000000000000000000000000000001",
    "9" * 400,
    "a\x00b",
    "\ud800",
    "\N{RIGHT-TO-LEFT OVERRIDE}\N{PILE OF POO}" * 40,
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59Z",
    "'; DROP TABLE customers_customer; --",
    [],
    [[]],
    {},
    {"": None},
)
CHARGE = {"model": "graduated", "tiers": [{"up_to": "10", "unit_rate": "1"}, {"up_to": None, "unit_rate": "0.5"}]}
GOOD: dict[str, Any] = {
    "customers": {
        **documents.CUSTOMER,
        "timezone": "Europe/Berlin",
        "locale": "de",
        "billing_address": {"line1": "1 Main Street", "city": "Springfield", "country": "US"},
        "tax_ids": ["US-1"],
        "payment_terms_days": 14,
        "is_auto_collected": False,
    },
    "customers/known": {"name": "Known", "email": "a@known.example", "billing_address": {"country": "DE"}},
    "customers/known/payment-methods": {"token": "tok_approve", "label": "Visa", "gateway": "sandbox"},
    "test-clocks": {"name": "January", "now": documents.JANUARY},
    "subscriptions": {
        "external_id": "new",
        "customer": "fresh",
        "plan": "basic",
        "starts_at": "2026-01-10T00:00:00Z",
        "anchor": {"type": "calendar"},
    },
    "tax-rates": {"country": "US", "region": "CA", "category": "saas", "name": "Tax", "rate_percent": "7.25",
                  "valid_from_date": "2026-01-01"},
    "meters": {
        **documents.METER,
        "code": "gigabytes",
        "aggregation": "sum",
        "value_property": "bytes",
        "unit_name": "GB",
        "filters": {"region": "eu"},
        "group_by": ["region"],
        "rounding": {"mode": "ceil", "precision": 0, "divide_by": "1000000000"},
        "rules": {"min": "0", "required": ["bytes"], "allowed": {"region": ["eu", "us"]}},
    },
    "plans": {
        **documents.PLAN,
        "plan": "other",
        "rounding": "half_up",
        "charges": [{"code": "calls", "meter": "calls", "timing": "arrears", **CHARGE}],
        "features": {"sso": True, "seats": {"limit": "15"}, "calls": {"limit": "9", "meter": "calls",
                                                                      "on_exceed": "notify"}},
        "examples": [{"usage": {"calls": "12"}, "total": "21.00"}],
    },
    "pricing/estimate": {"charge": CHARGE, "currency": "USD", "units": "12", "rounding": "half_even"},
    "pricing/backtest": {"plan": "basic", "version": 1, "customers": ["known"], "usage_factor": "3",
                         "period": {"starts_at": "2025-12-01T00:00:00Z", "ends_at": "2026-01-01T00:00:00Z"}},
    "cohorts": {"code": "beta", "name": "Beta", "experiment": "fees", "from_percent": "0", "to_percent": "12.5",
                "customers": ["known"]},
    "plans/basic/versions/1/migrate": {"from_version": 1, "customers": ["known"], "reason_code": "r", "comment": "c"},
    "billing-runs": {"at": documents.JANUARY},
    "invoices/preview": {"subscription": "known-basic"},
    "events": {"id": "1", "source": "s", "type": "call", "customer": "known", "quantity": "1",
               "occurred_at": "2026-01-10T00:00:00Z", "subscription": "known-basic", "properties": {"region": "eu"}},
}  # fmt: skip


def _changed(value: Any, junk: Any) -> Iterator[Any]:
    """Yield copies of a document with one part replaced by junk, each part in its turn, at every depth."""
    yield junk
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        for inner in _changed(value[key], junk):
            copied = copy.copy(value)
            copied[key] = inner
            yield copied


@pytest.fixture
def known(api):
    """A customer with a subscription, a plan and a meter, so that references lead somewhere."""
    documents.sold(api)
    for external_id in ("known", "fresh"):
        documents.made(api.post("customers", {**documents.CUSTOMER, "external_id": external_id}))
    body = {"external_id": "known-basic", "customer": "known", "plan": "basic", "starts_at": "2026-01-01T00:00:00Z"}
    documents.made(api.post("subscriptions", body))


@pytest.mark.parametrize("path", GOOD)
def test_one_bad_value_is_never_a_failure(api, known, path):
    """Either it can be taken or it is refused as a problem: no 5xx, and no page of another form."""
    method = "PATCH" if path == "customers/known" else "POST"
    bodies = [body for junk in JUNK for body in _changed(GOOD[path], junk)]
    failed = []
    for number, body in enumerate([GOOD[path], *bodies]):
        # A savepoint for each: what one body leaves must not be what the next one meets.
        with transaction.atomic():
            response = api.send(method, path, body, idempotency_key=f"k{number}")
            transaction.set_rollback(True)
        if number == 0:
            assert response.status_code in (200, 201), response.content
        is_form = response.status_code < 400 or response["Content-Type"] == "application/problem+json"
        if response.status_code >= 500 or not is_form:
            failed.append(f"{response.status_code} {str(body)[:300]}")
    assert not failed, f"{len(failed)} of {len(bodies)}:\n" + "\n".join(failed[:20])


@pytest.mark.parametrize("route", [route for route in routes() if route.method != "GET"], ids=str)
def test_no_body_is_a_failure(api, route):
    """Whole bodies of the wrong kind, and text that is no JSON, to every route that takes one."""
    for body in [*(value for value in JUNK), b"", b"{", b"\xff", b"[" * 5_000, b'{"a": 1.5}']:
        with transaction.atomic():
            response = api.send(route.method, route.path, body, idempotency_key="k")
            transaction.set_rollback(True)
        assert response.status_code < 500, body
        if response.status_code >= 400:
            assert response["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("route", [route for route in routes() if route.method == "GET"], ids=str)
def test_no_question_is_a_failure(api, route):
    """Every parameter of every list with values that it does not expect."""
    names = ("limit", "cursor", "customer", "external_id", "status", "overdue", "currency", "number", "expand", "after",
             "type", "as_of", "meter", "from", "to", "granularity", "group_by", "code", "dry_run")  # fmt: skip
    for name in names:
        for value in ("", "%00", "9" * 500, "%ED%A0%80", "a,b"):
            with transaction.atomic():
                response = api.get(f"{route.path}?{name}={value}")
                transaction.set_rollback(True)
            assert response.status_code < 500, f"{name}={value}"
