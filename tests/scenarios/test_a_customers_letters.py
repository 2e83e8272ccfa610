"""
A year as a customer would tell it: a trial, an upgrade, more seats, a coupon, a pause, a move, a downgrade, a return.

Everything goes over HTTP and by a test clock, as a tenant's own service would do it. Every document is compared to the
cent with what the letter says it must be; at the end the books balance and every line is computed again.
"""

from datetime import datetime
from typing import Any

import pytest

from apps.ledger import selectors as ledger_selectors
from apps.workflows import invariants
from tests.api import documents
from tests.api.conftest import Api
from tests.builders import identity

pytestmark = pytest.mark.django_db

# Nine in the morning of 31 January in Berlin, which is an hour ahead of UTC in winter and two in summer.
JOINED = "2026-01-31T08:00:00Z"


def _plan(code: str, fee: str, rate: str, trial_days: int) -> dict[str, Any]:
    plan = {
        **documents.PLAN,
        "plan": code,
        "name": code.title(),
        "base_fee": {"amount": fee, "timing": "advance", "per_quantity": True},
        "charges": [{"code": "calls", "meter": "calls", "model": "per_unit", "unit_rate": rate}],
        "examples": [{"usage": {}, "total": fee}],
    }
    return plan | ({"trial_days": trial_days} if trial_days else {})


class Letters:
    """What the customer's words are over HTTP."""

    def __init__(self, api: Api, clock_id: str) -> None:
        self.api, self.clock_id, self.calls_sent = api, clock_id, 0
        self.read: set[str] = set()

    def come_to(self, instant: str) -> None:
        """Let time pass and do what falls due."""
        documents.made(self.api.post(f"test-clocks/{self.clock_id}/advance", {"to": instant}))

    def use(self, calls: int, *, on: str) -> None:
        """Make calls at an instant that has passed."""
        events = [
            {
                "id": f"call-{self.calls_sent + n}",
                "source": "app",
                "type": "call",
                "customer": "juno",
                "occurred_at": on,
            }
            for n in range(calls)
        ]
        self.calls_sent += calls
        assert documents.made(self.api.post("events/batch", {"events": events}))["accepted"] == calls

    def ask(self, command: str, *, of: str = "juno-1", **body: Any) -> dict[str, Any]:
        """Give a command about a subscription, after a rehearsal that shows the same document."""
        path = f"subscriptions/{of}/{command}"
        shown = documents.made(self.api.post(f"{path}?dry_run=true", body))
        done = documents.made(self.api.post(path, body))
        assert _lines(done["document"]) == _lines(shown["document"])
        return done["change"]

    def new_documents(self) -> list[tuple[list[tuple[str, str]], str, str]]:
        """Return (lines, total, what was owed of it) of every final document since the last look, oldest first."""
        rows = documents.made(self.api.get("invoices?customer=juno&limit=100"))["data"]
        fresh = [row for row in reversed(rows) if row["id"] not in self.read and row["number"]]
        self.read |= {row["id"] for row in fresh}
        found = [documents.made(self.api.get(f"invoices/{row['id']}")) for row in fresh]
        assert {row["status"] for row in found} <= {"paid"}
        return [(_lines(row), row["total"]["amount"], _paid(row)) for row in found]


def _lines(document: dict[str, Any] | None) -> list[tuple[str, str]]:
    return [] if document is None else [(line["description"], _text(line["net"])) for line in document["lines"]]


def _text(net: Any) -> str:
    return net["amount"] if isinstance(net, dict) else net


def _paid(document: dict[str, Any]) -> str:
    return next((payment["amount"]["amount"] for payment in document["payments"]), "0.00")


@pytest.fixture
def juno(tenant, clock) -> Letters:
    """A service whose customer Juno in Berlin is about to join, with a good card."""
    api = Api(key=identity.api_key("admin")[1], host="alpha.localhost")
    documents.made(api.post("meters", documents.METER))
    for plan in (_plan("team", "28.00", "0.10", 14), _plan("business", "56.00", "0.05", 0)):
        documents.made(api.post("plans", plan))
        documents.made(api.post(f"plans/{plan['plan']}/versions/1/publish"))
    clock_id = documents.made(api.post("test-clocks", {"name": "juno", "now": JOINED}))["id"]
    profile = {**documents.CUSTOMER, "external_id": "juno", "timezone": "Europe/Berlin", "test_clock": clock_id}
    documents.made(api.post("customers", profile))
    documents.made(api.post("customers/juno/payment-methods", documents.METHOD))
    return Letters(api, clock_id)


def _subscribe(juno: Letters, plan: str, code: str) -> dict[str, Any]:
    body = {"external_id": code, "customer": "juno", "plan": plan}
    return documents.made(juno.api.post("subscriptions", body))


def test_junos_year(juno):
    """S062 S065 S107 S108 S109: each change divides its period, and every document is right to the cent."""
    # "I joined on 31 January to try it for fourteen days."
    joined = _subscribe(juno, "team", "juno-1")
    assert (joined["status"], joined["trial_ends_at"]) == ("trialing", "2026-02-14T08:00:00Z")
    juno.come_to("2026-02-10T00:00:00Z")
    juno.use(10, on="2026-02-09T12:00:00Z")
    assert juno.new_documents() == []
    juno.come_to("2026-02-16T00:00:00Z")
    # The trial is shown and costs nothing; the first month, from 14 February at nine, is due.
    assert juno.new_documents() == [
        ([("Base fee", "0.00"), ("Base fee", "28.00"), ("Calls", "0.00")], "28.00", "28.00"),
    ]

    # "On 28 February, half-way through, I went up to Business." Twenty calls before that at 0.10, forty after at 0.05.
    juno.come_to("2026-02-28T08:00:00Z")
    juno.use(20, on="2026-02-28T07:59:59Z")
    juno.ask("change", plan="business", reason_code="upgrade")
    juno.use(40, on="2026-02-28T08:00:00Z")
    juno.come_to("2026-03-02T00:00:00Z")
    assert juno.new_documents() == [
        ([("Base fee", "28.00"), ("Unused time: Base fee", "-14.00"), ("Calls", "2.00")], "16.00", "16.00"),
    ]
    juno.come_to("2026-03-16T00:00:00Z")
    assert juno.new_documents() == [([("Base fee", "56.00"), ("Calls", "2.00")], "58.00", "58.00")]

    # "Two colleagues came on 30 March": fifteen of thirty-one days are left, by the day, although clocks went forward.
    juno.come_to("2026-03-30T07:00:00Z")
    juno.ask("change", quantity="3", proration="by_day")
    juno.come_to("2026-04-01T00:00:00Z")
    # 3 x 56.00 x 15/31 = 81.29, and 56.00 x 15/31 = 27.10 of what was paid is given back.
    assert juno.new_documents() == [
        ([("Base fee", "81.29"), ("Unused time: Base fee", "-27.10"), ("Calls", "0.00")], "54.19", "54.19"),
    ]

    # "In April I got a coupon: a tenth off two invoices."
    coupon = {"code": "SPRING", "name": "Spring", "kind": "percent", "percent": "10", "duration": "periods"}
    documents.made(juno.api.post("coupons", {**coupon, "periods_count": 2}))
    documents.made(juno.api.post("customers/juno/discounts", {"coupon": "SPRING"}))
    juno.come_to("2026-06-16T00:00:00Z")
    assert juno.new_documents() == [
        ([("Base fee", "168.00"), ("Calls", "0.00")], "151.20", "151.20"),
        ([("Base fee", "168.00"), ("Calls", "0.00")], "151.20", "151.20"),
        ([("Base fee", "168.00"), ("Calls", "0.00")], "168.00", "168.00"),
    ]

    # "July we were all at the lake." The clock stood still; the thirteen paid days that were left came in August.
    juno.come_to("2026-07-01T07:00:00Z")
    juno.ask("pause", mode="freeze", resume_at="2026-08-01T07:00:00Z")
    juno.come_to("2026-08-01T07:00:00Z")
    assert documents.made(juno.api.get("subscriptions/juno-1"))["status"] == "active"
    juno.come_to("2026-08-16T00:00:00Z")
    assert juno.new_documents() == [
        ([("Calls", "0.00")], "0.00", "0.00"),
        ([("Base fee", "168.00"), ("Calls", "0.00")], "168.00", "168.00"),
    ]

    # "In September I moved to New York." The period that ran ended by Berlin's clock; the next one ends at nine there.
    juno.come_to("2026-09-01T00:00:00Z")
    documents.made(juno.api.patch("customers/juno", {"timezone": "America/New_York"}))
    juno.ask("change", plan="team", quantity="1", timing="at", at="2026-10-14T13:00:00Z")
    juno.come_to("2026-10-16T00:00:00Z")
    assert juno.new_documents() == [
        ([("Base fee", "168.00"), ("Calls", "0.00")], "168.00", "168.00"),
        ([("Base fee", "28.00"), ("Calls", "0.00")], "28.00", "28.00"),
    ]
    periods = documents.made(juno.api.get("subscriptions/juno-1/periods?limit=100"))["data"]
    assert [(row["starts_at"], row["plan"], row["quantity"]) for row in periods[:3]] == [
        ("2026-10-14T13:00:00Z", "team", "1"),
        ("2026-09-14T07:00:00Z", "business", "3"),
        ("2026-08-14T07:00:00Z", "business", "3"),
    ]

    # "On 30 October I left", with fifteen of thirty-one days to go: 28.00 x 15/31 = 13.55 stays on my account.
    juno.come_to("2026-10-30T13:00:00Z")
    juno.use(5, on="2026-10-30T12:00:00Z")
    juno.ask("cancel", proration="by_day", comment="no time for it")
    juno.come_to("2026-12-01T14:00:00Z")
    assert juno.new_documents() == [([("Unused time: Base fee", "-13.55"), ("Calls", "0.50")], "-13.05", "0.00")]
    assert documents.made(juno.api.get("subscriptions/juno-1"))["status"] == "ended"

    # "In December I came back." The account pays its part first.
    _subscribe(juno, "business", "juno-2")
    juno.come_to("2026-12-02T00:00:00Z")
    assert juno.new_documents() == [([("Base fee", "56.00")], "56.00", "42.95")]

    _ensure_all_is_proved(juno)


def _ensure_all_is_proved(juno: Letters) -> None:
    """Every line of the year is computed again with equal hashes, the books balance, and whatever must hold holds."""
    for row in documents.made(juno.api.get("invoices?customer=juno&limit=100"))["data"]:
        invoice = documents.made(juno.api.get(f"invoices/{row['id']}"))
        for line in invoice["lines"]:
            explained = documents.made(juno.api.get(f"invoices/{row['id']}/lines/{line['id']}/explain"))
            assert explained["hashes"]["is_equal"] is True, line["description"]
    rows = ledger_selectors.trial_balance()
    assert set(ledger_selectors.trial_balance_totals(rows=rows).values()) == {0}
    clock = documents.made(juno.api.get(f"test-clocks/{juno.clock_id}"))
    assert invariants.invariants_check(at=datetime.fromisoformat(clock["now"])) == []
