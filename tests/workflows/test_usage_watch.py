"""What is wrong with usage becomes an alert, with the money at risk, and is gone when its cause is."""

import logging
from datetime import UTC, datetime, timedelta

import pytest
from django.db import DatabaseError, transaction

from apps.audit.models import AuditEntry
from apps.common.actors import OPERATOR, SCHEDULE
from apps.lifecycle.errors import TransitionRefused
from apps.messaging.models import DomainEvent
from apps.metering import alerts, following, sources, watching
from apps.metering.models import UsageAlert, UsageFollower
from apps.workflows import usage_watch
from tests.apps.metering.watched import follow, store
from tests.builders import customers, faces, metering

BEGIN = datetime(2026, 2, 10, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def look(at: datetime) -> list[UsageAlert]:
    """Watch the sources once."""
    return usage_watch.sources_watch(actor=SCHEDULE, at=at)


def test_three_percent_of_the_events_lost_is_an_alert_with_the_money_at_risk(tenant):
    """I10, S234: drop 30 of 1,000: an alert, the ranges, and the estimate; sent again, it closes by itself."""
    # 25 calls in January came to 17.50: 70 cents a call.
    house = faces.house()
    lost = set(range(500, 515)) | set(range(800, 815))
    store(set(range(1, 1001)) - lost, customer_id=house.customer.id, begin=BEGIN)
    follow()
    assert look(BEGIN + 20 * MINUTE) == [], "what may be on its way is not judged"
    (alert,) = look(BEGIN + 21 * MINUTE)
    assert (alert.kind, alert.subject, alert.status) == ("loss", "edge", "OPEN")
    assert alert.facts["missing"] == 30
    assert alert.facts["missing_bps"] == 300
    assert alert.facts["missing_ranges"] == [[500, 514], [800, 814]]
    assert alert.at_risk == {"USD": 2100}
    assert "30 of 1,000 events are missing (3.00 %)" in alert.sentence
    assert "about $21.00" in alert.sentence
    store(lost, customer_id=house.customer.id, begin=BEGIN + 30 * MINUTE)
    follow()
    assert look(BEGIN + 40 * MINUTE) == []
    alert.refresh_from_db()
    assert (alert.status, alert.closed_at) == ("CLOSED", BEGIN + 40 * MINUTE)


def test_two_percent_lost_is_none(tenant):
    """I10: the limit is the limit; and a tenant may set its own."""
    customer = customers.customer(external_id="acme")
    store(set(range(1, 1001)) - set(range(500, 520)), customer_id=customer.id, begin=BEGIN)
    follow()
    look(BEGIN + 20 * MINUTE)
    assert look(BEGIN + 21 * MINUTE) == []
    terms = watching.watch_terms()
    stricter = watching.WatchTerms(
        loss_alert_bps=100, delay_alert_seconds=300, clock_alert_seconds=120, retention_months=terms.retention_months
    )
    watching.watch_policy_set(terms=stricter, actor=OPERATOR, at=BEGIN)
    (alert,) = look(BEGIN + 22 * MINUTE)
    assert alert.facts["limit_bps"] == 100
    assert alert.at_risk == {}, "no document yet, so nothing to estimate by"


def test_heartbeats_tell_a_loss_without_numbers(tenant):
    """I10, S234: the source says 200, 190 are here."""
    customer = customers.customer(external_id="acme")
    store(range(190), customer_id=customer.id, begin=BEGIN, is_numbered=False)
    follow()
    word = {"source": "edge", "starts_at": BEGIN, "ends_at": BEGIN + 5 * MINUTE, "sent_count": 200}
    sources.heartbeat_record(**word, at=BEGIN + 5 * MINUTE)
    (alert,) = look(BEGIN + 11 * MINUTE)
    assert (alert.facts["counted_by"], alert.facts["missing"], alert.facts["expected"]) == ("heartbeat", 10, 200)


def test_six_minutes_of_delay_are_an_alert_until_events_come_in_time_again(tenant):
    """S235: above five minutes; a single late one among many in time is none."""
    customer = customers.customer(external_id="acme")
    store(range(10), customer_id=customer.id, begin=BEGIN, delay=6 * MINUTE)
    follow()
    (alert,) = look(BEGIN + 7 * MINUTE)
    assert (alert.kind, alert.facts["late"], alert.facts["delay_ms_max"]) == ("delay", 10, 360_000)
    store(range(100, 500), customer_id=customer.id, begin=BEGIN + 8 * MINUTE)
    follow()
    assert look(BEGIN + 16 * MINUTE) == []
    assert not alerts.alerts_live().filter(kind="delay").exists()


def test_five_minutes_of_delay_are_none(tenant):
    """S235: the limit itself is not above the limit."""
    customer = customers.customer(external_id="acme")
    store(range(10), customer_id=customer.id, begin=BEGIN, delay=5 * MINUTE)
    follow()
    assert look(BEGIN + 6 * MINUTE) == []


def test_a_clock_that_runs_ahead_is_an_alert(tenant):
    """S080: events that arrive before they occurred fall into the wrong period at its end."""
    customer = customers.customer(external_id="acme")
    store(range(10), customer_id=customer.id, begin=BEGIN, delay=-3 * MINUTE)
    follow()
    (alert,) = look(BEGIN + MINUTE)
    assert (alert.kind, alert.facts["ahead_ms"]) == ("clock", 180_000)


def test_a_source_that_falls_silent_is_told_by_its_own_rhythm(tenant):
    """S234: two a minute for a week, then nothing for a quarter of an hour."""
    customer = customers.customer(external_id="acme")
    begin = BEGIN - timedelta(days=8)
    store(range(1, 8 * 24 * 120 + 1), customer_id=customer.id, begin=begin, step=timedelta(seconds=30))
    follow()
    assert look(BEGIN + 14 * MINUTE) == []
    (alert,) = look(BEGIN + 16 * MINUTE)
    assert (alert.kind, alert.subject) == ("silence", "edge")
    assert alert.facts["due"] == 32
    store([10**6], customer_id=customer.id, begin=BEGIN + 17 * MINUTE, is_numbered=False)
    follow()
    assert look(BEGIN + 18 * MINUTE) == []
    alert.refresh_from_db()
    assert alert.status == "CLOSED"


def hourly(customer_id: object, count: int, hour_at: datetime, source: str = "edge") -> None:
    """Let a customer use so much in one hour."""
    store(
        range(count), customer_id=customer_id, begin=hour_at, step=timedelta(milliseconds=100), is_numbered=False,
        source=f"{source}-{hour_at:%m%d%H}",
    )  # fmt: skip


def test_an_hour_of_five_times_the_usual_is_told_and_whose_is_not(tenant):
    """S084: each customer and meter against its own same hour of the weeks before."""
    metering.meter(unit_name="calls")
    loud, usual = customers.customer(external_id="loud", name="Loud Ltd"), customers.customer(external_id="usual")
    for weeks in range(1, 5):
        hourly(loud.id, 200, BEGIN - timedelta(weeks=weeks), "loud")
        hourly(usual.id, 200, BEGIN - timedelta(weeks=weeks), "usual")
    hourly(loud.id, 1001, BEGIN, "loud")
    hourly(usual.id, 300, BEGIN, "usual")
    assert usage_watch.unusual_usage_watch(actor=SCHEDULE, at=BEGIN + HOUR + 9 * MINUTE) == [], "not settled yet"
    (alert,) = usage_watch.unusual_usage_watch(actor=SCHEDULE, at=BEGIN + HOUR + 10 * MINUTE)
    assert alert.subject == f"Loud Ltd ({loud.public_id}), api_calls"
    assert "1,001 calls in the hour" in alert.sentence
    assert "usual at this hour are 200, 500 % of it" in alert.sentence
    assert usage_watch.unusual_usage_watch(actor=SCHEDULE, at=BEGIN + 2 * HOUR + 10 * MINUTE) == []
    alert.refresh_from_db()
    assert alert.status == "CLOSED"


def test_a_meter_has_a_rule_of_its_own(tenant):
    """S084: another share, another volume, or none at all."""
    metering.meter()
    customer = customers.customer(external_id="acme")
    for weeks in range(1, 5):
        hourly(customer.id, 20, BEGIN - timedelta(weeks=weeks))
    hourly(customer.id, 50, BEGIN)
    at = BEGIN + HOUR + 10 * MINUTE
    assert usage_watch.unusual_usage_watch(actor=SCHEDULE, at=at) == [], "too little by the default rule"
    rule = watching.AnomalyTerms(high_percent=200, low_percent=0, volume_min=watching.Decimal(30))
    watching.anomaly_rule_set(meter_code="api_calls", terms=rule, is_active=True, actor=OPERATOR, at=at)
    assert len(usage_watch.unusual_usage_watch(actor=SCHEDULE, at=at)) == 1
    watching.anomaly_rule_set(meter_code="api_calls", terms=rule, is_active=False, actor=OPERATOR, at=at)
    assert usage_watch.unusual_usage_watch(actor=SCHEDULE, at=at) == []
    assert not alerts.alerts_live().exists()


def test_an_alert_is_told_once_logged_and_published(tenant, caplog):
    """S234: the same cause, seen again and again, is one row, one entry and one event."""
    customer = customers.customer(external_id="acme")
    store(range(10), customer_id=customer.id, begin=BEGIN, delay=6 * MINUTE)
    follow()
    with caplog.at_level(logging.WARNING):
        look(BEGIN + 7 * MINUTE)
    for minute in range(8, 12):
        assert look(BEGIN + minute * MINUTE) == []
    alert = UsageAlert.objects.get()
    assert (alert.opened_at, alert.last_seen_at) == (BEGIN + 7 * MINUTE, BEGIN + 11 * MINUTE)
    event = DomainEvent.objects.get(topic="metering.usage_alert.opened")
    assert (event.payload["kind"], event.payload["subject"]) == ("delay", "edge")
    assert AuditEntry.objects.filter(entity_id=alert.id, action="open").count() == 1
    assert "usage alert opened" in caplog.text


def test_a_person_takes_an_alert_up_with_a_comment(tenant):
    """S235: acknowledged by whom and with which words; it still closes by itself, and only once."""
    customer = customers.customer(external_id="acme")
    store(range(10), customer_id=customer.id, begin=BEGIN, delay=6 * MINUTE)
    follow()
    (alert,) = look(BEGIN + 7 * MINUTE)
    said = {"alert_id": alert.id, "comment": "Queue at the edge is full", "actor": OPERATOR, "at": BEGIN + 8 * MINUTE}
    alerts.alert_acknowledge(**said)
    with pytest.raises(TransitionRefused):
        alerts.alert_acknowledge(**said)
    assert look(BEGIN + 9 * MINUTE) == [], "still the same alert"
    alert.refresh_from_db()
    assert (alert.status, alert.comment) == ("ACKNOWLEDGED", "Queue at the edge is full")
    look(BEGIN + HOUR)
    alert.refresh_from_db()
    assert alert.status == "CLOSED"
    with pytest.raises(TransitionRefused):
        alerts.alert_acknowledge(**said)


def test_one_live_alert_per_cause_is_the_databases_rule(tenant):
    """S234: past the service, a second row for the same cause is refused."""
    row = {"kind": "loss", "subject": "edge", "sentence": "x", "opened_at": BEGIN, "last_seen_at": BEGIN}
    UsageAlert.objects.create(**row)
    with pytest.raises(DatabaseError, match="usage_alert_one_live"), transaction.atomic():
        UsageAlert.objects.create(**row)


@pytest.mark.parametrize(
    ("changed", "pointer"),
    [
        ({"loss_alert_bps": 0}, "/loss_alert_bps"),
        ({"delay_alert_seconds": 301}, "/delay_alert_seconds"),
        ({"clock_alert_seconds": 4000}, "/clock_alert_seconds"),
        ({"retention_months": 14}, "/retention_months"),
    ],
)
def test_limits_that_cannot_hold_name_the_field(tenant, changed, pointer):
    """S066: raw events stay longer than events may be late, and so on; nothing is stored."""
    values = {
        "loss_alert_bps": 200, "delay_alert_seconds": 300, "clock_alert_seconds": 120, "retention_months": 25,
    }  # fmt: skip
    with pytest.raises(watching.WatchPolicyInvalid) as refusal:
        watching.watch_policy_set(terms=watching.WatchTerms(**{**values, **changed}), actor=OPERATOR, at=BEGIN)
    assert [problem.pointer for problem in refusal.value.problems] == [pointer]
    assert watching.watch_terms() == watching.WatchTerms(**values)


def test_a_follower_that_stands_still_is_told_until_it_moves(tenant):
    """S235, S238: more than five minutes without a move is a backlog, whether events come or not."""
    assert following.usage_follow(at=BEGIN).has_moved
    assert look(BEGIN + 5 * MINUTE) == []
    (alert,) = look(BEGIN + 6 * MINUTE)
    assert (alert.kind, alert.subject) == ("backlog", "follower")
    assert "has not moved on for 6 minutes" in alert.sentence
    UsageFollower.objects.update(moved_at=BEGIN + 6 * MINUTE)
    assert look(BEGIN + 7 * MINUTE) == []
    alert.refresh_from_db()
    assert alert.status == "CLOSED"
