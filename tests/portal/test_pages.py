"""A customer's pages: usage, the next invoice, documents, explanations; and never anybody else's."""

from datetime import UTC, datetime, timedelta
from unittest.mock import ANY

import pytest

from apps.identity.models import Role
from apps.invoices.models import Invoice
from tests.builders import faces
from tests.builders.faces import FEBRUARY

pytestmark = pytest.mark.django_db


@pytest.fixture
def house(tenant):
    """A customer with a paid January and a running February."""
    return faces.house()


@pytest.fixture
def ada(house):
    """A person of the customer, signed in."""
    return faces.browser(faces.portal_user(house.customer))


def test_home_shows_usage_now_by_day_with_a_table(ada):
    """Current usage per meter, as a picture and as a table that says the same."""
    answer = ada.get("/portal/")
    usage = answer.context_data["running"][0]
    meter = usage.meters[0]
    assert (meter.name, meter.total, meter.event_count) == ("API calls", "3", "3")
    assert [bar.quantity for bar in meter.bars] == ["0", "0", "3", "0", "0", "0", "0", "0", "0", "0"]
    assert [bar.height for bar in meter.bars if bar.height] == [120]
    page = answer.content.decode()
    assert page.count("<rect") == len(meter.bars)
    assert "API calls by day, as a table" in page


def test_days_begin_at_the_customers_midnight(tenant):
    house = faces.house(timezone="America/Los_Angeles")
    faces.used("acme", 2, datetime(2026, 2, 9, 5, tzinfo=UTC))
    meter = faces.browser(faces.portal_user(house.customer)).get("/portal/").context_data["running"][0].meters[0]
    by_day = {bar.day: bar.quantity for bar in meter.bars}
    assert by_day["Feb 8, 2026"] == "2", "five in the morning in London is the evening before in Los Angeles"


def test_estimate_is_what_the_invoice_will_be(ada, house):
    """The estimate comes from the real path, so closing the period right then gives the same."""
    estimate = ada.get("/portal/").context_data["estimates"][0]
    assert estimate.total == "$102.00"
    before = Invoice.objects.count()
    ada.get("/portal/")
    assert Invoice.objects.count() == before, "an estimate leaves nothing behind"
    faces.subscriptions.advance(house.clock, datetime(2026, 3, 2, tzinfo=UTC))
    march = Invoice.objects.filter(customer=house.customer).order_by("-id").first()
    assert march.total_minor == 10_200


def test_without_a_subscription_the_page_teaches(tenant):
    from tests.builders import customers

    customer = customers.customer(external_id="new", name="New Ltd", email="new@new.example")
    page = faces.browser(faces.portal_user(customer)).get("/portal/").content.decode()
    assert "You have no running subscription." in page
    assert "No invoice yet." in page


def test_invoices_list_and_detail(ada, house):
    """The customer sees issued documents with lines, taxes, totals and what became of the payment."""
    rows = ada.get("/portal/invoices/").context_data["invoices"]
    assert [(row.number, row.total, row.state) for row in rows] == [
        (house.invoice.number, "$116.50", "Paid"),
        (ANY, "$99.00", "Paid"),
    ]
    page = ada.get(f"/portal/invoices/{house.invoice.public_id}/")
    assert page.context_data["totals"] == {"subtotal": "$116.50", "tax": "$0.00", "total": "$116.50"}
    assert page.context_data["payments"][0]["state"] == "Paid"
    assert page.context_data["paid"] == "$116.50"


def test_pdf_is_the_same_each_time(ada, house):
    path = f"/portal/invoices/{house.invoice.public_id}/pdf/"
    first, second = ada.get(path), ada.get(path)
    assert first.content.startswith(b"%PDF-")
    assert first.content == second.content
    assert first["Content-Disposition"] == f'attachment; filename="{house.invoice.number}.pdf"'


def test_every_line_is_explained(ada, house):
    """S144: quantity, price steps, rounding, tax and the events behind each line."""
    for line in house.invoice.lines.all():
        page = ada.get(f"/portal/invoices/{house.invoice.public_id}/lines/{line.public_id}/").content.decode()
        assert "banner--success" in page, line.code
        assert "Rounding." in page
    calls = house.invoice.lines.get(code="api_calls")
    path = f"/portal/invoices/{house.invoice.public_id}/lines/{calls.public_id}/events.csv"
    assert len(ada.get(path).content.decode().splitlines()) == 26


def test_failed_payment_is_told_with_its_reason(tenant):
    house = faces.house(token="tok_decline_soft")
    ada = faces.browser(faces.portal_user(house.customer))
    page = ada.get(f"/portal/invoices/{house.invoice.public_id}/")
    assert page.context_data["payments"][0]["state"] == "Failed, nothing was taken"
    assert page.context_data["payments"][0]["reason"] == "insufficient funds"
    assert page.context_data["row"].state == "To be paid"


def test_drafts_are_not_shown(tenant):
    house = faces.house(until=FEBRUARY + timedelta(minutes=10))
    draft = Invoice.objects.get(customer=house.customer, status="DRAFT")
    ada = faces.browser(faces.portal_user(house.customer))
    assert ada.get(f"/portal/invoices/{draft.public_id}/").status_code == 404
    assert len(ada.get("/portal/invoices/").context_data["invoices"]) == 1


def test_other_customers_are_not_there(ada, house):
    """A foreign invoice, line or PDF is not found, whoever asks how."""
    other = faces.house(name="beta").invoice
    line = other.lines.first()
    own = house.invoice.public_id
    for path in (
        f"{other.public_id}/",
        f"{other.number}/",
        f"{other.public_id}/pdf/",
        f"{other.public_id}/lines/{line.public_id}/",
        f"{own}/lines/{line.public_id}/",
        f"{own}/lines/{line.public_id}/events.csv",
        f"{own}/lines/nonsense/",
        "nonsense/",
        "a%00b/",
        f"{own}/lines/a%00b/",
        "%ED%A0%80/",
    ):
        answer = ada.get(f"/portal/invoices/{path}")
        assert answer.status_code == 404, path
        assert other.number not in answer.content.decode()
    numbers = [row.number for row in ada.get("/portal/invoices/").context_data["invoices"]]
    assert other.number not in numbers


def test_withdrawn_access_ends_at_once(ada, house):
    from apps.identity.models import PortalMembership

    PortalMembership.objects.filter(customer_id=house.customer.id).delete()
    answer = ada.get("/portal/")
    assert answer.status_code == 403
    assert "not connected to a customer" in answer.content.decode()


def test_staff_without_access_see_no_customer(tenant, house):
    assert faces.browser(faces.staff(Role.BILLER)).get("/portal/").status_code == 403


def test_a_person_of_two_customers_chooses(tenant, house):
    from apps.common.actors import OPERATOR
    from apps.identity import services as identity_services

    user = faces.portal_user(house.customer)
    other = faces.house(name="beta")
    foreign = faces.house(name="gamma")
    identity_services.portal_membership_grant(user=user, customer_id=other.customer.id, actor=OPERATOR, at=FEBRUARY)
    ada = faces.browser(user)
    assert ada.get("/portal/").context_data["viewer"].customer == house.customer
    ada.post("/portal/customer/", {"customer": other.customer.public_id})
    assert ada.get("/portal/").context_data["viewer"].customer == other.customer
    assert ada.post("/portal/customer/", {"customer": foreign.customer.public_id}).status_code == 404


@pytest.mark.parametrize(
    ("language", "total"),
    [("de-DE,de;q=0.9", "116,50\xa0$"), ("en-GB", "US$116.50"), ("xx", "$116.50"), ("", "$116.50")],
)
def test_money_is_written_the_readers_way(ada, language, total):
    """Amounts and dates follow the reader's locale; what is stored does not change."""
    answer = ada.get("/portal/invoices/", headers={"Accept-Language": language})
    assert answer.context_data["invoices"][0].total == total


def test_pages_are_not_kept_by_shared_computers(ada):
    assert "no-store" in ada.get("/portal/")["Cache-Control"]
