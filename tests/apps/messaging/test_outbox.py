"""Journal and outbox: written with the change, delivered at least once, in order per aggregate."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction

from apps.common import ids
from apps.common.actors import OPERATOR
from apps.messaging import selectors, services
from apps.messaging.errors import MessageNotDead
from apps.messaging.models import DomainEvent, OutboxMessage, OutboxStatus
from apps.workflows import relay, subscribers

pytestmark = pytest.mark.django_db


@pytest.fixture
def seen(monkeypatch) -> list[tuple[int, str]]:
    """Put two recording handlers into the table of subscribers under a topic of the tests' own."""
    calls: list[tuple[int, str]] = []

    def first(*, event, wall_at):
        assert DomainEvent.objects.filter(id=event.id).exists()
        calls.append((event.sequence, "first"))

    def second(*, event, wall_at):
        calls.append((event.sequence, "second"))

    table = {**subscribers.SUBSCRIBERS, "tests.thing.happened": {"first": first, "second": second}}
    monkeypatch.setattr(subscribers, "SUBSCRIBERS", table)
    monkeypatch.setattr(services, "_subscribers", lambda: table)
    return calls


def _publish(at, aggregate_id=None, topic="tests.thing.happened"):
    return services.event_publish(
        topic=topic,
        aggregate_type="tests.thing",
        aggregate_id=aggregate_id or ids.new_id(),
        payload={"n": 1},
        actor=OPERATOR,
        at=at,
    )


def test_an_event_and_its_messages_are_written_together(tenant, at, seen):
    """S196: the outbox row is written in the business transaction; a rollback leaves neither."""
    before = OutboxMessage.objects.count()
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        _publish(at)
        raise ZeroDivisionError
    assert OutboxMessage.objects.count() == before
    event = _publish(at)
    assert sorted(event.messages.values_list("handler", flat=True)) == ["first", "second"]


def test_sequences_count_per_aggregate_and_tell_order_whatever_the_order_of_arrival(tenant, at, seen):
    """S136: a sequence per aggregate resolves disorder."""
    aggregate_id = ids.new_id()
    events = [_publish(at, aggregate_id) for _ in range(3)]
    _publish(at)
    assert [event.sequence for event in events] == [1, 2, 3]
    assert list(selectors.events_of(aggregate_type="tests.thing", aggregate_id=aggregate_id)) == events
    with pytest.raises(IntegrityError, match="domain_event_sequence_once"), transaction.atomic():
        DomainEvent.objects.create(
            topic="x",
            aggregate_type="tests.thing",
            aggregate_id=aggregate_id,
            sequence=2,
            payload={},
            actor_kind="user",
            actor_label="",
            at=at,
        )


def test_the_relay_delivers_each_message_and_marks_it_done(tenant, at, seen):
    """S197: pending rows are polled and handed to their handlers."""
    event = _publish(at)
    assert relay.outbox_relay(wall_at=at) == 2
    assert sorted(seen) == [(1, "first"), (1, "second")]
    assert set(event.messages.values_list("status", flat=True)) == {OutboxStatus.DONE}
    assert relay.outbox_relay(wall_at=at) == 0


def test_news_of_one_aggregate_arrives_in_order(tenant, at, seen):
    aggregate_id = ids.new_id()
    for _ in range(3):
        _publish(at, aggregate_id)
    relay.outbox_relay(wall_at=at)
    assert [sequence for sequence, handler in seen if handler == "first"] == [1, 2, 3]


def test_a_failing_handler_holds_back_its_own_line_only(tenant, at, seen, monkeypatch):
    broken, healthy = ids.new_id(), ids.new_id()
    table = dict(subscribers.SUBSCRIBERS)

    def first(*, event, wall_at):
        if event.aggregate_id == broken:
            raise RuntimeError("the world is on fire")
        seen.append((event.sequence, "first"))

    table["tests.thing.happened"] = {"first": first}
    monkeypatch.setattr(subscribers, "SUBSCRIBERS", table)
    monkeypatch.setattr(services, "_subscribers", lambda: table)
    for aggregate_id in (broken, broken, healthy):
        _publish(at, aggregate_id)
    assert relay.outbox_relay(wall_at=at) == 1
    waiting = list(OutboxMessage.objects.filter(aggregate_id=broken).order_by("id"))
    assert [message.attempts for message in waiting] == [1, 0]
    assert waiting[0].due_at > at
    assert "the world is on fire" in waiting[0].last_error


def test_a_message_dies_after_its_last_try_and_a_person_can_requeue_it(tenant, at, seen, monkeypatch):
    table = {"tests.thing.happened": {"first": lambda *, event, wall_at: 1 / 0}}
    monkeypatch.setattr(subscribers, "SUBSCRIBERS", table)
    monkeypatch.setattr(services, "_subscribers", lambda: table)
    message = _publish(at).messages.get()
    for hour in range(services.ATTEMPTS_MAX + 1):
        relay.outbox_relay(wall_at=at + timedelta(hours=hour))
    message.refresh_from_db()
    assert (message.status, message.attempts) == (OutboxStatus.DEAD, services.ATTEMPTS_MAX)
    assert message in selectors.dead_messages()
    requeued = services.outbox_requeue(message_id=message.id, actor=OPERATOR, at=at)
    assert (requeued.status, requeued.attempts) == (OutboxStatus.PENDING, 0)
    with pytest.raises(MessageNotDead):
        services.outbox_requeue(message_id=message.id, actor=OPERATOR, at=at)


def test_a_claim_is_a_lease_that_ends_by_itself(tenant, at, seen):
    """S049: a relay that dies between claim and handling gives its messages back."""
    _publish(at)
    claimed = services.outbox_claim(limit=10, wall_at=at)
    assert len(claimed) == 2
    assert services.outbox_claim(limit=10, wall_at=at + timedelta(seconds=1)) == []
    again = services.outbox_claim(limit=10, wall_at=at + services.LEASE + timedelta(seconds=1))
    assert {message.id for message in again} == {message.id for message in claimed}


def test_a_handler_that_left_the_table_makes_a_visible_dead_letter(tenant, at, seen, monkeypatch):
    message = _publish(at).messages.first()
    monkeypatch.setattr(subscribers, "SUBSCRIBERS", {})
    relay.outbox_relay(wall_at=at)
    message.refresh_from_db()
    assert message.status == OutboxStatus.DEAD
    assert "No handler" in message.last_error


def test_positions_are_given_in_order_and_only_once(tenant, at, seen):
    events = [_publish(at) for _ in range(3)]
    services.events_seal()
    positions = [DomainEvent.objects.get(id=event.id).position for event in events]
    assert positions == list(range(positions[0], positions[0] + 3))
    after_first = selectors.domain_events_after(position=positions[0], topic=None, limit=10)
    assert [event.position for event in after_first] == positions[1:]
    with pytest.raises(IntegrityError, match="Only the sealer"), transaction.atomic():
        DomainEvent.objects.filter(id=events[0].id).update(position=9_999)


@pytest.mark.parametrize("sql", ["UPDATE messaging_domainevent SET topic = 'x'", "DELETE FROM messaging_domainevent"])
def test_the_journal_only_grows(tenant, at, seen, sql):
    """S142: what happened is appended and never rewritten."""
    _publish(at, topic="tests.thing.without_handlers")
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql)
