"""Alerts, leakage, proofs and archived lines in the back office."""

import csv
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest

from apps.common.actors import SCHEDULE
from apps.identity.models import Role
from apps.invoices.models import InvoiceLine
from apps.metering import proofs, retention_months
from apps.metering.errors import UsageMonthArchived
from apps.metering.models import AnomalyRule, UsageAlert, WatchPolicy
from apps.workflows import usage_leakage, usage_watch
from tests.apps.metering.watched import follow, store
from tests.builders import customers, faces, metering

pytestmark = pytest.mark.django_db
BEGIN = datetime(2026, 2, 10, 9, 0, tzinfo=UTC)


@pytest.fixture
def reader(tenant):
    """Somebody who may read everything."""
    return faces.browser(faces.staff(Role.VIEWER))


@pytest.fixture
def biller(tenant):
    """Somebody who looks after usage."""
    return faces.browser(faces.staff(Role.BILLER, email="biller@alpha.example"))


def lose_thirty(customer_id) -> UsageAlert:
    """Store 970 of 1,000 numbered events and let the watch find it."""
    store(set(range(1, 1001)) - set(range(500, 530)), customer_id=customer_id, begin=BEGIN)
    follow()
    usage_watch.sources_watch(actor=SCHEDULE, at=BEGIN + timedelta(minutes=20))
    (alert,) = usage_watch.sources_watch(actor=SCHEDULE, at=BEGIN + timedelta(minutes=21))
    return alert


def test_today_tells_of_alerts_with_the_money_at_risk_and_leads_to_them(reader, clock):
    """S234, S235: a card with count, estimated money and age; its list shows the same and no closed ones."""
    house = faces.house()
    lose_thirty(house.customer.id)
    clock.set(BEGIN + timedelta(hours=2, minutes=21))
    cards = {card.title: card for card in reader.get("/backoffice/").context_data["cards"]}
    card = cards["Usage alerts"]
    assert (card.count, card.money, card.oldest) == (1, ("$21.00",), "2 hours")
    page = reader.get(card.url).content.decode()
    assert "edge" in page
    assert "30 of 1,000 events are missing" in page
    assert "$21.00" in page


def test_a_person_takes_an_alert_up_and_a_reader_may_not(reader, biller, clock):
    """S235: the button asks for words, keeps them, and is offered once, to those who may."""
    alert = lose_thirty(customers.customer().id)
    url = f"/backoffice/do/alert-acknowledge/{alert.pk}/"
    assert reader.post(url, {"comment": "Mine"}).status_code == 403
    assert biller.post(url, {}).status_code == 200, "asks for a reason"
    assert biller.post(url, {"comment": "Network at the edge"}).status_code == 302
    alert.refresh_from_db()
    assert (alert.status, alert.comment) == ("ACKNOWLEDGED", "Network at the edge")
    assert "Network at the edge" in biller.get(f"/backoffice/metering/usagealert/{alert.pk}/change/").content.decode()


def test_limits_and_rules_are_set_by_buttons(biller):
    """S084, S066: one row of limits, one rule per meter; what cannot hold is said with the field."""
    meter = metering.meter()
    limits = {"loss_alert_bps": 100, "delay_alert_seconds": 900, "clock_alert_seconds": 60, "retention_months": 14}
    refused = biller.post("/backoffice/do/watch-limits/", limits)
    assert "must be 15 or more" in refused.content.decode()
    assert not WatchPolicy.objects.exists()
    assert biller.post("/backoffice/do/watch-limits/", {**limits, "retention_months": 36}).status_code == 302
    assert WatchPolicy.objects.get().retention_months == 36
    rule = {"high_percent": 300, "low_percent": 0, "volume_min": "50", "is_active": "on"}
    assert biller.post(f"/backoffice/do/meter-watch/{meter.pk}/", rule).status_code == 302
    assert AnomalyRule.objects.get().high_percent == 300


def test_leakage_names_each_place_where_usage_gets_lost(reader, clock):
    """S239: missing, refused, counted by no meter, charged by no plan, priced at nothing; each with what to do."""
    house = faces.house()
    lose_thirty(house.customer.id)
    free = customers.customer(external_id="free", name="Free Ltd")
    store(range(40), customer_id=free.id, begin=BEGIN, source="other", is_numbered=False)
    store(range(7), customer_id=free.id, begin=BEGIN, source="third", event_type="nobody.reads", is_numbered=False)
    metering.send(metering.event(customer="stranger"), at=BEGIN)
    follow()
    at = BEGIN + timedelta(hours=1)
    leaks = usage_leakage.leakage(starts_at=BEGIN - timedelta(days=31), ends_at=at, at=at)
    found = {(leak.place, leak.subject): (leak.events, dict(leak.at_risk)) for leak in leaks}
    # 25 calls in January came to 17.50: 70 cents an event.
    assert found == {
        ("Never arrived", "edge"): (30, {"USD": 2100}),
        ("Refused", "unknown_customer"): (1, {"USD": 70}),
        ("Counted by no meter", "nobody.reads (no_meter)"): (7, {"USD": 490}),
        ("Charged by no plan", "Free Ltd, api_calls"): (40, {"USD": 2800}),
    }
    assert usage_leakage.totals_at_risk(leaks=leaks) == {"USD": 5460}
    clock.set(at)
    page = reader.get("/backoffice/usage-leakage/").content.decode()
    assert "$54.60" in page
    assert "≈ $28.00" in page
    assert "subscribe it, or leave it free" in page
    table = list(csv.DictReader(StringIO(reader.get("/backoffice/usage-leakage.csv").content.decode())))
    assert len(table) == 4
    assert {row["at_risk_minor"] for row in table} == {"2100", "70", "490", "2800"}
    assert "Write days like" in reader.get("/backoffice/usage-leakage/?from=x").content.decode()


def test_a_tenant_without_usage_leaks_nothing(reader):
    """S239: an empty page says what its emptiness means."""
    assert "is counted, charged and on a document" in reader.get("/backoffice/usage-leakage/").content.decode()


def test_zero_priced_usage_is_told(tenant):
    """S239: ten calls within what the plan includes come to nothing, and the report says so."""
    from tests.builders import plans, subscriptions

    metering.meter(code="api_calls", event_type="api.call", unit_name="calls")
    charge = {**faces.CHARGES[0], "tiers": [{"up_to": "100", "unit_rate": "0"}, {"up_to": None, "unit_rate": "1"}]}
    plans.published_plan(code="gift", base_fee="5.00", charges=[charge])
    test_clock = customers.test_clock(now_at=subscriptions.START, name="Gift")
    customer = customers.customer(external_id="gifted", test_clock=test_clock)
    subscriptions.subscription(customer=customer, plan_code="gift")
    subscriptions.advance(test_clock, datetime(2026, 1, 11, tzinfo=UTC))
    faces.used("gifted", 10, datetime(2026, 1, 10, 12, tzinfo=UTC))
    subscriptions.advance(test_clock, faces.NOW)
    bounds = {"starts_at": datetime(2026, 1, 1, tzinfo=UTC), "ends_at": faces.NOW, "at": faces.NOW}
    (leak,) = usage_leakage.leakage(**bounds)
    assert (leak.place, leak.events, leak.subject) == ("Priced at nothing", 10, "api_calls in USD, 1 line")


def test_a_line_of_an_archived_month_says_so_and_how_to_restore(reader, monkeypatch):
    """S067: the page shows the stored decision and the command; it does not pretend to have read events."""
    house = faces.house()
    line = InvoiceLine.objects.get(invoice=house.invoice, kind="usage")

    def archived(**_window):
        raise UsageMonthArchived("The raw events of 2026-01 are in the archive. Restore them with usage_restore.")

    monkeypatch.setattr(retention_months, "months_require", archived)
    page = reader.get(f"/backoffice/lines/{line.public_id}/explain/")
    assert page.status_code == 200
    assert "Restore them with usage_restore" in page.content.decode()
    assert "graduated" in page.content.decode()
    assert reader.get(f"/backoffice/lines/{line.public_id}/events.csv").status_code == 404


def test_a_proof_has_a_page_for_finance(reader):
    """S085, S070: the day, what it came to, and that it is whole."""
    metering.meter(unit_name="calls")
    store(range(10), customer_id=customers.customer().id, begin=BEGIN)
    proof = proofs.usage_proof_make(usage_date=BEGIN.date(), at=BEGIN + timedelta(days=1))
    page = reader.get(f"/backoffice/metering/usageproof/{proof.pk}/change/").content.decode()
    assert "gave exactly what is stored" in page
    assert proof.events_digest in page
    for name in ("usagesource", "sourceheartbeat", "usagearchive", "anomalyrule", "watchpolicy", "usagemending"):
        assert reader.get(f"/backoffice/metering/{name}/").status_code == 200
