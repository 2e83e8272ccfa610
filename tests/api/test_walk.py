"""The nouns of the API, from a meter to a paid, explained invoice, by HTTP alone."""

import pytest

from apps.invoices.models import Invoice
from apps.messaging import services as messaging_services
from apps.workflows import relay
from tests.conftest import NOW

pytestmark = pytest.mark.django_db

PLAN = {
    "plan": "growth",
    "name": "Growth",
    "currency": "USD",
    "interval": {"unit": "month", "count": 1},
    "effective_at": "2025-01-01T00:00:00Z",
    "base_fee": {"amount": "99.00", "timing": "advance"},
    "charges": [
        {
            "code": "api_calls",
            "meter": "api_calls",
            "model": "graduated",
            "tiers": [{"up_to": "2", "unit_rate": "1.00"}, {"up_to": None, "unit_rate": "0.50"}],
        }
    ],
    "examples": [{"usage": {"api_calls": "5"}, "total": "102.50"}],
}


@pytest.fixture
def sold(api):
    """A meter and a published plan."""
    meter = {"code": "api_calls", "name": "Calls", "event_type": "api.call", "aggregation": "count"}
    assert api.post("meters", meter).status_code == 201
    assert api.post("plans", PLAN).status_code == 201
    published = api.post("plans/growth/versions/1/publish")
    assert (published.status_code, published.json()["status"]) == (200, "published")


@pytest.fixture
def clock_id(api, sold):
    """A customer on a test clock, subscribed since 1 January."""
    clock = api.post("test-clocks", {"name": "January", "now": "2026-01-01T00:00:00Z"}).json()
    customer = {"external_id": "acme", "name": "Acme", "currency": "USD", "test_clock": clock["id"]}
    assert api.post("customers", customer).status_code == 201
    subscribed = api.post("subscriptions", {"customer": "acme", "plan": "growth", "starts_at": "2026-01-01T00:00:00Z"})
    assert (subscribed.status_code, subscribed.json()["status"]) == (201, "active")
    return clock["id"]


def _advance(api, clock_id, to):
    response = api.post(f"test-clocks/{clock_id}/advance", {"to": to})
    assert response.status_code == 200, response.json()


def test_usage_becomes_an_explained_and_paid_invoice(api, clock_id):
    """S036, S144: events in, a paid invoice out, and each line explained with equal hashes."""
    api.post("customers/acme/payment-methods", {"token": "tok_approve", "label": "Visa ending 4242"})
    _advance(api, clock_id, "2026-01-10T00:00:00Z")
    events = [
        {"id": f"e{n}", "source": "gw", "type": "api.call", "customer": "acme", "occurred_at": "2026-01-09T10:00:00Z"}
        for n in range(5)
    ]
    answer = api.post("events/batch", {"events": [*events, events[0]]})
    assert (answer.status_code, answer.json()["accepted"], answer.json()["duplicates"]) == (200, 5, 1)
    _advance(api, clock_id, "2026-02-02T00:00:00Z")

    listed = api.get("invoices?customer=acme&expand=customer").json()["data"]
    assert [(row["kind"], row["status"], row["total"]["amount"]) for row in listed] == [
        ("cycle", "paid", "102.50"),
        ("start", "paid", "99.00"),
    ]
    assert listed[0]["customer"]["external_id"] == "acme"
    invoice = api.get(f"invoices/{listed[0]['id']}").json()
    assert invoice == api.get(f"invoices/{listed[0]['number']}").json()
    assert [payment["status"] for payment in invoice["payments"]] == ["succeeded"]
    usage = next(line for line in invoice["lines"] if line["code"] == "api_calls")
    assert (usage["quantity"], usage["net"]) == ("5", {"amount": "3.50", "currency": "USD"})
    explained = api.get(f"invoices/{invoice['id']}/lines/{usage['id']}/explain").json()
    assert explained["hashes"]["is_equal"] is True
    assert explained["hashes"]["stored"] == explained["hashes"]["recomputed"]
    assert explained["events"]["count"] == 5
    csv = api.get(f"invoices/{invoice['id']}/lines/{usage['id']}/events.csv")
    assert csv.content.decode().count("\n") >= 6
    pdf = api.get(f"invoices/{invoice['id']}/pdf")
    assert (pdf.status_code, pdf["Content-Type"], pdf.content[:5]) == (200, "application/pdf", b"%PDF-")
    balance = api.get("ledger/trial-balance").json()
    assert balance["totals"] == [{"currency": "USD", "balance": {"amount": "0.00", "currency": "USD"}}]
    messaging_services.events_seal()
    topics = [event["topic"] for event in api.get("domain-events?after=0&limit=100").json()["data"]]
    assert topics.index("invoices.invoice.drafted") < topics.index("invoices.invoice.finalized")


def test_a_preview_shows_the_next_invoice_and_stores_nothing(api, clock_id):
    subscription = api.get("subscriptions").json()["data"][0]
    before = Invoice.objects.count()
    preview = api.post("invoices/preview", {"subscription": subscription["id"]}).json()
    assert preview["totals"]["total"] == "99.00"
    assert Invoice.objects.count() == before
    periods = api.get(f"subscriptions/{subscription['id']}/periods").json()["data"]
    assert [(p["starts_at"], p["ends_at"]) for p in periods] == [("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z")]


def test_a_dry_run_tells_documents_postings_and_news_and_leaves_nothing(api, clock_id):
    relay.outbox_relay(wall_at=NOW)
    _advance(api, clock_id, "2026-02-01T00:10:00Z")
    draft = api.get("invoices?status=draft").json()["data"][0]
    rehearsed = api.post(f"invoices/{draft['id']}/finalize?dry_run=true").json()
    assert (rehearsed["status"], rehearsed["number"] is not None) == ("open", True)
    assert {posting["account"]["code"] for posting in rehearsed["dry_run"]["postings"]} == {"1100", "4000"}
    assert [event["topic"] for event in rehearsed["dry_run"]["domain_events"]] == ["invoices.invoice.finalized"]
    after = api.get(f"invoices/{draft['id']}").json()
    assert (after["status"], after["number"]) == ("draft", None)


def test_an_estimate_is_pure_and_explained(api, sold):
    answer = api.post("pricing/estimate", {"plan": "growth", "usage": {"api_calls": "5"}})
    assert answer.status_code == 200, answer.json()
    assert "102.50" in answer.content.decode()
    single = api.post(
        "pricing/estimate",
        {"charge": {"model": "per_unit", "unit_rate": "0.002"}, "currency": "USD", "units": "1500"},
    )
    assert single.status_code == 200, single.json()
    assert "3.00" in single.content.decode()


def test_a_billing_run_counts_its_outcomes(api, sold):
    api.post("customers", {"external_id": "live", "name": "Live", "currency": "USD"})
    api.post("subscriptions", {"customer": "live", "plan": "growth", "starts_at": "2025-12-01T00:00:00Z"})
    run = api.post("billing-runs", {}, Idempotency_Key="run-1")
    assert run.status_code == 201, run.json()
    assert run.json()["counts"] == {"invoiced": 1, "nothing_due": 0, "parked": 0, "total": 1}
    assert api.get(f"billing-runs/{run.json()['id']}").json()["parked"] == []
