"""The journal of domain events, and the outbox that carries them to handlers."""

from django.db import models

from apps.common.models import Entity
from apps.common.triggers import sealed_once


class DomainEvent(Entity):
    """
    Something that happened, as a lasting fact: append-only, numbered per aggregate when written.

    `sequence` counts within the aggregate (its row is locked by the service that publishes). `position` orders the
    whole tenant; the sealer gives it after commit, so a reader who has seen position n has missed nothing below it.
    """

    id_prefix = "evt"

    topic = models.CharField(max_length=80)
    schema_version = models.SmallIntegerField(default=1)
    aggregate_type = models.CharField(max_length=60)
    aggregate_id = models.UUIDField()
    sequence = models.BigIntegerField()
    payload = models.JSONField()
    actor_kind = models.CharField(max_length=10)
    actor_label = models.CharField(max_length=200)
    at = models.DateTimeField()
    request_id = models.CharField(max_length=80, blank=True)
    position = models.BigIntegerField(null=True, unique=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["aggregate_type", "aggregate_id", "sequence"], name="domain_event_sequence_once"
            ),
            models.CheckConstraint(name="domain_event_sequence_from_one", condition=models.Q(sequence__gte=1)),
            models.CheckConstraint(
                name="domain_event_position_from_one",
                condition=models.Q(position__isnull=True) | models.Q(position__gte=1),
            ),
        ]
        indexes = [
            models.Index(fields=["id"], name="domain_event_unsealed", condition=models.Q(position__isnull=True)),
            models.Index(fields=["topic", "position"], name="domain_event_topic"),
            models.Index(fields=["request_id"], name="domain_event_request"),
        ]
        triggers = sealed_once(name="domain_event_sealed_once", sealed=("position",))

    def __str__(self) -> str:
        return f"{self.topic} #{self.sequence}"


class OutboxStatus(models.TextChoices):
    """Where a message stands; every message ends in DONE or visibly in DEAD."""

    PENDING = "PENDING", "Pending: waits for the relay, or for its next attempt"
    DONE = "DONE", "Done: the handler returned"
    DEAD = "DEAD", "Dead: all attempts failed; somebody has to look and requeue"


class OutboxMessage(Entity):
    """One event for one handler, written in the business transaction, delivered at least once."""

    id_prefix = "obx"

    event = models.ForeignKey(DomainEvent, on_delete=models.PROTECT, related_name="messages")
    handler = models.CharField(max_length=100)
    # Copied from the event so that the claim can keep order per aggregate without a join.
    aggregate_id = models.UUIDField()
    status = models.CharField(max_length=8, choices=OutboxStatus, default=OutboxStatus.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField(null=True, help_text="Wall time of the next try after a failure; empty: at once.")
    # A claim is a lease: a relay that dies gives its messages back by doing nothing.
    claimed_until = models.DateTimeField(null=True)
    last_error = models.TextField(blank=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["event", "handler"], name="outbox_message_once"),
            models.CheckConstraint(name="outbox_status_known", condition=models.Q(status__in=OutboxStatus.values)),
            models.CheckConstraint(
                name="outbox_pending_is_unfinished",
                condition=models.Q(status="PENDING", finished_at__isnull=True)
                | (~models.Q(status="PENDING") & models.Q(finished_at__isnull=False)),
            ),
        ]
        indexes = [
            models.Index(fields=["due_at"], name="outbox_due", condition=models.Q(status="PENDING")),
            models.Index(
                fields=["handler", "aggregate_id", "id"], name="outbox_order", condition=models.Q(status="PENDING")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event.topic} -> {self.handler}"
