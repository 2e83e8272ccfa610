"""How a tenant's events are taken in, and what is kept of them."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction

from apps.audit.models import AuditEntry
from apps.common.actors import OPERATOR
from apps.common.db import fetch_all
from apps.metering import intake_settings
from apps.metering.errors import EventTypePolicyInvalid, MeterInvalid, UsageSettingsInvalid
from apps.metering.intake_terms import UsageTerms, intake_terms_known, usage_terms
from apps.metering.models import EventTypePolicy, UsageAggregate, UsageEvent, UsageEventKey, UsageSettings
from apps.tenancy import context as tenancy_context
from tests.builders import customers, metering

pytestmark = pytest.mark.django_db


@pytest.fixture
def customer(tenant):
    metering.meter()
    return customers.customer(external_id="acme")


def _set(at, **terms):
    return intake_settings.usage_settings_set(terms=UsageTerms(**terms), actor=OPERATOR, at=at)


def _policy(at, *, kept=None, hashed=(), event_type="api.call"):
    return intake_settings.event_type_policy_define(
        event_type=event_type, kept_properties=kept, hashed_properties=hashed, actor=OPERATOR, at=at
    )


def test_a_tenants_limits_of_time_hold_from_the_next_batch_on(customer, at, other_tenant):
    """Two tenants: one draws the limits closer, to the second; the other's do not move."""
    edges = [at - timedelta(days=2), at - timedelta(days=2, seconds=1), at + timedelta(seconds=30)]
    beyond = at + timedelta(seconds=31)
    _set(at, behind_days_max=2, ahead_seconds_max=30)
    result = metering.send(*(metering.event(occurred_at=moment.isoformat()) for moment in (*edges, beyond)), at=at)
    assert [(r.index, r.code) for r in result.results] == [(1, "too_old"), (3, "too_far_in_future")]
    assert "2 days before" in result.results[0].detail
    with tenancy_context.tenant_context(schema_name=other_tenant):
        customers.customer(external_id="acme")
        sent = [metering.event(occurred_at=moment.isoformat()) for moment in (*edges, beyond)]
        assert metering.send(*sent, at=at).accepted == 4


@pytest.mark.parametrize(
    ("terms", "pointer"),
    [
        ({"behind_days_max": 0}, "/behind_days_max"),
        ({"behind_days_max": 401}, "/behind_days_max"),
        ({"ahead_seconds_max": -1}, "/ahead_seconds_max"),
        ({"ahead_seconds_max": 86_401}, "/ahead_seconds_max"),
        ({"retry_window_hours": 0}, "/retry_window_hours"),
        ({"dedup_window_hours": 23, "retry_window_hours": 1}, "/dedup_window_hours"),
        ({"dedup_window_hours": 47, "retry_window_hours": 48}, "/dedup_window_hours"),
    ],
)
def test_settings_that_cannot_hold_are_refused_twice(tenant, at, terms, pointer):
    """S030: the window is at least 24 hours and at least the longest time after which a producer sends again."""
    with pytest.raises(UsageSettingsInvalid) as caught:
        _set(at, **terms)
    assert [problem.pointer for problem in caught.value.problems] == [pointer]
    assert (UsageSettings.objects.count(), AuditEntry.objects.filter(action="set").count()) == (0, 0)
    values = {name: getattr(UsageTerms(**terms), name) for name in UsageTerms.__slots__}
    with pytest.raises(IntegrityError), transaction.atomic():
        UsageSettings.objects.create(**values, changed_at=at)


def test_settings_are_told_in_the_audit_trail_once(tenant, at):
    assert usage_terms() == UsageTerms()
    _set(at, dedup_window_hours=48, retry_window_hours=48)
    row = _set(at + timedelta(hours=1), dedup_window_hours=48, retry_window_hours=48)
    entry = AuditEntry.objects.get(entity_id=row.id)
    assert (entry.action, entry.after["dedup_window_hours"], row.changed_at) == ("set", 48, at)
    assert usage_terms() == UsageTerms(dedup_window_hours=48, retry_window_hours=48)


def test_an_id_is_known_for_ever_by_default(customer, at):
    """S029: the difference to permanent uniqueness: without a window an id never counts as new again."""
    event = metering.event()
    metering.send(event, at=at)
    again = metering.send(event, at=at + timedelta(days=390))
    assert (again.duplicates, UsageEvent.objects.count()) == (1, 1)


@pytest.mark.parametrize(("age", "is_new"), [(-1, False), (0, True), (1, True)])
def test_a_window_is_exact_to_the_second(customer, at, age, is_new):
    """S029: one second before the window ends the id is a duplicate, one second after it a new event."""
    _set(at, dedup_window_hours=24)
    event = metering.event(quantity="1")
    metering.send(event, at=at)
    later = at + timedelta(hours=24, seconds=age)
    answer = metering.send(event, metering.event(), at=later)
    assert (answer.accepted, answer.duplicates) == ((2, 0) if is_new else (1, 1))
    counted = sum(UsageAggregate.objects.values_list("event_count", flat=True))
    assert (UsageEvent.objects.count(), counted) == ((3, 3) if is_new else (2, 2))
    # Whoever was new is known from then on, with its own content.
    third = metering.send({**event, "quantity": "2"}, at=later + timedelta(hours=23))
    assert (third.accepted, third.conflicts) == ((0, 1) if is_new else (1, 0))


def test_a_window_lets_nothing_else_happen_to_a_key(customer, at):
    """S031: only what the window has forgotten can be taken or taken away; everything else only grows."""
    metering.send(metering.event(), at=at)
    key = UsageEventKey.objects.get()
    forbidden = (
        "UPDATE metering_usageeventkey SET received_at = received_at + interval '23 hours'",
        "UPDATE metering_usageeventkey SET received_at = received_at + interval '48 hours', "
        "event_key = gen_random_uuid()",
        "DELETE FROM metering_usageeventkey",
    )
    for settings_made in (False, True):
        if settings_made:
            _set(at, dedup_window_hours=24)
        for statement in forbidden:
            with pytest.raises(IntegrityError, match="only grow"), transaction.atomic():
                fetch_all(statement)
    assert intake_settings.usage_keys_purge(at=at + timedelta(hours=23), limit=10) == 0
    with pytest.raises(IntegrityError, match="only grow"), transaction.atomic():
        fetch_all("DELETE FROM metering_usageeventkey")
    assert UsageEventKey.objects.get().event_key == key.event_key


def test_forgotten_keys_are_taken_away_in_batches(customer, at):
    """S031: the purge takes what the window has forgotten, a batch at a time, and nothing while there is no window."""
    metering.send(*(metering.event() for _ in range(5)), at=at)
    metering.send(metering.event(), at=at + timedelta(hours=20))
    later = at + timedelta(hours=40)
    assert intake_settings.usage_keys_purge(at=later, limit=100) == 0
    _set(at, dedup_window_hours=24)
    purged = [intake_settings.usage_keys_purge(at=later, limit=3) for _ in range(3)]
    assert (purged, UsageEventKey.objects.count(), UsageEvent.objects.count()) == ([3, 2, 0], 1, 6)


def test_the_cost_of_knowing_ids_can_be_read(customer, at):
    """S032: how many ids are known and what the table takes, beside the share of events that came again."""
    metering.send(*(metering.event() for _ in range(50)), at=at)
    fetch_all("ANALYZE metering_usageeventkey")
    figures = intake_settings.identity_figures()
    assert figures.key_count == 50
    assert figures.size_bytes > 0


def test_what_a_policy_withholds_never_reaches_the_database(customer, at):
    """S042: dropped and hashed before storing; hashes are stable, so different values are still counted."""
    metering.meter(code="users", aggregation="unique_count", value_property="email", group_by=["region"])
    _policy(at, kept=["email", "region"], hashed=["email"])
    people = [("a@x.example", "eu"), ("b@x.example", "eu"), ("a@x.example", "eu")]
    for email, region in people:
        sent = {"email": email, "region": region, "phone": "0123-456", "deep": {"name": "Ada"}}
        assert metering.send(metering.event(properties=sent), at=at).accepted == 1
    stored = list(UsageEvent.objects.order_by("event_id").values_list("properties", flat=True))
    assert all(set(properties) == {"email", "region"} for properties in stored)
    assert len({properties["email"] for properties in stored}) == 2
    labels = fetch_all("SELECT dimensions::text, label_key FROM metering_usagelast WHERE label_key <> ''")
    everything = str(stored) + str([(grouping, bytes(label)) for grouping, label in labels])
    everything += str(list(UsageAggregate.objects.values_list("dimensions", flat=True)))
    assert not any(secret in everything for secret in ("example", "0123", "Ada"))
    assert len(labels) == 2


def test_hashes_of_one_value_differ_between_tenants(customer, at, other_tenant):
    """S042: the hash is keyed by the tenant: nobody can compare two tenants' people."""
    hashes = []
    for schema_name in (None, other_tenant):
        if schema_name is None:
            _policy(at, hashed=["user"])
            metering.send(metering.event(properties={"user": "ada"}), at=at)
            hashes.append(UsageEvent.objects.get().properties["user"])
            continue
        with tenancy_context.tenant_context(schema_name=schema_name):
            customers.customer(external_id="acme")
            _policy(at, hashed=["user"])
            metering.send(metering.event(properties={"user": "ada"}), at=at)
            hashes.append(UsageEvent.objects.get().properties["user"])
    assert len({*hashes, "ada"}) == 3


def test_a_retry_across_a_change_of_policy_is_a_duplicate(customer, at):
    """S042, S034: the hash of the content is made of what was sent, not of what is kept."""
    event = metering.event(properties={"user": "ada", "n": 1})
    metering.send(event, at=at)
    _policy(at, kept=["n"])
    assert metering.send(event, at=at).duplicates == 1
    assert metering.send({**event, "properties": {"user": "eve", "n": 1}}, at=at).conflicts == 1
    _policy(at, hashed=["user"])
    assert metering.send(event, at=at).duplicates == 1


def test_policy_and_meter_must_agree_whichever_comes_second(customer, at):
    """S042: what a meter reads is kept, and kept as it is where its value matters; both refusals say what to do."""
    metering.meter(
        code="traffic", aggregation="sum", value_property="bytes", filters={"kind": "x"}, group_by=["region"]
    )
    with pytest.raises(EventTypePolicyInvalid) as caught:
        _policy(at, kept=["region", "bytes"], hashed=["bytes"])
    assert [problem.pointer for problem in caught.value.problems] == ["/hashed_properties", "/kept_properties"]
    assert "Meter 'traffic'" in caught.value.problems[0].detail
    assert EventTypePolicy.objects.count() == 0
    _policy(at, kept=["region", "bytes", "kind"], hashed=["region"])
    with pytest.raises(MeterInvalid, match="withheld|does not keep") as refused:
        metering.meter(code="people", aggregation="unique_count", value_property="user")
    assert refused.value.problems[0].pointer == "/value_property"
    with pytest.raises(MeterInvalid, match="as a hash"):
        metering.meter(code="eu", filters={"region": "eu"})
    metering.meter(code="regions", aggregation="unique_count", value_property="region")


def test_versions_of_a_policy_stay_and_the_last_one_holds(customer, at):
    first = _policy(at, kept=["a"])
    assert _policy(at, kept=["a"]).id == first.id
    second = _policy(at, kept=None)
    assert (second.version, EventTypePolicy.objects.count()) == (2, 2)
    metering.send(metering.event(properties={"a": 1, "b": 2}), at=at)
    assert UsageEvent.objects.get().properties == {"a": 1, "b": 2}
    assert "api.call" not in intake_terms_known().policies
    with pytest.raises(EventTypePolicyInvalid, match="kept_properties"):
        _policy(at, kept=["a"], hashed=["b"])
    with pytest.raises(IntegrityError), transaction.atomic():
        EventTypePolicy.objects.create(
            event_type="t", version=1, is_limited=True, kept_properties=["a"], hashed_properties=["b"], defined_at=at
        )


@pytest.mark.parametrize(
    ("weight", "expected"),
    [(None, (1, 2)), (5, (5, 10)), ("7", (7, 14)), (1_000_000, (1_000_000, 2_000_000))],
)
def test_an_event_may_stand_for_several(customer, at, weight, expected):
    """S046: sampled or summed up at the edge: count adds the weight, sum the value times the weight."""
    metering.meter(code="calls", weight_property="n")
    metering.meter(code="bytes", aggregation="sum", value_property="bytes", weight_property="n")
    result = metering.send(
        metering.event(properties={"bytes": "2", **({} if weight is None else {"n": weight})}), at=at
    )
    assert result.accepted == 1
    totals = dict(
        fetch_all(
            "SELECT m.code, a.value_sum FROM metering_usageaggregate a JOIN metering_meter m ON m.id = a.meter_id"
        )
    )
    assert (totals["calls"], totals["bytes"]) == expected


@pytest.mark.parametrize("weight", [0, -1, "1.5", "05", 1_000_001, True, [], {}, "", 2.5])
def test_a_weight_that_is_no_count_is_refused_with_a_remedy(customer, at, weight):
    """S046: what cannot be counted exactly is refused at the door, never rounded."""
    metering.meter(code="calls", weight_property="n")
    result = metering.send(metering.event(properties={"n": weight}), at=at)
    assert [(r.code, "1 to 1000000" in r.detail) for r in result.results] == [("invalid_weight", True)]
    assert UsageEvent.objects.count() == 0


@pytest.mark.parametrize(
    "terms",
    [
        {"aggregation": "max", "value_property": "v"},
        {"aggregation": "unique_count", "value_property": "v"},
        {"aggregation": "sum", "value_property": "n"},
    ],
)
def test_only_counts_and_sums_are_weighed(tenant, terms):
    with pytest.raises(MeterInvalid) as caught:
        metering.meter(code="m", weight_property="n", **terms)
    assert [problem.pointer for problem in caught.value.problems] == ["/weight_property"]
