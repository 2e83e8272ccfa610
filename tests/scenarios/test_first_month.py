"""Anna's first two months, as she would tell them: joins on 31 January, uses, is late, her card fails, she pays.

The road is the one of the README's tour: an event comes in by HTTP, beat closes the period, the invoice is issued,
booked, collected and explained. Nothing here calls a service that a user's request or the schedule would not call.
"""

from datetime import UTC, datetime, timedelta

import pytest

from apps.audit import selectors as audit_selectors
from apps.ledger import selectors as ledger_selectors
from apps.notifications.models import Mail
from apps.workflows import invariants, tasks
from tests.api.conftest import Api
from tests.builders import identity

pytestmark = pytest.mark.django_db

JOINED = datetime(2026, 1, 31, 9, 0, tzinfo=UTC)
FEBRUARY_END = datetime(2026, 2, 28, 9, 0, tzinfo=UTC)

PLAN = {
    "plan": "pro",
    "name": "Pro",
    "currency": "EUR",
    "interval": {"unit": "month", "count": 1},
    "effective_at": "2026-01-01T00:00:00Z",
    "base_fee": {"amount": "20.00", "timing": "advance"},
    "charges": [
        {
            "code": "calls",
            "meter": "calls",
            "model": "graduated",
            "tiers": [{"up_to": "100", "unit_rate": "0.10"}, {"up_to": None, "unit_rate": "0.05"}],
        }
    ],
    "examples": [{"usage": {"calls": "120"}, "total": "31.00"}],
}


@pytest.fixture
def world(tenant, clock):
    """A service with a key, a plan on sale, and a clock that stands at Anna's first morning."""
    clock.set(JOINED)
    api = Api(key=identity.api_key("admin")[1], host="alpha.localhost")
    meter = {"code": "calls", "name": "Calls", "event_type": "call", "aggregation": "count", "unit_name": "calls"}
    for path, body in (("meters", meter), ("plans", PLAN), ("plans/pro/versions/1/publish", {})):
        assert api.post(path, body).status_code in (200, 201)
    anna = {"external_id": "anna", "name": "Anna", "email": "anna@example.com", "currency": "EUR"}
    taken_in = api.post("customers", anna)
    assert taken_in.status_code == 201, taken_in.json()
    return api, clock


def _beat(clock, at: datetime) -> None:
    """Let the schedule's jobs run once at an instant, as beat would."""
    clock.set(at)
    for job in (
        tasks.outbox_relay_all,
        tasks.billing_run_all,
        tasks.drafts_finalize_all,
        tasks.outbox_relay_all,
        tasks.payments_resolve_all,
        tasks.outbox_relay_all,
        tasks.journal_seal_all,
    ):
        job()


def _send(api: Api, numbers: range, occurred_at: datetime) -> dict:
    events = [
        {"id": f"call-{n}", "source": "gw", "type": "call", "customer": "anna", "occurred_at": occurred_at.isoformat()}
        for n in numbers
    ]
    return api.post("events/batch", {"events": events}).json()


def test_anna_joins_uses_is_late_fails_and_pays(world):
    api, clock = world

    # She joins on 31 January with a card that will be declined; the first fee is due in advance.
    card = {"token": "tok_decline_soft", "label": "Visa ending 0341"}
    assert api.post("customers/anna/payment-methods", card).status_code == 201
    joined = api.post("subscriptions", {"customer": "anna", "plan": "pro"}).json()
    assert (joined["status"], joined["starts_at"]) == ("active", "2026-01-31T09:00:00Z")
    _beat(clock, JOINED + timedelta(minutes=1))
    (first,) = api.get("invoices?customer=anna").json()["data"]
    assert (first["number"], first["total"]["amount"], first["status"]) == ("ALPHA-2026-000001", "20.00", "open")
    assert api.get("payments?customer=anna").json()["data"][0]["failure_code"] == "insufficient_funds"

    # A month of use; a batch whose answer was lost is sent again and counts once.
    clock.set(datetime(2026, 2, 10, tzinfo=UTC))
    assert _send(api, range(120), datetime(2026, 2, 9, tzinfo=UTC))["accepted"] == 120
    again = _send(api, range(100, 130), datetime(2026, 2, 9, tzinfo=UTC))
    assert (again["accepted"], again["duplicates"]) == (10, 20)

    # The period ends on 28 February, at her hour. What comes late but within the grace still belongs to it.
    _beat(clock, FEBRUARY_END + timedelta(minutes=1))
    draft = api.get("invoices?customer=anna&status=draft").json()["data"][0]
    assert (draft["period_ends_at"], draft["total"]["amount"]) == ("2026-02-28T09:00:00Z", "31.50")
    assert _send(api, range(130, 140), FEBRUARY_END - timedelta(seconds=1))["accepted"] == 10

    # The grace is over: the document is final, numbered, booked, and the card fails again.
    _beat(clock, FEBRUARY_END + timedelta(hours=1))
    invoice = api.get(f"invoices/{draft['id']}").json()
    assert (invoice["number"], invoice["status"]) == ("ALPHA-2026-000002", "open")
    assert invoice["total"] == {"amount": "32.00", "currency": "EUR"}  # 20.00 + 100 x 0.10 + 40 x 0.05
    assert [payment["status"] for payment in invoice["payments"]] == ["failed"]

    # She gives another card, and finance collects both invoices.
    good = {"token": "tok_approve", "label": "Visa ending 4242"}
    assert api.post("customers/anna/payment-methods", good).status_code == 201
    for number in (first["number"], invoice["number"]):
        paid = api.post(f"invoices/{number}/collect", {}, Idempotency_Key=f"collect-{number}")
        assert (paid.status_code, paid.json()["status"]) == (200, "succeeded")
        repeated = api.post(f"invoices/{number}/collect", {}, Idempotency_Key=f"collect-{number}")
        assert repeated.json() == paid.json()
    _beat(clock, FEBRUARY_END + timedelta(hours=2))
    assert {row["status"] for row in api.get("invoices?customer=anna").json()["data"]} == {"paid"}

    # She asks why: every line is recomputed from the raw events, and the hashes agree.
    usage = next(line for line in invoice["lines"] if line["code"] == "calls")
    explained = api.get(f"invoices/{invoice['number']}/lines/{usage['id']}/explain").json()
    assert explained["hashes"]["is_equal"] is True
    assert (explained["events"]["count"], usage["quantity"]) == (140, "140")

    # The next period began where this one ended, back on the 31st; the books balance; the trail is whole.
    periods = api.get(f"subscriptions/{joined['id']}/periods").json()["data"]
    assert [(p["starts_at"], p["ends_at"]) for p in periods][0] == ("2026-02-28T09:00:00Z", "2026-03-31T09:00:00Z")
    assert ledger_selectors.account_balance_minor(code="1100", currency="EUR") == 0
    assert ledger_selectors.account_balance_minor(code="1050", currency="EUR") == 5_200
    report = audit_selectors.chain_verify()
    assert (report.is_intact, report.unsealed_count) == (True, 0)
    assert sorted(Mail.objects.values_list("kind", flat=True)) == [
        "invoice_finalized",
        "invoice_finalized",
        "payment_failed",
        "payment_failed",
        "payment_receipt",
        "payment_receipt",
    ]
    assert invariants.invariants_check(at=clock.now_at) == []
