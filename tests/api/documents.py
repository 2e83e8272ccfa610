"""Bodies that the API accepts, and the states that they lead to, by HTTP alone."""

from typing import Any

METER = {"code": "calls", "name": "Calls", "event_type": "call", "aggregation": "count"}
PLAN = {
    "plan": "basic",
    "name": "Basic",
    "currency": "USD",
    "interval": {"unit": "month", "count": 1},
    "effective_at": "2025-01-01T00:00:00Z",
    "base_fee": {"amount": "10.00", "timing": "arrears"},
    "charges": [{"code": "calls", "meter": "calls", "model": "per_unit", "unit_rate": "0.50"}],
    "examples": [{"usage": {"calls": "2"}, "total": "11.00"}],
}
CUSTOMER = {"external_id": "acme", "name": "Acme Ltd", "currency": "USD", "email": "ada@acme.example"}
METHOD = {"token": "tok_approve", "label": "Visa ending 4242"}
JANUARY, FEBRUARY = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"


def made(response) -> dict[str, Any]:
    """Return the body of an answer that must have worked."""
    assert response.status_code in (200, 201), response.content
    return response.json()


def sold(api) -> None:
    """Put a plan on sale."""
    made(api.post("meters", METER))
    made(api.post("plans", PLAN))
    made(api.post("plans/basic/versions/1/publish"))


def subscribed(api, *, external_id: str = "acme", token: str = "") -> str:
    """Subscribe a customer on a test clock that stands at January's begin; return the clock's id."""
    clock = made(api.post("test-clocks", {"name": external_id, "now": JANUARY}))
    made(api.post("customers", {**CUSTOMER, "external_id": external_id, "test_clock": clock["id"]}))
    if token:
        made(api.post(f"customers/{external_id}/payment-methods", {**METHOD, "token": token}))
    body = {"external_id": f"{external_id}-basic", "customer": external_id, "plan": "basic", "starts_at": JANUARY}
    made(api.post("subscriptions", body))
    return clock["id"]


def drafted(api, *, external_id: str = "acme", token: str = "") -> dict[str, Any]:
    """Come to the grace after January and return the draft that waits in it."""
    clock_id = subscribed(api, external_id=external_id, token=token)
    made(api.post(f"test-clocks/{clock_id}/advance", {"to": "2026-02-01T00:10:00Z"}))
    [draft] = made(api.get(f"invoices?customer={external_id}&status=draft"))["data"]
    return draft
