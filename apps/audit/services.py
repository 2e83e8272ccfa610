"""Write the audit trail, and seal it into a chain afterwards."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import models
from django.db.models import Max

from apps.audit import chain
from apps.audit.models import AuditEntry
from apps.common import context
from apps.common.actors import Actor
from apps.common.db import unit_of_work
from apps.common.locks import advisory_lock

SEAL_BATCH_MAX = 1_000


@unit_of_work
def entry_write(
    *,
    entity: models.Model,
    action: str,
    actor: Actor,
    at: datetime,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    reason_code: str = "",
    comment: str = "",
) -> AuditEntry:
    """Record one change in the transaction that makes it; `before` and `after` are JSON values."""
    return AuditEntry.objects.create(
        entity_type=entity._meta.label_lower,
        entity_id=entity.pk,
        action=action,
        actor_kind=actor.kind.value,
        actor_id=actor.id,
        actor_label=actor.label[:200],
        reason_code=reason_code,
        comment=comment,
        before=dict(before),
        after=dict(after),
        at=at,
        request_id=context.request_id(),
    )


@unit_of_work
def entries_seal() -> int:
    """
    Give committed entries their position and chain hash, in commit order, and return how many were sealed.

    One sealer per tenant: who comes second waits for the lock and finds nothing left.
    """
    advisory_lock("audit-seal")
    head = AuditEntry.objects.filter(position__isnull=False).aggregate(last=Max("position"))["last"] or 0
    previous = AuditEntry.objects.get(position=head).entry_hash if head else chain.GENESIS
    entries = list(AuditEntry.objects.filter(position__isnull=True).order_by("id")[:SEAL_BATCH_MAX])
    for offset, entry in enumerate(entries, start=1):
        entry.position = head + offset
        entry.hash_version = chain.VERSION
        entry.previous_hash = previous
        entry.entry_hash = previous = chain.entry_hash(entry=entry, previous_hash=str(previous))
    AuditEntry.objects.bulk_update(
        entries, ["position", "hash_version", "previous_hash", "entry_hash"], batch_size=SEAL_BATCH_MAX
    )
    return len(entries)
