"""Read and verify the audit trail."""

from dataclasses import dataclass
from uuid import UUID

from django.db.models import Min, QuerySet

from apps.audit import chain
from apps.audit.models import AuditEntry


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What verification found: how far it read, and the first position that does not fit."""

    sealed_count: int
    unsealed_count: int
    broken_position: int | None
    detail: str

    @property
    def is_intact(self) -> bool:
        """Return whether every sealed entry fits the one before it."""
        return self.broken_position is None


def chain_verify() -> ChainReport:
    """Recompute the whole chain from its first entry and return the first break, if any."""
    previous = chain.GENESIS
    expected = 0
    for entry in AuditEntry.objects.filter(position__isnull=False).order_by("position").iterator(chunk_size=2_000):
        expected += 1
        problem = _problem_of(entry=entry, expected=expected, previous=previous)
        if problem:
            return ChainReport(expected - 1, unsealed_count(), expected, problem)
        previous = str(entry.entry_hash)
    return ChainReport(expected, unsealed_count(), None, "Every sealed entry fits the one before it.")


def _problem_of(*, entry: AuditEntry, expected: int, previous: str) -> str:
    if entry.position != expected:
        return f"Position {expected} is missing; the next entry found has position {entry.position}."
    if entry.previous_hash != previous:
        return f"Entry {expected} does not follow the entry before it."
    try:
        recomputed = chain.entry_hash(entry=entry, previous_hash=previous)
    except ValueError as error:
        return str(error)
    if recomputed != entry.entry_hash:
        return f"Entry {expected} ({entry.entity_type} {entry.action}) was changed after it was sealed."
    return ""


def unsealed_count() -> int:
    """Return how many entries still wait for the sealer."""
    return AuditEntry.objects.filter(position__isnull=True).count()


def oldest_unsealed_created_at() -> object:
    """Return when the oldest unsealed entry was written, or None when all are sealed."""
    return AuditEntry.objects.filter(position__isnull=True).aggregate(oldest=Min("created_at"))["oldest"]


def entries_of(*, entity_type: str, entity_id: UUID) -> QuerySet[AuditEntry]:
    """Return what was ever done to one thing, oldest first."""
    return AuditEntry.objects.filter(entity_type=entity_type, entity_id=entity_id).order_by("id")
