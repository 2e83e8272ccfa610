"""Take in a file of events: the same intake as over HTTP, and how far it is, batch by batch in one transaction."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from django.db import transaction

from apps.common.actors import Actor
from apps.common.db import require_tenant, rolled_back
from apps.metering import event_files, usage_imports
from apps.metering import services as metering_services
from apps.metering.event_files import EventFile, FileBatch, FileEvent, FilePosition
from apps.metering.import_models import UsageImport
from apps.metering.services import RefusedEvent
from apps.workflows import usage_intake

_COUNTS: Final = {
    "accepted": "accepted_count",
    "duplicate": "duplicate_count",
    "conflict": "conflict_count",
    "rejected": "rejected_count",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LineResult:
    """Why the event of a line was not taken in."""

    line: int
    status: str  # conflict or rejected
    code: str
    detail: str

    def to_document(self) -> dict[str, Any]:
        """Return the result as JSON."""
        return asdict(self)


Tell = Callable[[Sequence[LineResult]], None]


def usage_import_find(
    *, path: Path | None, file: EventFile, mapping_source: str, actor: Actor, at: datetime
) -> UsageImport:
    """
    Return the import to go on with, and stand the file where it is; a new one when this text was not begun yet.

    What comes through a pipe (no path) cannot be looked at twice and is read from its beginning: what is stored
    already comes out as duplicates.
    """
    alike = usage_imports.usage_imports_alike(reading=file.reading, mapping_source=mapping_source) if path else []
    alike = [row for row in alike if row.format == file.format]
    if path is not None and alike:
        with path.open("rb") as stream:
            found = event_files.prefix_find(
                stream=stream, prefixes=[(row.read_bytes, row.read_sha256) for row in alike]
            )
        if found is not None:
            size, digest = found
            row = next(row for row in alike if (row.read_bytes, row.read_sha256) == (size, digest.hexdigest()))
            file.go_on(at=FilePosition(lines=row.read_lines, bytes=size, digest=digest))
            return row
    return usage_imports.usage_import_new(
        reading=file.reading, file_format=file.format, mapping_source=mapping_source, actor=actor, at=at
    )


def usage_import_take(
    *, usage_import: UsageImport, batch: FileBatch, tell: Tell, actor: Actor, at: datetime, is_dry_run: bool = False
) -> dict[str, int]:
    """
    Take in a batch of a file and record how far it is; return how many were accepted, duplicate, conflict, rejected.

    :param tell: is told what was not taken in before it is committed, so that no crash can lose a line of it
    :param is_dry_run: judge and count the batch by the real path, and roll it back
    :raises UsageImportTaken: if another process reads the same file in
    :raises EventMappingUnknown: if no mapping is defined for the source
    """
    require_tenant()
    with rolled_back() if is_dry_run else nullcontext(), transaction.atomic():
        refused = [event for event in batch.events if event.refusal is not None]
        told = _refused_hold(refused, usage_import=usage_import, at=at)
        whole = [event for event in batch.events if event.refusal is None]
        counts = dict.fromkeys(_COUNTS, 0) | {"rejected": len(told)}
        if whole:
            result = usage_intake.events_accept(
                events=[event.raw for event in whole],
                actor=actor,
                at=at,
                mapping_source=usage_import.mapping_source,
            )
            counts["accepted"] += result.accepted
            counts["duplicate"] += result.duplicates
            counts["conflict"] += result.conflicts
            counts["rejected"] += result.rejected
            told += [
                LineResult(line=whole[r.index].line, status=r.status, code=r.code, detail=r.detail)
                for r in result.results
                if r.status != "duplicate"
            ]
        if told:
            tell(sorted(told, key=lambda result: result.line))
        if not is_dry_run:
            usage_imports.usage_import_advance(
                usage_import=usage_import,
                after=batch.after,
                counts={_COUNTS[name]: count for name, count in counts.items()},
                is_last=batch.is_last,
                at=at,
            )
    return counts


def _refused_hold(refused: Sequence[FileEvent], *, usage_import: UsageImport, at: datetime) -> list[LineResult]:
    """Keep lines that hold no event, as the intake keeps the events that it refuses."""
    told = [
        LineResult(line=event.line, status="rejected", code=event.refusal.code, detail=event.refusal.detail)
        for event in refused
        if event.refusal is not None
    ]
    held = [
        RefusedEvent(raw=event.raw, code=result.code, detail=result.detail)
        for event, result in zip(refused, told, strict=True)
    ]
    if held:
        metering_services.quarantine_hold(refused=held, mapping_source=usage_import.mapping_source, at=at)
    return told
