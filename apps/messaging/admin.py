"""Journal and outbox in the back office."""

from apps.common.admin import RecordAdmin, status_column
from apps.messaging.models import DomainEvent, OutboxMessage


class DomainEventAdmin(RecordAdmin):
    """What happened."""

    purpose = "What happened, in the order in which it was sealed; the API serves the same journal."
    list_display = ("at", "topic", "sequence", "actor_label", "position")
    list_filter = ("topic",)
    search_fields = ("topic",)
    ordering = ("-id",)
    fact_fields = (
        "topic",
        "at",
        "aggregate_type",
        "aggregate_id",
        "sequence",
        "position",
        "actor_label",
        "request_id",
        "payload",
    )


class OutboxMessageAdmin(RecordAdmin):
    """One event for one handler."""

    view_permissions = ("records.view", "messages.requeue")
    purpose = "News on its way to the house's own handlers. A dead message is out of tries and waits for a person."
    list_display = ("event", "handler", "status_badge", "attempts", "due_at", "finished_at")
    list_filter = ("status", "handler")
    search_fields = ("handler", "event__topic")
    list_select_related = ("event",)
    ordering = ("-id",)
    fact_fields = (
        "event",
        "handler",
        "status_badge",
        "attempts",
        "due_at",
        "claimed_until",
        "finished_at",
        "last_error",
    )

    status_badge = status_column({"PENDING": "info", "DONE": "success", "DEAD": "danger"})


RECORDS = ((DomainEvent, DomainEventAdmin), (OutboxMessage, OutboxMessageAdmin))
