"""Answers kept under the caller's idempotency key."""

from django.db import models

from apps.common.models import Entity
from apps.common.triggers import append_only


class IdempotencyRecord(Entity):
    """The answer first given to a key and body: the same pair gets it again, another body under the key does not."""

    id_prefix = "idm"

    api_key_id = models.UUIDField()
    key = models.CharField(max_length=255)
    route = models.CharField(max_length=200)
    request_hash = models.CharField(max_length=64)
    response_status = models.PositiveSmallIntegerField()
    response_body = models.TextField()
    answered_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["api_key_id", "key"], name="idempotency_key_once")]
        triggers = append_only(name="idempotency_append_only")

    def __str__(self) -> str:
        return f"{self.route} {self.key}"
