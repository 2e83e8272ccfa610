"""Two tenants with the same names, side by side: what one has is not there for the other."""

import pytest

from apps.tenancy import context
from tests.api import documents

pytestmark = pytest.mark.django_db


@pytest.fixture
def nouns(api) -> dict[str, str]:
    """A month of alpha; the public id of one row of every noun."""
    documents.sold(api)
    draft = documents.drafted(api, token="tok_approve")
    paid = documents.made(api.post(f"invoices/{draft['id']}/finalize", idempotency_key="f"))
    payment = documents.made(api.post(f"invoices/{draft['id']}/collect", idempotency_key="c"))
    run = documents.made(api.post("billing-runs", {}, idempotency_key="r"))
    cohort = documents.made(api.post("cohorts", {"code": "beta", "name": "Beta", "customers": ["acme"]}))
    return {
        "cohorts": cohort["id"],
        "meters": documents.made(api.get("meters"))["data"][0]["id"],
        "plans": documents.made(api.get("plans"))["data"][0]["id"],
        "customers": documents.made(api.get("customers"))["data"][0]["id"],
        "subscriptions": documents.made(api.get("subscriptions"))["data"][0]["id"],
        "test-clocks": documents.made(api.get("test-clocks"))["data"][0]["id"],
        "invoices": paid["id"],
        "lines": paid["lines"][0]["id"],
        "payments": payment["id"],
        "billing-runs": run["id"],
    }


def test_what_is_alphas_is_not_there_for_beta(api, neighbour, nouns):
    """404 for every id of alpha's, by reading and by commanding, as for an id that never was."""
    invoice, line = nouns["invoices"], nouns.pop("lines")
    for noun, public_id in nouns.items():
        assert api.get(f"{noun}/{public_id}").status_code == 200, noun
        assert neighbour.get(f"{noun}/{public_id}").status_code == 404, noun
    reads = ("pdf", f"lines/{line}/explain", f"lines/{line}/events.csv")
    for path in reads:
        assert api.get(f"invoices/{invoice}/{path}").status_code == 200, path
        assert neighbour.get(f"invoices/{invoice}/{path}").status_code == 404, path
    commands = {
        f"invoices/{invoice}/finalize": {},
        f"invoices/{invoice}/collect": {},
        f"payments/{nouns['payments']}/resolve": {},
        f"test-clocks/{nouns['test-clocks']}/advance": {"to": "2026-03-01T00:00:00Z"},
        f"customers/{nouns['customers']}/payment-methods": documents.METHOD,
        "plans/basic/versions/1/publish": {},
        "plans/basic/versions/1/migrate": {},
        f"cohorts/{nouns['cohorts']}/members": {},
        "pricing/backtest": {
            "plan": "basic",
            "version": 1,
            "period": {"starts_at": "2025-01-01T00:00:00Z", "ends_at": "2025-02-01T00:00:00Z"},
        },
        "invoices/preview": {"subscription": nouns["subscriptions"]},
        "subscriptions": {"customer": nouns["customers"], "plan": "basic"},
    }
    for number, (path, body) in enumerate(commands.items()):
        assert neighbour.post(path, body, idempotency_key=f"n{number}").status_code == 404, path
    assert neighbour.patch(f"customers/{nouns['customers']}", {"name": "Taken"}).status_code == 404
    assert api.get(f"customers/{nouns['customers']}").json()["name"] == documents.CUSTOMER["name"]


def test_lists_show_the_tenants_own(api, neighbour, nouns):
    """Beta's lists are empty while alpha's are full, whoever asks first."""
    nouns.pop("lines")
    for noun in nouns:
        assert neighbour.get(noun).json() == {"data": [], "next_cursor": None}, noun
        assert api.get(noun).json()["data"] != [], noun
    moved = [
        row for row in neighbour.get("ledger/trial-balance").json()["accounts"] if row["debit"]["amount"] != "0.00"
    ]
    assert moved == []


def test_a_line_is_found_on_its_own_invoice_only(api, nouns):
    """The id of a line of another invoice is not there, even within one tenant."""
    other = documents.drafted(api, external_id="other")
    assert api.get(f"invoices/{other['id']}/lines/{nouns['lines']}/explain").status_code == 404


def test_the_same_names_live_apart(api, neighbour, other_tenant):
    """Both tenants have a customer acme and a plan basic of their own."""
    documents.sold(api)
    documents.made(api.post("customers", documents.CUSTOMER))
    documents.sold(neighbour)
    documents.made(neighbour.post("customers", {**documents.CUSTOMER, "name": "Acme of Beta"}))
    assert api.get("customers/acme").json()["name"] == "Acme Ltd"
    assert neighbour.get("customers/acme").json()["name"] == "Acme of Beta"
    assert context.current_schema() != other_tenant
