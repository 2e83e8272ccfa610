"""The home page, the explanation of a line, the trial balance, the trail, and the doors."""

from datetime import timedelta

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from apps.audit import services as audit_services
from apps.common import sessions
from apps.common.actors import OPERATOR
from apps.identity import services as identity_services
from apps.identity.models import Role
from apps.invoices.models import InvoiceLine
from apps.tenancy import context as tenancy_context
from tests.builders import faces
from tests.builders.faces import FEBRUARY, HOST, PASSWORD
from tests.builders.subscriptions import START

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _fresh_cache():
    """Counts of tries live in the cache; a test begins with none."""
    cache.clear()


@pytest.fixture
def reader(tenant):
    """Somebody who may read everything."""
    return faces.browser(faces.staff(Role.VIEWER, Role.AUDITOR))


def _cards(answer):
    return {card.title: card for card in answer.context_data["cards"]}


def test_home_counts_work_money_and_age_in_few_queries(reader, clock):
    """The first page is a list of work: how many, how much money, since when, in a bounded number of queries."""
    faces.house(until=FEBRUARY + timedelta(minutes=10))
    faces.house(name="slow", token="tok_timeout_after", until=FEBRUARY + timedelta(hours=1))
    clock.set(FEBRUARY + timedelta(days=3))
    with CaptureQueriesContext(connection) as queries:
        answer = reader.get("/backoffice/")
    assert len(queries) <= 10, [query["sql"][:100] for query in queries]
    cards = _cards(answer)
    assert (cards["Draft invoices"].count, cards["Draft invoices"].money) == (1, ("$116.50",))
    assert cards["Draft invoices"].oldest == "3 days"
    assert cards["Unknown payments"].count == 1
    assert cards["Unknown payments"].money == ("$116.50",)
    assert cards["Parked periods"].is_quiet
    assert cards["Unsealed entries"].count > 0


def test_each_card_leads_to_exactly_what_it_counts(reader, clock):
    faces.house(token="tok_decline_hard")
    clock.set(FEBRUARY + timedelta(days=200))
    for card in _cards(reader.get("/backoffice/")).values():
        listed = reader.get(card.url)
        assert listed.status_code == 200, card.url
        if "cl" in listed.context_data:
            assert listed.context_data["cl"].result_count == card.count, card.title


def test_overdue_is_judged_by_the_customers_own_clock(reader, clock):
    faces.house(token="tok_decline_hard")
    clock.set(FEBRUARY + timedelta(days=200))
    overdue = _cards(reader.get("/backoffice/"))["Overdue invoices"]
    # On 10 February by the customer's clock January's usage (due 15 February) is not overdue; the start fee is.
    assert (overdue.count, overdue.money) == (1, ("$99.00",))
    page = reader.get("/backoffice/invoices/invoice/").content.decode()
    assert page.count(">Overdue<") == 1


def test_line_is_explained_and_proved(reader):
    """S144: formula, tiers, events and equal hashes, down to each raw event."""
    line = faces.house().invoice.lines.get(code="api_calls")
    page = reader.get(f"/backoffice/lines/{line.public_id}/explain/").content.decode()
    assert "ch-banner--success" in page
    assert "25 events read now, 25 when it was billed" in page
    assert page.count(line.output_hash) == 2
    table = reader.get(f"/backoffice/lines/{line.public_id}/events.csv")
    rows = table.content.decode().splitlines()
    assert rows[0].startswith("event_id,source,type,occurred_at")
    assert len(rows) == 26


def test_line_that_does_not_reproduce_is_red(reader):
    """A stored decision that recomputes to something else is never shown as if all were well."""
    house = faces.house(until=FEBRUARY + timedelta(minutes=10))
    line = InvoiceLine.objects.get(invoice__customer=house.customer, invoice__status="DRAFT", code="api_calls")
    decision = {**line.decision, "output_hash": "0" * 64}
    InvoiceLine.objects.filter(pk=line.pk).update(decision=decision)
    page = reader.get(f"/backoffice/lines/{line.public_id}/explain/").content.decode()
    assert "ch-banner--danger" in page
    assert "ch-banner--success" not in page


@pytest.mark.parametrize("reference", ["lin_x", "lin_00000000000000000000000000", "inv_00000000000000000000000000"])
def test_unknown_line_is_404(reader, reference):
    assert reader.get(f"/backoffice/lines/{reference}/explain/").status_code == 404


def test_pdf_opens_from_the_invoice(reader):
    invoice = faces.house().invoice
    answer = reader.get(f"/backoffice/invoices/{invoice.public_id}/pdf/")
    assert answer["Content-Type"] == "application/pdf"
    assert answer.content.startswith(b"%PDF-")
    assert reader.get("/backoffice/invoices/NO-SUCH-1/pdf/").status_code == 404


def test_trial_balance_adds_up_and_goes_back_in_time(reader):
    """Debits equal credits on every day asked for."""
    faces.house()
    now = reader.get("/backoffice/trial-balance/").context_data["currencies"][0]
    assert (now["is_balanced"], now["difference"], now["currency"]) == (True, "$0.00", "USD")
    then = reader.get("/backoffice/trial-balance/", {"as_of": "2026-01-15"}).context_data["currencies"][0]
    receivable = {row["code"]: row["debit"] for row in then["rows"]}["1100"]
    assert receivable == "$99.00"
    odd = reader.get("/backoffice/trial-balance/", {"as_of": "yesterday"})
    assert odd.status_code == 200
    assert "is not a date" in odd.content.decode()


def test_trail_shows_entries_and_verifies_the_chain(reader):
    faces.house()
    audit_services.entries_seal()
    page = reader.get("/backoffice/audit-trail/")
    assert page.context_data["unsealed_count"] == 0
    verified = reader.post("/backoffice/audit-trail/")
    assert verified.context_data["report"].is_intact
    assert "Every sealed entry fits the one before it." in verified.content.decode()


def test_trail_is_for_those_who_audit(tenant):
    """The trail is a permission of its own."""
    biller = faces.browser(faces.staff(Role.BILLER))
    assert biller.get("/backoffice/audit-trail/").status_code == 403
    assert "Audit trail" not in biller.get("/backoffice/").content.decode()
    operator = faces.browser(faces.staff(Role.OPERATOR, email="operator@alpha.example"))
    assert operator.get("/backoffice/invoices/invoice/").status_code == 403
    assert operator.get("/backoffice/trial-balance/").status_code == 403


def test_staff_sign_in_by_password_and_land_where_they_wanted(tenant):
    faces.staff(Role.VIEWER)
    client = Client(HTTP_HOST=HOST)
    asked = client.get("/backoffice/invoices/invoice/")
    assert asked["Location"] == "/backoffice/login/?next=/backoffice/invoices/invoice/"
    entered = client.post(asked["Location"], {"username": "Finance@Alpha.example", "password": PASSWORD})
    assert entered["Location"] == "/backoffice/invoices/invoice/"
    plain = Client(HTTP_HOST=HOST)
    page = plain.get("/backoffice/login/").content.decode()
    assert "?next=%2Fbackoffice%2F" in page


def test_wrong_passwords_are_refused_and_slowed_down(tenant):
    faces.staff(Role.VIEWER)
    client = Client(HTTP_HOST=HOST)
    for _ in range(10):
        answer = client.post("/backoffice/login/", {"username": "finance@alpha.example", "password": "wrong"})
        assert "Too many tries" not in answer.content.decode()
    answer = client.post("/backoffice/login/", {"username": "finance@alpha.example", "password": PASSWORD})
    assert "Too many tries" in answer.content.decode()


def test_customers_people_and_mailed_links_do_not_open_it(tenant):
    """A portal user is no staff; and staff who came in by a mailed link are asked for their password."""
    house = faces.house()
    customer = faces.browser(faces.portal_user(house.customer))
    assert customer.get("/backoffice/")["Location"].startswith("/backoffice/login/")
    staff = faces.browser(faces.staff(Role.VIEWER))
    assert staff.get("/backoffice/").status_code == 200
    session = staff.session
    request = type("Request", (), {"session": session})()
    sessions.link_remember(request)
    session.save()
    assert staff.get("/backoffice/")["Location"].startswith("/backoffice/login/")


def test_policy_lets_no_stranger_in(reader):
    policy = reader.get("/backoffice/")["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "http" not in policy.replace("'self'", "")


def test_operators_see_tenants_and_no_money(db):
    """The platform's own site lists tenants and their state; billing nouns are not registered there."""
    from apps.backoffice.operators import operators_site

    with tenancy_context.shared_context():
        user = identity_services.user_create(
            email="root@platform.example", name="Root", password=PASSWORD, is_staff=True, actor=OPERATOR, at=START
        )
        user.role_grants.create(role=Role.OPERATOR, granted_at=START, granted_by="test")
        client = faces.browser(user, host="localhost")
        home = client.get("/operators/")
    assert home.status_code == 200
    assert "Alpha" in home.content.decode()
    labels = {model._meta.app_label for model in operators_site._registry}
    assert labels == {"tenancy", "identity"}
