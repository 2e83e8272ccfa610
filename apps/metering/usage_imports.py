"""Keep how far the import of a file is; what it takes in goes through the intake like everything else."""

from datetime import datetime

from apps.common.actors import Actor
from apps.common.db import unit_of_work
from apps.metering.errors import UsageImportTaken
from apps.metering.event_files import FilePosition, FileReading
from apps.metering.import_models import UsageImport

_CANDIDATES_MAX = 1_000


def usage_imports_alike(*, reading: FileReading, mapping_source: str) -> list[UsageImport]:
    """Return the newest imports that read their files in this way; which of them fits, the content tells."""
    rows = UsageImport.objects.filter(
        encoding=reading.encoding, mapping_source=mapping_source, columns=dict(reading.columns)
    )
    return list(rows.order_by("-id")[:_CANDIDATES_MAX])


def usage_import_new(
    *, reading: FileReading, file_format: str, mapping_source: str, actor: Actor, at: datetime
) -> UsageImport:
    """Return an import that has read nothing; it is stored with its first batch."""
    return UsageImport(
        file_name=reading.name,
        format=file_format,
        encoding=reading.encoding,
        mapping_source=mapping_source,
        columns=dict(reading.columns),
        read_bytes=0,
        read_lines=0,
        begun_at=at,
        begun_by_name=actor.label,
    )


@unit_of_work
def usage_import_advance(
    *, usage_import: UsageImport, after: FilePosition, counts: dict[str, int], is_last: bool, at: datetime
) -> None:
    """
    Record that the file was read up to a place, in the transaction that took the events in.

    :param counts: what is to be added to the columns of counts
    :raises UsageImportTaken: if another process has moved it meanwhile
    """
    before = usage_import.read_bytes
    for name, count in counts.items():
        setattr(usage_import, name, getattr(usage_import, name) + count)
    usage_import.read_bytes = after.bytes
    usage_import.read_lines = after.lines
    usage_import.read_sha256 = after.sha256
    usage_import.read_at = at
    usage_import.finished_at = at if is_last else None
    if usage_import._state.adding:
        usage_import.save(force_insert=True)
        return
    moving = ("read_bytes", "read_lines", "read_sha256", "read_at", "finished_at", *counts)
    moved = UsageImport.objects.filter(id=usage_import.id, read_bytes=before).update(
        **{name: getattr(usage_import, name) for name in moving}
    )
    if not moved:
        raise UsageImportTaken(
            f"Another process reads {usage_import.file_name} in at this moment; let it come to its end. Nothing of "
            "this batch was taken in."
        )
