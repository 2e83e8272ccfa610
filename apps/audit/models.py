"""The audit trail: append-only, later sealed into a hash chain."""

from django.db import models

from apps.common.actors import ActorKind
from apps.common.models import Entity
from apps.common.triggers import sealed_once


class AuditEntry(Entity):
    """
    One change: who, what, when, why, before and after.

    Written without a lock in the transaction that makes the change; `position` and the hashes are given afterwards
    by the one sealer, in commit order (a position taken at insert can commit out of order and be missed).
    """

    id_prefix = "aud"

    entity_type = models.CharField(max_length=60)
    entity_id = models.UUIDField()
    action = models.CharField(max_length=60)
    actor_kind = models.CharField(max_length=10)
    actor_id = models.UUIDField(null=True)
    actor_label = models.CharField(max_length=200)
    reason_code = models.CharField(max_length=60, blank=True)
    comment = models.TextField(blank=True)
    before = models.JSONField()
    after = models.JSONField()
    at = models.DateTimeField()
    request_id = models.CharField(max_length=80, blank=True)

    position = models.BigIntegerField(null=True, unique=True)
    hash_version = models.SmallIntegerField(null=True)
    previous_hash = models.CharField(max_length=64, null=True)
    entry_hash = models.CharField(max_length=64, null=True)

    class Meta:
        verbose_name_plural = "audit entries"
        constraints = [
            models.CheckConstraint(
                name="audit_actor_known", condition=models.Q(actor_kind__in=[kind.value for kind in ActorKind])
            ),
            models.CheckConstraint(
                name="audit_sealed_whole",
                condition=models.Q(
                    position__isnull=True,
                    hash_version__isnull=True,
                    previous_hash__isnull=True,
                    entry_hash__isnull=True,
                )
                | models.Q(position__gte=1, hash_version__gte=1, previous_hash__isnull=False, entry_hash__isnull=False),
            ),
        ]
        indexes = [
            models.Index(fields=["entity_type", "entity_id"], name="audit_entity"),
            models.Index(fields=["id"], name="audit_unsealed", condition=models.Q(position__isnull=True)),
        ]
        triggers = sealed_once(
            name="audit_sealed_once", sealed=("position", "hash_version", "previous_hash", "entry_hash")
        )

    def __str__(self) -> str:
        return f"{self.entity_type} {self.action}"
