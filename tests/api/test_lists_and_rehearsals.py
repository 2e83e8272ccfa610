"""Pages that neither repeat nor lose rows, and dry runs that leave nothing."""

import pytest
from django.apps import apps
from django.db import connection

from apps.customers.models import Customer
from apps.invoices.models import BillingRun, Invoice
from apps.subscriptions.models import BillingPeriod, Subscription
from apps.workflows import cycle_close
from tests.api import documents
from tests.builders import customers

pytestmark = pytest.mark.django_db


def _census() -> dict[str, int]:
    """Return how many rows every table of the tenant has."""
    counts = {}
    with connection.cursor() as cursor:
        for model in apps.get_models():
            table = model._meta.db_table
            cursor.execute("SELECT to_regclass(%s)", [f"{connection.schema_name}.{table}"])
            if cursor.fetchone()[0]:
                cursor.execute(f'SELECT count(*) FROM "{table}"')
                counts[table] = cursor.fetchone()[0]
    return counts


def test_pages_hold_every_row_once(api):
    """Rows that are added while somebody reads neither repeat nor displace others."""
    first = [customers.customer().public_id for _ in range(7)]
    seen, cursor = [], ""
    for _ in range(10):
        page = api.get(f"customers?limit=3{'&cursor=' + cursor if cursor else ''}").json()
        assert len(page["data"]) <= 3
        seen += [row["id"] for row in page["data"]]
        customers.customer()
        if page["next_cursor"] is None:
            break
        cursor = page["next_cursor"]
    assert seen == list(reversed(first))


def test_the_last_full_page_has_no_next(api):
    """As many rows as the limit: one page, and no empty one behind it."""
    for _ in range(3):
        customers.customer()
    assert api.get("customers?limit=3").json()["next_cursor"] is None
    assert api.get("customers?limit=2").json()["next_cursor"]


def test_a_cursor_is_not_to_be_made_up(api):
    """A changed cursor is refused, not read as another place."""
    for _ in range(3):
        customers.customer()
    cursor = api.get("customers?limit=1").json()["next_cursor"]
    assert api.get(f"customers?cursor={cursor}").status_code == 200
    for bad in (cursor[:-1], cursor + "x", "e30:1:x", cursor.swapcase()):
        refused = api.get(f"customers?cursor={bad}")
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "?cursor"), bad


def test_the_journal_is_read_from_any_point(api):
    """Each position once, in order, by following `next_cursor`."""
    from apps.messaging import services as messaging_services

    for _ in range(5):
        customers.customer()
    messaging_services.events_seal()
    everything = [event["position"] for event in api.get("domain-events?limit=100").json()["data"]]
    seen, after = [], "0"
    while after is not None:
        page = api.get(f"domain-events?limit=2&after={after}").json()
        seen += [event["position"] for event in page["data"]]
        after = page["next_cursor"]
    assert seen == everything == sorted(set(everything))
    assert len(seen) >= 5


def test_a_rehearsal_leaves_no_row_in_any_table(api):
    """Documents, postings and news are told; no table has a row more or less, and no number is used up."""
    documents.sold(api)
    draft = documents.drafted(api)
    before = _census()
    path = f"invoices/{draft['id']}/finalize"
    rehearsed = documents.made(api.post(f"{path}?dry_run=true"))
    assert (rehearsed["status"], rehearsed["total"]["amount"]) == ("open", "10.00")
    assert [event["topic"] for event in rehearsed["dry_run"]["domain_events"]] == ["invoices.invoice.finalized"]
    amounts = [posting["amount"]["amount"] for posting in rehearsed["dry_run"]["postings"]]
    assert sorted(amounts) == ["-10.00", "10.00"]
    assert _census() == before
    assert Invoice.objects.get().status == "DRAFT"
    real = documents.made(api.post(path, idempotency_key="f"))
    assert real["number"] == rehearsed["number"]
    assert real["total"] == rehearsed["total"]


def test_each_command_that_moves_money_can_be_rehearsed(api):
    """Subscribing and billing runs, too."""
    documents.sold(api)
    documents.made(api.post("customers", documents.CUSTOMER))
    body = {"customer": "acme", "plan": "basic", "starts_at": "2025-12-01T00:00:00Z"}
    before = _census()
    assert documents.made(api.post("subscriptions?dry_run=true", body))["status"] == "active"
    assert _census() == before
    assert not Subscription.objects.exists()
    documents.made(api.post("subscriptions", body))
    before = _census()
    run = documents.made(api.post("billing-runs?dry_run=true", {}))
    assert run["counts"]["invoiced"] == 1
    assert "invoices.invoice.drafted" in {event["topic"] for event in run["dry_run"]["domain_events"]}
    assert _census() == before
    assert not BillingRun.objects.exists()


@pytest.mark.parametrize("value", ["ture", "yes", "", "truee", "2"])
def test_a_misspelt_rehearsal_is_not_the_real_thing(api, value):
    """Refused, with or without a key; the draft is a draft."""
    documents.sold(api)
    draft = documents.drafted(api)
    for headers in ({}, {"idempotency_key": "k"}):
        refused = api.post(f"invoices/{draft['id']}/finalize?dry_run={value}", **headers)
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "?dry_run")
    assert Invoice.objects.get().status == "DRAFT"


def test_where_there_is_no_rehearsal_nothing_is_done(api):
    """A route without dry runs does not run for real instead, whatever the method."""
    documents.made(api.post("customers", documents.CUSTOMER))
    assert api.post("customers?dry_run=true", {**documents.CUSTOMER, "external_id": "b"}).status_code == 422
    assert api.patch("customers/acme?dry_run=true", {"name": "Changed"}).status_code == 422
    assert [row.name for row in Customer.objects.all()] == ["Acme Ltd"]


def test_a_rehearsal_tells_its_own_news_only(api):
    """The caller may choose the request id, and may have chosen it before."""
    documents.sold(api)
    documents.made(api.post("customers", documents.CUSTOMER, request_id="same"))
    body = {"customer": "acme", "plan": "basic", "starts_at": documents.JANUARY}
    rehearsed = documents.made(api.post("subscriptions?dry_run=true", body, request_id="same"))
    topics = {event["topic"] for event in rehearsed["dry_run"]["domain_events"]}
    assert topics == {"subscriptions.subscription.activated"}


def test_a_rehearsal_takes_no_idempotency_key(api):
    """The key stays free for the real thing."""
    documents.sold(api)
    draft = documents.drafted(api)
    path = f"invoices/{draft['id']}/finalize"
    documents.made(api.post(f"{path}?dry_run=true", idempotency_key="f"))
    real = api.post(path, idempotency_key="f")
    assert (real.status_code, "Idempotent-Replayed" in real) == (200, False)


def test_a_run_under_a_key_opens_no_transaction_around_its_periods(api, monkeypatch):
    """One transaction around a run would keep half of what a parked period had written."""
    seen = []
    monkeypatch.setattr(cycle_close, "billing_run_start", _spy(seen, cycle_close.billing_run_start))
    depth = len(connection.savepoint_ids)
    documents.made(api.post("billing-runs", {}, idempotency_key="r"))
    assert seen == [depth]
    assert not BillingPeriod.objects.exists()


def _spy(seen, real):
    def start(**arguments):
        seen.append(len(connection.savepoint_ids))
        return real(**arguments)

    return start
