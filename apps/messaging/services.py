"""Publish domain events with the change they report, and hand them to handlers afterwards."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import Max
from django.utils.module_loading import import_string
from psycopg.types.json import Jsonb

from apps.common import context, ids, locks
from apps.common.actors import Actor
from apps.common.db import fetch_all, unit_of_work
from apps.common.locks import advisory_lock
from apps.messaging import relay_sql
from apps.messaging.errors import MessageNotDead
from apps.messaging.models import DomainEvent, OutboxMessage, OutboxStatus

SEAL_BATCH_MAX = 5_000
ATTEMPTS_MAX = 8
# A handler must be done well within this; the lease is how a dead relay gives its messages back.
LEASE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class ClaimedMessage:
    """A message that this relay may handle until its lease ends."""

    id: UUID
    handler: str
    attempts: int
    event_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstNews:
    """The first that is told of an aggregate; its id is new, so nobody else can be numbering its news."""

    topic: str
    aggregate_type: str
    aggregate_id: UUID
    payload: Mapping[str, Any]
    actor: Actor
    at: datetime
    request_id: str


@unit_of_work
def first_events_publish(*, news: Sequence[FirstNews]) -> None:
    """Append the first event of each aggregate to the journal, and its outbox messages; one statement for all."""
    events = DomainEvent.objects.bulk_create(
        DomainEvent(
            topic=first.topic,
            aggregate_type=first.aggregate_type,
            aggregate_id=first.aggregate_id,
            sequence=1,
            payload=dict(first.payload),
            actor_kind=first.actor.kind.value,
            actor_label=first.actor.label[:200],
            at=first.at,
            request_id=first.request_id,
        )
        for first in news
    )
    messages = [
        OutboxMessage(event=event, handler=handler, aggregate_id=event.aggregate_id)
        for event in events
        for handler in handlers_of(event.topic)
    ]
    if messages:
        OutboxMessage.objects.bulk_create(messages)


@unit_of_work
def event_publish(
    *,
    topic: str,
    aggregate_type: str,
    aggregate_id: UUID,
    payload: Mapping[str, Any],
    actor: Actor,
    at: datetime,
) -> DomainEvent:
    """
    Append an event to the journal, and one outbox message per handler of its topic, in the caller's transaction.

    The caller holds the aggregate's row lock, so the next sequence number is safe to compute; if it does not, the
    unique constraint refuses the second.
    """
    row = {
        "id": ids.new_id(),
        "topic": topic,
        "aggregate_type": aggregate_type,
        "aggregate_id": aggregate_id,
        "payload": Jsonb(dict(payload)),
        "actor_kind": actor.kind.value,
        "actor_label": actor.label[:200],
        "at": at,
        "request_id": context.request_id(),
    }
    event = DomainEvent.objects.raw(relay_sql.PUBLISH, row)[0]
    if handlers := handlers_of(topic):
        OutboxMessage.objects.bulk_create(
            OutboxMessage(event=event, handler=handler, aggregate_id=aggregate_id) for handler in handlers
        )
    return event


def handlers_of(topic: str) -> Sequence[str]:
    """Return the names of the handlers that the table of subscribers lists for a topic."""
    return tuple(_subscribers().get(topic, {}))


@cache
def _subscribers() -> Mapping[str, Mapping[str, Any]]:
    subscribers: Mapping[str, Mapping[str, Any]] = import_string(settings.EVENT_SUBSCRIBERS)
    return subscribers


@unit_of_work
def events_seal() -> int:
    """Give committed events their position in the tenant's journal, in commit order; return how many."""
    advisory_lock("journal-seal")
    head = DomainEvent.objects.aggregate(last=Max("position"))["last"] or 0
    return len(fetch_all(relay_sql.SEAL, {"head": head, "limit": SEAL_BATCH_MAX}))


@unit_of_work
def outbox_claim(*, limit: int, wall_at: datetime) -> list[ClaimedMessage]:
    """
    Lease up to `limit` messages that are due, oldest first, never two of one aggregate and handler.

    :param wall_at: the wall clock, not a test clock: leases are about processes, not about business
    """
    rows = fetch_all(relay_sql.CLAIM, {"now": wall_at, "until": wall_at + LEASE, "limit": limit})
    return sorted((ClaimedMessage(*row) for row in rows), key=lambda message: message.id)


@unit_of_work
def outbox_done(*, message_id: UUID, attempt: int, wall_at: datetime) -> None:
    """Record that the handler returned; a try that was overtaken by a later one has no say any more."""
    OutboxMessage.objects.filter(id=message_id, status=OutboxStatus.PENDING, attempts=attempt).update(
        status=OutboxStatus.DONE, finished_at=wall_at, claimed_until=None, last_error=""
    )


@unit_of_work
def outbox_failed(*, message_id: UUID, attempt: int, error: str, is_final: bool, wall_at: datetime) -> None:
    """
    Record a failure: another try after a growing pause, or DEAD when tries are used up or pointless.

    A try that was overtaken by a later one has no say any more.
    """
    message = locks.get_for_update(OutboxMessage, message_id)
    if message.status != OutboxStatus.PENDING or message.attempts != attempt:
        return
    message.last_error = error[:2_000]
    message.claimed_until = None
    if is_final or message.attempts >= ATTEMPTS_MAX:
        message.status, message.finished_at = OutboxStatus.DEAD, wall_at
    else:
        message.due_at = wall_at + timedelta(seconds=2**message.attempts)
    message.save()


@unit_of_work
def outbox_requeue(*, message_id: UUID, actor: Actor, at: datetime) -> OutboxMessage:
    """
    Give a dead message another round of tries.

    :raises MessageNotDead: if it is pending or done
    """
    message = locks.get_for_update(OutboxMessage, message_id)
    if message.status != OutboxStatus.DEAD:
        raise MessageNotDead(f"Only a dead message can be requeued; this one is {message.status}.")
    message.status, message.finished_at = OutboxStatus.PENDING, None
    message.attempts, message.due_at = 0, None
    message.last_error = f"Requeued by {actor.label} at {at.isoformat()}. Before: {message.last_error}"[:2_000]
    message.save()
    return message
