"""What the OpenAPI document says is what is answered: every answer of a month's life is held against it."""

import re
from typing import Any

import jsonschema
import pytest
from drf_spectacular.generators import SchemaGenerator

from tests.api import documents

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    """The document as it is generated."""
    return SchemaGenerator(urlconf="apps.api.schema_urls").get_schema(request=None, public=True)


@pytest.fixture
def held(api, described):
    """Send a request and return the body of its answer, which must be as the document says."""

    def send(method: str, path: str, body: Any = None, **headers: str) -> Any:
        response = api.send(method, path, body, **headers)
        operation = _operation(described, method, path)
        documented = operation["responses"].get(str(response.status_code), operation["responses"]["default"])
        kind = response["Content-Type"].split(";")[0]
        assert kind in documented["content"], f"{method} {path}: {response.status_code} {kind} {response.content[:300]}"
        if "json" not in kind:
            return response.content
        schema, value = documented["content"][kind]["schema"], response.json()
        jsonschema.Draft202012Validator({**schema, "components": described["components"]}).validate(value)
        # A problem may tell further facts; every other answer says what the document says and nothing more.
        if kind != "application/problem+json":
            assert _undocumented(described, schema, value) == set(), f"{method} {path}"
        return value

    return send


def _operation(described: dict[str, Any], method: str, path: str) -> dict[str, Any]:
    bare = "/api/v1/" + path.partition("?")[0]
    # Fixed words before placeholders: invoices/preview is no invoice.
    for template in sorted(described["paths"], key=lambda name: name.count("{")):
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), bare):
            return described["paths"][template][method.lower()]
    raise AssertionError(f"{path} is not in the document")


def _undocumented(described: dict[str, Any], schema: dict[str, Any], value: Any) -> set[str]:
    """Return the names that stand in a value and not in its schema; free-form objects have none."""
    if "$ref" in schema:
        return _undocumented(described, described["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]], value)
    for part in schema.get("allOf", []):
        return _undocumented(described, part, value)
    if isinstance(value, list):
        return {name for item in value for name in _undocumented(described, schema.get("items", {}), item)}
    known = schema.get("properties")
    if not isinstance(value, dict) or known is None:
        return set()
    inner = {name for key in value if key in known for name in _undocumented(described, known[key], value[key])}
    return inner | {key for key in value if key not in known}


def test_a_month_is_answered_as_documented(api, held):
    """Each route that answers with something is asked in the state in which it has the most to say."""
    documents.made(api.post("meters", documents.METER))
    held("POST", "plans", documents.PLAN)
    held("GET", "plans/basic")
    held("POST", "plans/basic/versions/1/publish", {})
    held("POST", "tax-rates", {"country": "US", "name": "Tax", "rate_percent": "7", "valid_from_date": "2025-01-01"})
    clock_id = documents.subscribed(api, token="tok_approve")
    held("GET", f"test-clocks/{clock_id}")
    held("POST", f"test-clocks/{clock_id}/advance", {"to": "2026-01-10T00:00:00Z"})
    event = {"source": "s", "type": "call", "customer": "acme", "occurred_at": "2026-01-09T00:00:00Z"}
    held("POST", "events", {**event, "id": "1"})
    held("POST", "events/batch", {"events": [{**event, "id": "1"}, {**event, "id": "2"}, {**event, "customer": "x"}]})
    window = "from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00Z"
    held("GET", f"usage?customer=acme&meter=calls&{window}")
    held("POST", "invoices/preview", {"subscription": "acme-basic"})
    held("POST", f"test-clocks/{clock_id}/advance", {"to": "2026-02-01T00:10:00Z"})
    [draft] = held("GET", "invoices?status=draft")["data"]
    held("GET", f"invoices/{draft['id']}")
    held("GET", f"invoices/{draft['id']}?expand=customer")
    held("POST", f"invoices/{draft['id']}/finalize", {}, idempotency_key="f")
    held("POST", f"invoices/{draft['id']}/collect", {}, idempotency_key="c")
    [payment] = held("GET", "payments")["data"]
    held("GET", f"payments/{payment['id']}")
    paid = held("GET", f"invoices/{draft['id']}")
    assert paid["status"] == "paid"
    for line in paid["lines"]:
        held("GET", f"invoices/{paid['id']}/lines/{line['id']}/explain")
        held("GET", f"invoices/{paid['id']}/lines/{line['id']}/events.csv")
    assert held("GET", f"invoices/{paid['id']}/pdf").startswith(b"%PDF")
    run = held("POST", "billing-runs", {}, idempotency_key="r")
    held("GET", f"billing-runs/{run['id']}")
    held("PATCH", "customers/acme", {"name": "Acme Inc", "billing_address": {"country": "US"}})
    held("GET", "subscriptions/acme-basic")
    held("GET", "subscriptions/acme-basic/periods")
    held("POST", "pricing/estimate", {"plan": "basic", "usage": {"calls": "3"}})
    january = {"starts_at": "2026-01-15T00:00:00Z", "ends_at": "2026-02-02T00:00:00Z"}
    held("POST", "pricing/backtest", {"plan": "basic", "version": 1, "period": january})
    held("GET", "price-book")
    held("POST", "cohorts", {"code": "beta", "name": "Beta", "from_percent": "0", "to_percent": "12.5"})
    held("POST", "cohorts/beta/members", {"add": ["acme"]})
    held("GET", "cohorts/beta")
    held("GET", "cohorts")
    held("POST", "plans", {**documents.PLAN, "effective_at": "2026-01-20T00:00:00Z", "trial_days": 3})
    held("POST", "plans/basic/versions/2/publish", {"cohort": "beta"})
    held("POST", "plans/basic/versions/2/migrate", {"cohort": "beta"})
    for noun in ("customers", "customers/acme", "customers/acme/payment-methods", "plans"):
        held("GET", noun)
    for noun in ("subscriptions", "test-clocks", "billing-runs", "domain-events", "tax-rates", "ledger/accounts"):
        held("GET", noun)
    held("GET", "ledger/trial-balance")
    held("GET", "ledger/trial-balance?as_of=2026-02-01T00:00:00Z")


def test_refusals_are_answered_as_documented(held):
    """Problems have one form, whatever refused."""
    held("GET", "customers/nobody")
    held("POST", "customers", {"x": 1})
    held("POST", "customers", b"{")
    held("POST", "billing-runs", {})
    held("POST", "events", b"{")
    held("GET", "customers?limit=0")
