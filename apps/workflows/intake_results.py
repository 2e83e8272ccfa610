"""What became of a batch of usage events, and of each of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class EventResult:
    """What became of one event that was not plainly accepted."""

    index: int
    status: str  # duplicate, conflict or rejected
    code: str = ""
    detail: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)

    def to_document(self) -> dict[str, Any]:
        """Return the result as JSON; a repeat needs no explanation."""
        reason = {"code": self.code, "detail": self.detail} if self.code else {}
        return {"index": self.index, "status": self.status, **reason, **self.facts}


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeResult:
    """What became of a batch: four counts that add up to its size, and each event that was not plainly accepted."""

    accepted: int
    duplicates: int
    conflicts: int
    rejected: int
    results: list[EventResult]

    @property
    def is_clean(self) -> bool:
        """Return whether nothing has to be looked at: all is accepted or was there already."""
        return not (self.conflicts or self.rejected)

    def to_document(self) -> dict[str, Any]:
        """Return the answer to the sender as JSON."""
        return {
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "conflicts": self.conflicts,
            "rejected": self.rejected,
            "results": [result.to_document() for result in self.results],
        }


def result_of(*, verdicts: Mapping[int, EventResult], size: int) -> IntakeResult:
    """Return the result of a batch from what became of the events that were not plainly accepted."""
    results = [verdicts[index] for index in sorted(verdicts)]
    counts = {status: sum(1 for r in results if r.status == status) for status in ("duplicate", "conflict", "rejected")}
    return IntakeResult(
        accepted=size - len(results),
        duplicates=counts["duplicate"],
        conflicts=counts["conflict"],
        rejected=counts["rejected"],
        results=results,
    )
