"""The one door for status changes, and the walls behind it."""

import pytest
from django.db import IntegrityError, transaction
from django_fsm import ConcurrentTransition

from apps.audit.models import AuditEntry
from apps.common.actors import OPERATOR
from apps.lifecycle.errors import TransitionRefused
from apps.lifecycle.services import transition_apply
from apps.messaging.models import DomainEvent, OutboxMessage
from apps.metering.models import QuarantinedEvent, QuarantineStatus

pytestmark = pytest.mark.django_db


@pytest.fixture
def held(tenant, at) -> QuarantinedEvent:
    """A row of the smallest machine there is."""
    return QuarantinedEvent.objects.create(code="unknown_customer", detail="-", raw="{}", received_at=at)


def test_a_transition_changes_status_and_stamp_and_leaves_audit_and_event(held, at):
    """S143: timestamp, actor, before and after state, reason, in the same transaction as the change."""
    transition_apply(
        instance=held,
        action="replay",
        actor=OPERATOR,
        at=at,
        topic="metering.quarantined_event.replayed",
        reason=("fixed", "customer was added"),
    )
    held.refresh_from_db()
    assert (held.status, held.replayed_at) == (QuarantineStatus.REPLAYED, at)
    entry = AuditEntry.objects.get(entity_id=held.id)
    assert (entry.before, entry.after) == ({"status": "HELD"}, {"status": "REPLAYED"})
    assert (entry.actor_kind, entry.actor_label, entry.at) == ("operator", "command line", at)
    assert (entry.reason_code, entry.comment) == ("fixed", "customer was added")
    event = DomainEvent.objects.get(aggregate_id=held.id)
    assert (event.topic, event.sequence, event.payload["status"]) == (
        "metering.quarantined_event.replayed",
        1,
        "REPLAYED",
    )


def test_an_edge_that_does_not_exist_is_refused_and_leaves_nothing(held, at):
    transition_apply(instance=held, action="replay", actor=OPERATOR, at=at)
    entries, events = AuditEntry.objects.count(), DomainEvent.objects.count()
    with pytest.raises(TransitionRefused, match="is REPLAYED; it cannot 'replay'"):
        transition_apply(instance=held, action="replay", actor=OPERATOR, at=at, topic="x.y.z")
    assert (AuditEntry.objects.count(), DomainEvent.objects.count()) == (entries, events)
    assert OutboxMessage.objects.count() == 0


def test_a_stale_copy_cannot_go_through_the_door_a_second_time(held, at):
    stale = QuarantinedEvent.objects.get(id=held.id)
    transition_apply(instance=held, action="replay", actor=OPERATOR, at=at)
    with pytest.raises(ConcurrentTransition):
        transition_apply(instance=stale, action="replay", actor=OPERATOR, at=at)
    assert AuditEntry.objects.filter(entity_id=held.id).count() == 1


def test_assignment_is_refused_by_the_field(held):
    with pytest.raises(AttributeError):
        held.status = QuarantineStatus.REPLAYED


def test_refresh_reads_the_present_status(held, at):
    stale = QuarantinedEvent.objects.get(id=held.id)
    transition_apply(instance=held, action="replay", actor=OPERATOR, at=at)
    stale.refresh_from_db()
    assert stale.status == QuarantineStatus.REPLAYED


def test_the_database_refuses_an_update_along_no_edge(held, at):
    transition_apply(instance=held, action="replay", actor=OPERATOR, at=at)
    with pytest.raises(IntegrityError, match="may not go from REPLAYED to HELD"), transaction.atomic():
        QuarantinedEvent.objects.filter(id=held.id).update(status=QuarantineStatus.HELD)


def test_the_database_refuses_a_row_born_elsewhere(tenant, at):
    with pytest.raises(IntegrityError, match="begins as HELD"), transaction.atomic():
        QuarantinedEvent(status=QuarantineStatus.REPLAYED, code="x", detail="-", raw="{}", received_at=at).save()
