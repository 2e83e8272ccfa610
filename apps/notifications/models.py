"""Mails as rows: written first, sent next, recorded last."""

from datetime import datetime

from django.db import models
from django.db.models import Q
from django_fsm import FSMField, transition

from apps.lifecycle.edges import Edge, status_triggers
from apps.lifecycle.models import LifecycleModel


class MailStatus(models.TextChoices):
    """Whether a mail has left the house."""

    QUEUED = "QUEUED", "Queued: written, not handed to the mail server"
    SENT = "SENT", "Sent: the mail server took it"
    FAILED = "FAILED", "Failed: the mail server refused it; the reason is stored"


MAIL_EDGES = (
    Edge("send", (MailStatus.QUEUED, MailStatus.FAILED), MailStatus.SENT),
    Edge("fail", (MailStatus.QUEUED,), MailStatus.FAILED),
)


class Mail(LifecycleModel):
    """A mail about one thing; the same mail about the same thing exists once."""

    id_prefix = "mai"
    edges = MAIL_EDGES
    initial_status = MailStatus.QUEUED

    kind = models.CharField(max_length=40)
    source_type = models.CharField(max_length=60)
    source_id = models.UUIDField()
    recipient = models.EmailField(max_length=254)
    subject = models.CharField(max_length=200)
    body = models.TextField()
    status = FSMField(choices=MailStatus, default=MailStatus.QUEUED, protected=True)
    queued_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True, blank=True)
    last_error = models.TextField(blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["kind", "source_type", "source_id", "recipient"], name="mail_once"),
            models.CheckConstraint(name="mail_status_known", condition=Q(status__in=MailStatus.values)),
        ]
        triggers = status_triggers(name="mail_status_edges", initial=MailStatus.QUEUED, edges=MAIL_EDGES)

    def __str__(self) -> str:
        return f"{self.kind} to {self.recipient}"

    @transition(field=status, source=[MailStatus.QUEUED, MailStatus.FAILED], target=MailStatus.SENT)
    def send(self, *, at: datetime) -> None:
        """Record that the mail server took it."""
        self.sent_at = at

    @transition(field=status, source=MailStatus.QUEUED, target=MailStatus.FAILED)
    def fail(self, *, at: datetime) -> None:
        """Record that the mail server refused it."""
