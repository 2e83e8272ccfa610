"""Each event is accepted once, told to be a repeat, or refused with a reason and kept."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.db import OperationalError, transaction
from psycopg import errors as postgres

from apps.audit.models import AuditEntry
from apps.common import ids
from apps.common.actors import OPERATOR
from apps.common.db import NoTenant, fetch_all
from apps.messaging import services as messaging_services
from apps.messaging.models import DomainEvent
from apps.metering import selectors as metering_selectors
from apps.metering.errors import BatchInvalid, EventMappingUnknown, QuarantinedEventUnknown, ReplayRefused
from apps.metering.models import QuarantinedEvent, UsageAggregate, UsageEvent, UsageEventKey
from apps.tenancy import context as tenancy_context
from apps.workflows import usage_intake
from tests.builders import customers, metering, plans, subscriptions

pytestmark = pytest.mark.django_db


@pytest.fixture
def customer(tenant):
    metering.meter()
    return customers.customer(external_id="acme")


def _counts() -> tuple[int, int, int]:
    """Return how many events, keys and counted events there are."""
    totals = sum(UsageAggregate.objects.values_list("event_count", flat=True))
    return UsageEvent.objects.count(), UsageEventKey.objects.count(), totals


def _statuses(result) -> list[tuple[int, str, str]]:
    return [(r.index, r.status, r.code) for r in result.results]


def test_an_accepted_event_is_stored_counted_and_told_of(customer, at):
    """S027, S256: the raw event and the news of it are written in one transaction; there is no second write to fail."""
    event = metering.event(quantity="1.50", properties={"region": "eu", "text": 'tab\t back\\slash "quote" \u00e9\n'})
    result = metering.send(event, at=at)
    assert result.to_document() == {"accepted": 1, "duplicates": 0, "conflicts": 0, "rejected": 0, "results": []}
    stored = UsageEvent.objects.get()
    assert (stored.event_id, stored.source, stored.type) == (event["id"], "test", "api.call")
    assert (stored.customer_id, stored.subscription_id, stored.quantity) == (customer.id, None, 1.5)
    assert stored.properties == event["properties"]
    assert (stored.received_at, stored.occurred_at.isoformat()) == (at, "2026-01-10T12:00:00+00:00")
    news = DomainEvent.objects.get(topic="usage.recorded")
    assert (news.payload["accepted"], news.payload["sources"]) == (1, ["test"])
    assert news.payload["occurred_from"] == "2026-01-10T12:00:00+00:00"


def test_a_failure_after_the_write_takes_everything_back(customer, at, monkeypatch):
    """S256, S258: event, running total and news are one transaction: when one fails, none is there."""

    def fail(**_arguments):
        raise RuntimeError("the journal cannot be written")

    monkeypatch.setattr(messaging_services, "first_events_publish", fail)
    with pytest.raises(RuntimeError):
        metering.send(metering.event(), metering.event(customer="nobody"), at=at)
    assert _counts() == (0, 0, 0)
    assert QuarantinedEvent.objects.count() == 0


def test_the_same_batch_again_is_all_duplicates_and_counts_nothing(customer, at):
    """S028, S036, S050: the same message twice: the second answer is success and says duplicate."""
    batch = [metering.event() for _ in range(5)]
    assert metering.send(*batch, at=at).accepted == 5
    again = metering.send(*batch, at=at + timedelta(days=300))
    assert (again.accepted, again.duplicates, again.is_clean) == (0, 5, True)
    assert again.to_document()["results"][0] == {"index": 0, "status": "duplicate"}
    assert _counts() == (5, 5, 5)
    assert DomainEvent.objects.filter(topic="usage.recorded").count() == 1
    assert QuarantinedEvent.objects.count() == 0


def test_a_batch_of_old_and_new_tells_them_apart(customer, at):
    """S033, S037: duplicates are rejected before they are processed, one by one; the rest of the batch goes on."""
    old, new, changed = metering.event(), metering.event(), metering.event()
    metering.send(old, changed, at=at)
    result = metering.send(new, old, {**changed, "properties": {"a": "1"}}, metering.event(customer="nobody"), at=at)
    assert (result.accepted, result.duplicates, result.conflicts, result.rejected) == (1, 1, 1, 1)
    assert _statuses(result) == [
        (1, "duplicate", ""),
        (2, "conflict", "id_reused"),
        (3, "rejected", "unknown_customer"),
    ]
    assert _counts() == (3, 3, 3)


def test_repeats_inside_one_batch(customer, at):
    event = metering.event()
    result = metering.send(event, event, {**event, "quantity": "2"}, {**event, "source": "other"}, at=at)
    assert _statuses(result) == [(1, "duplicate", ""), (2, "conflict", "id_reused")]
    assert (result.accepted, _counts()) == (2, (2, 2, 2))


def test_repeats_inside_one_batch_of_what_is_stored_are_told_by_what_is_stored(customer, at):
    """S037: a producer is never told that another content is there already, nor that what is there is not."""
    event = metering.event()
    metering.send(event, at=at)
    changed = {**event, "properties": {"a": "1"}}
    result = metering.send(changed, changed, event, at=at)
    assert _statuses(result) == [(0, "conflict", "id_reused"), (1, "conflict", "id_reused"), (2, "duplicate", "")]
    assert (result.accepted, _counts()) == (0, (1, 1, 1))


def test_two_equal_readings_under_two_ids_are_two_events(customer, at):
    """S244: the same payload twice by purpose counts twice; the identity is the producer's id."""
    event = metering.event(quantity="1")
    assert metering.send(event, {**event, "id": "another"}, at=at).accepted == 2
    assert _counts() == (2, 2, 2)


def test_the_same_fact_spelt_otherwise_is_a_duplicate_not_a_conflict(customer, at):
    event = metering.event(quantity="1.50", properties={"a": 1, "b": "x"})
    metering.send(event, at=at)
    spelt = {
        **event,
        "customer": customer.public_id,
        "quantity": 1.5,
        "properties": {"b": "x", "a": 1},
        "occurred_at": "2026-01-10T13:00:00+01:00",
    }
    assert _statuses(metering.send(spelt, at=at)) == [(0, "duplicate", "")]


def test_ids_belong_to_a_tenant_and_a_source(customer, at, other_tenant):
    """S051: uniqueness is per (tenant, source, id): the same id elsewhere is another event."""
    event = metering.event(id="same")
    assert metering.send(event, {**event, "source": "second"}, at=at).accepted == 2
    with tenancy_context.tenant_context(schema_name=other_tenant):
        assert UsageEvent.objects.count() == 0
        customers.customer(external_id="acme")
        assert metering.send(event, at=at).accepted == 1
        assert UsageEvent.objects.count() == 1
    assert _counts()[0] == 2


def test_outside_a_tenant_nothing_is_taken_in(db, at):
    with pytest.raises(NoTenant):
        metering.send(metering.event(), at=at)


def test_refused_events_are_kept_as_they_came_once(customer, at):
    """S025: rejected with a reason per event, and stored as rejected; a retry of the same does not fill the table."""
    event = metering.event(customer="nobody", extra={"kept": True})
    for _ in range(3):
        assert _statuses(metering.send(event, at=at)) == [(0, "rejected", "unknown_customer")]
    held = QuarantinedEvent.objects.get()
    assert json.loads(held.raw, parse_float=str) == event
    assert (held.code, held.source, held.event_id, held.status) == ("unknown_customer", "test", event["id"], "HELD")
    assert "nobody" in held.detail
    assert _counts() == (0, 0, 0)
    assert DomainEvent.objects.filter(topic="usage.recorded").count() == 0


@pytest.mark.parametrize(
    ("poison", "code"),
    [
        ({"quantity": "NaN"}, "invalid_quantity"),
        ({"properties": {"a": "x\0y"}}, "invalid_text"),
        ({"properties": {"a\0b": 1}}, "invalid_text"),
        ({"id": "x\0y"}, "invalid_text"),
        ({"properties": {"text": "x" * 1_000_000}}, "too_large"),
        ({"occurred_at": "2026-01-10T12:00:00"}, "invalid_time"),
        ({"occurred_at": "2026-01-15T13:00:01Z"}, "too_far_in_future"),
        ({"occurred_at": "2024-01-10T12:00:00Z"}, "too_old"),
        ({"subscription": "nobody's"}, "unknown_subscription"),
        ({"occurred_at": "9999-12-31T23:59:59Z"}, "invalid_time"),
        ({"source": None}, "missing_field"),
        ({"properties": {"big": 10**4_000}}, ""),
    ],
)
def test_poison_costs_only_itself(customer, at, poison, code):
    """S037: one failure does not fail the rest: the neighbours are accepted, the poison has its own result."""
    result = metering.send(metering.event(), metering.event(**poison), metering.event(), at=at)
    assert _statuses(result) == ([(1, "rejected", code)] if code else [])
    assert _counts()[0] == 3 - len(result.results)
    assert QuarantinedEvent.objects.count() == len(result.results)


RAW_POISON = [
    b'{"id": "p", "quantity": 1e400}',
    b'{"id": "p", "properties": {"a": 1e999999999}}',
    b'{"id": "p", "properties": {"a": 1e999999999999999999999}}',
    b'{"id": "p", "quantity": -1e-999999999999999999999}',
    b'{"id": "p", "properties": {"a": 0e999999999}}',
    b'{"id": "p", "specversion": "1\\u0000"}',
    b'{"id": "\\ud800"}',
    b'{"id": "p", "properties": ' + b'{"a":' * 5_000 + b"1" + b"}" * 5_001,
    b'{"id": "\xff\xfe"}',
    b"[]",
    b'"text"',
    b"null",
    b"7",
]


@pytest.mark.parametrize("poison", RAW_POISON, ids=[str(number) for number in range(len(RAW_POISON))])
def test_raw_poison_costs_only_itself_and_is_kept(customer, at, poison):
    good = [json.dumps(metering.event()).encode() for _ in range(2)]
    body = b'{"events": [' + good[0] + b"," + poison + b"," + good[1] + b"]}"
    result = usage_intake.batch_accept(body=body, actor=OPERATOR, at=at)
    assert [(r.index, r.status) for r in result.results] == [(1, "rejected")]
    assert (_counts()[0], QuarantinedEvent.objects.count()) == (2, 1)


def test_a_body_that_is_no_json_stores_nothing(customer, at):
    body = b'{"events": [' + json.dumps(metering.event()).encode() + b', {"id": "x}]}'
    with pytest.raises(BatchInvalid):
        usage_intake.batch_accept(body=body, actor=OPERATOR, at=at)
    assert (_counts(), QuarantinedEvent.objects.count()) == ((0, 0, 0), 0)


def test_a_subscription_must_be_the_customers_own(customer, at):
    other = customers.customer(external_id="other")
    plans.published_plan(code="basic", base_fee="1.00")
    subscription = subscriptions.subscription(customer=other, plan_code="basic", external_id="theirs")
    foreign = [metering.event(subscription=reference) for reference in ("theirs", subscription.public_id)]
    result = metering.send(*foreign, metering.event(customer="other", subscription="theirs"), at=at)
    assert [r.code for r in result.results] == ["unknown_subscription"] * 2
    assert UsageEvent.objects.get().subscription_id == subscription.id


def test_an_id_wins_over_a_code_that_looks_like_it(customer, at):
    """Codes of that form are refused now; rows from before may still have one."""
    double = type(customer).objects.get(id=customer.id)
    double.id, double.external_id = ids.new_id(), customer.public_id
    double.save(force_insert=True)
    assert metering.send(metering.event(customer=customer.public_id), at=at).accepted == 1
    assert UsageEvent.objects.get().customer_id == customer.id
    plans.published_plan(code="basic", base_fee="1.00")
    one = subscriptions.subscription(customer=customer, plan_code="basic", external_id="one")
    other = customers.customer(external_id="other")
    two = subscriptions.subscription(customer=other, plan_code="basic", external_id="two")
    type(two).objects.filter(id=two.id).update(external_id=one.public_id)
    assert metering.send(metering.event(subscription=one.public_id), at=at).accepted == 1
    assert UsageEvent.objects.get(subscription_id__isnull=False).subscription_id == one.id


def test_a_customer_on_a_test_clock_is_judged_by_that_clock(customer, at):
    clock = customers.test_clock(now_at=at - timedelta(days=3_650))
    customers.customer(external_id="past", test_clock=clock)
    inside = metering.event(customer="past", occurred_at=(clock.now_at - timedelta(days=1)).isoformat())
    ahead = metering.event(customer="past", occurred_at=(clock.now_at + timedelta(hours=2)).isoformat())
    result = metering.send(inside, ahead, metering.event(), at=at)
    assert _statuses(result) == [(1, "rejected", "too_far_in_future")]


def test_a_test_clock_at_the_end_of_the_calendar_costs_only_its_own_events(customer, at):
    clock = customers.test_clock(now_at=datetime(9999, 12, 31, 23, 30, tzinfo=UTC))
    customers.customer(external_id="last", test_clock=clock)
    batch = [metering.event(customer="last", occurred_at=f"{year}-12-31T23:59:59Z") for year in (9999, 9998)]
    result = metering.send(*batch, metering.event(), at=at)
    assert _statuses(result) == [(0, "rejected", "invalid_time")]
    assert _counts()[0] == 2


def test_groupings_of_wide_characters_fit_the_key_of_the_totals(customer, at):
    names = [f"{letter}" + "\U0001f4b6" * 40 for letter in "abcde"]
    metering.meter(code="wide", group_by=names)
    wide = {name: "".join(chr(0x20000 + 997 * n + place) for n in range(100)) for place, name in enumerate(names)}
    short = {name: value[:40] for name, value in wide.items()}
    result = metering.send(metering.event(properties=wide), metering.event(properties=short), at=at)
    assert _statuses(result) == [(0, "rejected", "invalid_dimension")]


def test_events_of_a_type_without_a_meter_are_stored_and_not_counted(customer, at):
    metering.send(metering.event(type="not.metered", properties={"bytes": "no number"}), at=at)
    assert _counts() == (1, 1, 0)


def test_a_meter_that_cannot_count_an_event_refuses_it(customer, at):
    """S026: rules per meter, beyond the structure of the event."""
    metering.meter(
        code="bytes",
        aggregation="sum",
        value_property="bytes",
        filters={"kind": "traffic"},
        group_by=["region"],
        rules={"max": "10", "allowed": {"region": ["eu", "us"]}, "required": ["region"]},
    )

    def judge(**properties):
        result = metering.send(metering.event(properties={"kind": "traffic", **properties}), at=at)
        return result.results[0].code if result.results else "accepted"

    assert judge(bytes="5", region="eu") == "accepted"
    assert judge(bytes="11", region="eu") == "rule_max"
    assert judge(bytes="-1", region="eu") == "rule_min"
    assert judge(bytes="5", region="mars") == "rule_allowed"
    assert judge(bytes="5") == "rule_required"
    assert judge(region="eu") == "missing_property"
    assert judge(kind="other") == "accepted"


def test_a_sources_mapping_reads_its_events(customer, at):
    """S024: one canonical shape from every source; the version that read an event is stored on it."""
    metering.mapping(
        source="edge", id="req.id", type="=api.call", customer="account", occurred_at="req.at", properties__size="n"
    )
    document = {"req": {"id": 9, "at": "2026-01-10T12:00:00Z"}, "account": "acme", "n": 5}
    result = metering.send(document, {"req": {}}, at=at, mapping_source="edge")
    assert _statuses(result) == [(1, "rejected", "missing_field")]
    stored = UsageEvent.objects.get()
    assert (stored.source, stored.event_id, stored.properties) == ("edge", "9", {"size": 5})
    assert fetch_all("SELECT mapping_version FROM metering_usageevent") == [(1,)]
    assert QuarantinedEvent.objects.get().mapping_source == "edge"
    with pytest.raises(EventMappingUnknown):
        metering.send(document, at=at, mapping_source="unknown")


def test_a_cloud_events_batch_is_taken_in(customer, at):
    """S024: CloudEvents 1.0 in a plain array, as its specification has it."""
    event = {
        "specversion": "1.0",
        "id": "A1",
        "source": "/gw",
        "type": "api.call",
        "subject": "acme",
        "time": "2026-01-10T12:00:00Z",
        "data": {"region": "eu"},
    }
    result = usage_intake.batch_accept(body=json.dumps([event, event]).encode(), actor=OPERATOR, at=at)
    assert (result.accepted, result.duplicates) == (1, 1)
    assert UsageEvent.objects.get().properties == {"region": "eu"}


def test_a_single_event_and_an_empty_batch(customer, at):
    single = json.dumps(metering.event()).encode()
    assert usage_intake.single_accept(body=single, actor=OPERATOR, at=at).accepted == 1
    assert usage_intake.single_accept(body=single, actor=OPERATOR, at=at).duplicates == 1
    assert metering.send(at=at).to_document()["accepted"] == 0


def test_a_replay_counts_the_event_under_its_own_id_once(customer, at):
    """S260: redrive keeps the event's id, so an event that is stored already is not doubled."""
    event = metering.event(customer="newcomer")
    metering.send(event, at=at)
    held = QuarantinedEvent.objects.get()
    with pytest.raises(ReplayRefused) as caught:
        usage_intake.quarantine_replay(quarantined_id=held.id, actor=OPERATOR, at=at)
    assert caught.value.facts["reason"] == "unknown_customer"
    held.refresh_from_db()
    assert (held.status, QuarantinedEvent.objects.count(), _counts()) == ("HELD", 1, (0, 0, 0))
    customers.customer(external_id="newcomer")
    result = usage_intake.quarantine_replay(quarantined_id=held.id, actor=OPERATOR, at=at)
    held.refresh_from_db()
    assert (result.accepted, held.status, held.replayed_at) == (1, "REPLAYED", at)
    assert UsageEvent.objects.get().event_id == event["id"]
    assert AuditEntry.objects.filter(entity_id=held.id, action="replay").count() == 1
    with pytest.raises(ReplayRefused, match="already"):
        usage_intake.quarantine_replay(quarantined_id=held.id, actor=OPERATOR, at=at)
    assert metering.send(event, at=at).duplicates == 1
    assert _counts() == (1, 1, 1)


def test_a_replay_of_what_was_stored_meanwhile_is_a_duplicate(customer, at):
    """S260: the producer's own retry came first; the replay finds it and changes no total."""
    event = metering.event(customer="newcomer")
    metering.send(event, at=at)
    customers.customer(external_id="newcomer")
    metering.send(event, at=at)
    held = QuarantinedEvent.objects.get()
    result = usage_intake.quarantine_replay(quarantined_id=held.id, actor=OPERATOR, at=at)
    assert (result.duplicates, _counts()) == (1, (1, 1, 1))
    held.refresh_from_db()
    assert held.status == "REPLAYED"


def test_a_replay_that_contradicts_what_is_stored_stays(customer, at):
    event = metering.event()
    metering.send(event, at=at)
    metering.send({**event, "quantity": "2"}, at=at)
    held = QuarantinedEvent.objects.get()
    assert held.code == "id_reused"
    with pytest.raises(ReplayRefused):
        usage_intake.quarantine_replay(quarantined_id=held.id, actor=OPERATOR, at=at)
    with pytest.raises(QuarantinedEventUnknown):
        usage_intake.quarantine_replay(quarantined_id=customer.id, actor=OPERATOR, at=at)


def test_a_failed_replay_leaves_neither_event_nor_mark(customer, at, monkeypatch):
    metering.send(metering.event(customer="newcomer"), at=at)
    customers.customer(external_id="newcomer")
    held = QuarantinedEvent.objects.get()

    def fail(**_arguments):
        raise RuntimeError

    monkeypatch.setattr(usage_intake.metering_services, "quarantine_mark_replayed", fail)
    with pytest.raises(RuntimeError), transaction.atomic():
        usage_intake.quarantine_replay(quarantined_id=held.id, actor=OPERATOR, at=at)
    assert _counts() == (0, 0, 0)


def test_usage_is_visible_as_soon_as_it_is_answered(customer, at):
    meter = metering.meter()
    metering.send(metering.event(), at=at)
    usage = metering_selectors.usage_quantity(
        meter=meter, customer_id=customer.id, subscription_id=None, starts_at=at - timedelta(days=30), ends_at=at
    )
    assert usage.quantity == 1


def test_usage_is_taken_in_while_invoicing_stands_still(customer, at, monkeypatch):
    """S016: telemetry is decoupled from invoices: with every billing entry point broken, events still count."""
    from apps.workflows import cycle_close, drafting

    def broken(**_arguments):
        raise RuntimeError("invoicing stands still")

    for module, name in ((cycle_close, "billing_run_start"), (cycle_close, "period_close"), (drafting, "draft_build")):
        monkeypatch.setattr(module, name, broken)
    assert metering.send(metering.event(), at=at).accepted == 1
    assert _counts() == (1, 1, 1)


def test_a_deadlock_is_tried_again_and_a_stubborn_one_is_told(customer, at, monkeypatch):
    real, calls = usage_intake.metering_services.usage_keys_store, []

    def store(**arguments):
        calls.append(arguments["is_repeat_expected"])
        if len(calls) <= deaths:
            raise OperationalError("deadlock detected") from postgres.DeadlockDetected()
        return real(**arguments)

    monkeypatch.setattr(usage_intake.metering_services, "usage_keys_store", store)
    deaths = 2
    assert metering.send(metering.event(), at=at).accepted == 1
    assert calls == [False, True, True]
    calls.clear()
    deaths = usage_intake.TRIES_MAX
    with pytest.raises(OperationalError):
        metering.send(metering.event(), at=at)
    assert (len(calls), _counts()) == (usage_intake.TRIES_MAX, (1, 1, 1))
