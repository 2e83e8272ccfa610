"""Refused events: edited as new, stored under a new id, replayed in bulk, discarded with a reason; never removed."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, transaction

from apps.audit.models import AuditEntry
from apps.common.actors import OPERATOR
from apps.metering import quarantine
from apps.metering.errors import QuarantineEditInvalid, ReplayRefused
from apps.metering.models import QuarantinedEvent, UsageEvent
from apps.workflows import quarantine as quarantine_workflow
from apps.workflows import usage_intake
from tests.builders import customers, metering
from tests.builders.corrections import ADA

pytestmark = pytest.mark.django_db

AT = datetime(2026, 1, 15, 12, tzinfo=UTC)


@pytest.fixture
def acme(tenant):
    """A customer whose bytes are added up."""
    metering.meter(code="bytes", aggregation="sum", value_property="bytes")
    return customers.customer(external_id="acme")


def held(**overrides) -> QuarantinedEvent:
    """Send an event that is refused, and return what is kept of it."""
    metering.send(metering.event(**{"properties": {"bytes": "5"}, **overrides}), at=AT)
    return QuarantinedEvent.objects.filter(status="HELD").latest("id")


def edit(event: QuarantinedEvent, raw: str, *, comment: str = "their unit was wrong") -> QuarantinedEvent:
    return quarantine.quarantine_edit(quarantined_id=event.id, raw=raw, comment=comment, actor=ADA, at=AT)


def rows() -> tuple[int, int, int]:
    return QuarantinedEvent.objects.count(), UsageEvent.objects.count(), AuditEntry.objects.count()


def test_an_edited_version_goes_in_and_the_original_stays_as_it_came(acme):
    """S026: a business rule refused it; a person mends the text, says why, and it counts once."""
    event = held(id="e1", properties={"bytes": "5 MB"})
    assert event.code == "invalid_quantity"
    edited = edit(event, event.raw.replace("5 MB", "5"))
    original = QuarantinedEvent.objects.get(id=event.id)
    assert (original.status, original.raw, original.closed_by_name) == ("EDITED", event.raw, ADA.label)
    assert (edited.edits_id, edited.edited_by_name, edited.edit_comment, edited.event_id) == (
        event.id, ADA.label, "their unit was wrong", "e1",
    )  # fmt: skip
    usage_intake.quarantine_replay(quarantined_id=edited.id, actor=ADA, at=AT)
    assert UsageEvent.objects.get(event_id="e1").properties == {"bytes": "5"}
    assert [version.status for version in quarantine.versions_of(quarantined=edited)] == ["EDITED", "REPLAYED"]
    with pytest.raises(ReplayRefused, match="another version"):
        usage_intake.quarantine_replay(quarantined_id=event.id, actor=ADA, at=AT)
    with pytest.raises(IntegrityError, match="quarantine_as_it_came"), transaction.atomic():
        QuarantinedEvent.objects.filter(id=event.id).update(raw="{}")


@pytest.mark.parametrize(
    ("raw", "comment", "code"),
    [
        ("no json", "why", "invalid_text"),
        ('{"id": 5}', "why", "invalid_type"),
        ("{}", " ", "comment_required"),
        (None, "why", "nothing_differs"),
    ],
)
def test_an_edit_that_says_nothing_is_refused_and_leaves_nothing(acme, raw, comment, code):
    event = held(properties={"bytes": "x"})
    before = rows()
    with pytest.raises(QuarantineEditInvalid) as refused:
        edit(event, event.raw if raw is None else raw, comment=comment)
    assert [problem.code for problem in refused.value.problems] == [code]
    assert rows() == before


def test_an_edit_into_what_waits_already_is_refused(acme):
    first, second = held(id="a", properties={"bytes": "x"}), held(id="b", properties={"bytes": "x"})
    with pytest.raises(QuarantineEditInvalid, match=first.public_id):
        edit(second, first.raw)


def test_a_reused_id_is_stored_under_a_new_one(acme):
    """The first fact keeps its id; the second counts under another, and both texts are there."""
    fact = metering.event(id="e1", properties={"bytes": "5"})
    metering.send(fact, at=AT)
    event = held(**{**fact, "properties": {"bytes": "7"}})
    assert event.code == "id_reused"
    done = quarantine_workflow.quarantine_store_under_new_id(
        quarantined_id=event.id, event_id="e1-second", comment="two meters, one counter", actor=ADA, at=AT
    )
    assert (done.status, done.event_id) == ("REPLAYED", "e1-second")
    assert sorted(UsageEvent.objects.values_list("event_id", "properties__bytes")) == [("e1", "5"), ("e1-second", "7")]
    assert json.loads(done.raw) == {**json.loads(event.raw), "id": "e1-second"}


def test_a_new_id_that_is_taken_changes_nothing(acme):
    fact = metering.event(id="e1", properties={"bytes": "5"})
    metering.send(fact, {**fact, "id": "e2"}, at=AT)
    event = held(**{**fact, "properties": {"bytes": "7"}})
    before = rows()
    with pytest.raises(ReplayRefused, match="id_reused"), transaction.atomic():
        quarantine_workflow.quarantine_store_under_new_id(
            quarantined_id=event.id, event_id="e2", comment="a new fact", actor=ADA, at=AT
        )
    assert rows() == before
    assert QuarantinedEvent.objects.get(id=event.id).status == "HELD"


def test_a_new_id_is_put_where_the_mapping_reads_it(acme):
    metering.mapping(source="edge", id="request.id", type="=api.call", customer="who", occurred_at="when")
    body = {"request": {"id": "r1"}, "who": "nobody", "when": "2026-01-10T12:00:00Z"}
    metering.send(body, at=AT, mapping_source="edge")
    event = QuarantinedEvent.objects.get()
    assert json.loads(quarantine.renamed_text(quarantined=event, event_id="r2"))["request"] == {"id": "r2"}


def test_all_of_a_customer_go_in_once_the_customer_is_there(acme):
    """S045's neighbour: the cause is mended once, and everything that waited for it counts."""
    for number in range(3):
        held(id=f"new-{number}", customer="newco")
    held(id="other", customer="nobody")
    held(id="bad", customer="newco", properties={"bytes": "x"})
    customers.customer(external_id="newco")
    result = quarantine_workflow.quarantine_replay_all(
        code="unknown_customer", customer_reference="newco", actor=ADA, at=AT
    )
    # The one whose number is wrong as well was refused for its customer first.
    assert (result.replayed, result.refused, result.waiting) == (3, {"invalid_quantity": 1}, 1)
    assert UsageEvent.objects.count() == 3
    again = quarantine_workflow.quarantine_replay_all(code="", customer_reference="", actor=ADA, at=AT)
    assert (again.replayed, again.refused, again.waiting) == (0, {"invalid_quantity": 1, "unknown_customer": 1}, 2)


def test_a_bulk_replay_finds_what_was_sent_again_meanwhile(acme):
    event = held(id="e1", customer="newco")
    customers.customer(external_id="newco")
    assert metering.send(json.loads(event.raw), at=AT).accepted == 1
    result = quarantine_workflow.quarantine_replay_all(
        code="unknown_customer", customer_reference="newco", actor=OPERATOR, at=AT
    )
    assert (result.replayed, UsageEvent.objects.count()) == (1, 1)


def test_a_discarded_event_is_kept_with_who_and_why(acme):
    event = held(customer="nobody")
    quarantine.quarantine_discard(
        quarantined_id=event.id, reason_code="test_data", comment="their load test", actor=ADA, at=AT
    )
    kept = QuarantinedEvent.objects.get(id=event.id)
    assert (kept.status, kept.close_reason, kept.close_comment, kept.closed_at) == (
        "DISCARDED", "test_data", "their load test", AT,
    )  # fmt: skip
    with pytest.raises(ReplayRefused, match="discarded already"):
        usage_intake.quarantine_replay(quarantined_id=event.id, actor=ADA, at=AT)
    with pytest.raises(IntegrityError, match="quarantine_kept"), transaction.atomic():
        kept.delete()
    # A producer that sends it again has it refused again, and that waits.
    assert held(**json.loads(event.raw)).status == "HELD"


def test_what_waits_is_counted_by_reason_and_age(acme):
    held(id="a", customer="nobody")
    held(id="b", customer="somebody")
    held(id="c", properties={"bytes": "x"})
    later = AT + timedelta(days=2)
    metering.send(metering.event(id="d", customer="nobody", occurred_at="2026-01-16T00:00:00Z"), at=later)
    counts = quarantine.quarantine_counts(at=later)
    assert [(c.code, c.count, c.customers, c.within_hour, c.within_day, c.within_week, c.older) for c in counts] == [
        ("unknown_customer", 3, 2, 1, 1, 3, 0),
        ("invalid_quantity", 1, 1, 0, 0, 1, 0),
    ]
    assert counts[0].oldest_received_at == AT
