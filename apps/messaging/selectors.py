"""Reads of journal and outbox."""

from uuid import UUID

from django.db.models import QuerySet

from apps.messaging.models import DomainEvent, OutboxMessage, OutboxStatus


def domain_events_after(*, position: int, topic: str | None, limit: int) -> list[DomainEvent]:
    """Return sealed events behind a position, in order; an unsealed event is not visible yet."""
    events = DomainEvent.objects.filter(position__gt=position)
    if topic:
        events = events.filter(topic=topic)
    return list(events.order_by("position")[:limit])


def events_of(*, aggregate_type: str, aggregate_id: UUID) -> QuerySet[DomainEvent]:
    """Return one aggregate's events in their own order."""
    return DomainEvent.objects.filter(aggregate_type=aggregate_type, aggregate_id=aggregate_id).order_by("sequence")


def events_of_request(*, request_id: str) -> list[DomainEvent]:
    """Return what one request published, in the order in which it did."""
    return list(DomainEvent.objects.filter(request_id=request_id).order_by("id")) if request_id else []


def dead_messages() -> QuerySet[OutboxMessage]:
    """Return the messages that wait for a person."""
    return OutboxMessage.objects.filter(status=OutboxStatus.DEAD).select_related("event").order_by("id")
