"""
Raw events leave the database a month at a time, and come back when they are needed.

Write a file, read it back and compare, then take the month out: each step is kept before the next begins, and whatever
is interrupted is begun again. The rows leave in the one transaction that also says so. Running totals, identities and
documents stay, so nothing that was billed changes and an event that is sent again is still a duplicate.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any, Final
from uuid import UUID

from django.db.models import QuerySet

from apps.audit import services as audit_services
from apps.common import ids, locks
from apps.common.actors import Actor
from apps.common.db import fetch_all, unit_of_work
from apps.lifecycle.services import transition_apply
from apps.metering import partitions, proofs_sql, retention_files, retention_sql
from apps.metering.errors import ArchiveBroken, ArchiveRefused
from apps.metering.models import UsageArchive
from apps.metering.proofs import digest_of
from apps.metering.watching_models import ArchiveStatus

DIGEST_VERSION: Final = 1


def months_older_than(*, months: int, at: datetime) -> list[tuple[date, int]]:
    """Return the months at hand that ended at least so many months ago, oldest first, and about how many rows."""
    now = at.astimezone(UTC)
    retired = set(
        UsageArchive.objects.filter(status=ArchiveStatus.RETIRED).values_list("month_date", flat=True).order_by("id")
    )
    limit = now.year * 12 + now.month - 1 - months
    return [
        (month, rows)
        for month, rows in fetch_all(retention_sql.MONTHS_AT_HAND)
        if month.year * 12 + month.month - 1 < limit and month not in retired
    ]


def archive_of(*, month: date) -> UsageArchive | None:
    """Return the archive of a month that is in use, in whatever state, or nothing."""
    return UsageArchive.objects.filter(month_date=month).exclude(status=ArchiveStatus.ABANDONED).first()


def archives_queryset() -> QuerySet[UsageArchive]:
    """Return all archives, newest months first."""
    return UsageArchive.objects.order_by("-month_date", "-id")


@unit_of_work
def usage_archive_write(*, month: date, facts: dict[str, Any], actor: Actor, at: datetime) -> UsageArchive:
    """
    Write a month's raw events into a file, and keep what is in it.

    :param facts: what else the manifest should tell, e.g. the proofs of the month
    :raises ArchiveRefused: if the month has an archive already, or no events
    """
    partitions.partitions_hold()
    if archive_of(month=month) is not None:
        raise ArchiveRefused(f"{month:%Y-%m} has an archive already; go on with that one.")
    if month not in [known for known, _rows in fetch_all(retention_sql.MONTHS_AT_HAND)]:
        raise ArchiveRefused(f"There are no raw events of {month:%Y-%m}.")
    fetch_all(retention_sql.PLAIN_INSTANTS)
    # Rows and digest are of the same moment.
    fetch_all(retention_sql.HOLD_MONTH.format(table=partitions.partition_name(month=month)))
    columns = [name for (name,) in fetch_all(retention_sql.COLUMNS)]
    archive_id = ids.new_id()
    rows, digest = _digest(month)
    if rows == 0:
        raise ArchiveRefused(f"There are no raw events of {month:%Y-%m}.")
    path = retention_files.rows_write(
        name=f"usage-{month:%Y-%m}-{archive_id.hex[-12:]}.copy.gz",
        copy_statement=retention_sql.COPY_OUT.format(
            columns=_names(columns), table=partitions.partition_name(month=month)
        ),
    )
    begins, ends = partitions.month_bounds(month)
    manifest = {
        "month": f"{month:%Y-%m}",
        "from": begins.isoformat(),
        "to": ends.isoformat(),
        "rows": rows,
        "columns": columns,
        "format": "PostgreSQL COPY text, gzip",
        "file": path.name,
        "file_sha256": retention_files.file_hash(path),
        "events_digest": digest,
        "digest_version": DIGEST_VERSION,
        "snapshot": fetch_all("SELECT pg_current_snapshot()::text")[0][0],
        "written_at": at.isoformat(),
        **facts,
    }
    retention_files.manifest_write(path=path, manifest=manifest)
    archive = UsageArchive.objects.create(
        id=archive_id,
        month_date=month,
        location=f"{path.parent.name}/{path.name}",
        row_count=rows,
        events_digest=digest,
        file_sha256=manifest["file_sha256"],
        file_bytes=path.stat().st_size,
        manifest=manifest,
        written_at=at,
    )
    after = {"month": manifest["month"], "rows": rows, "file": path.name, "file_sha256": archive.file_sha256}
    audit_services.entry_write(entity=archive, action="write", actor=actor, at=at, before={}, after=after)
    return archive


@unit_of_work
def usage_archive_verify(*, archive_id: UUID, actor: Actor, at: datetime) -> UsageArchive:
    """
    Read the file back into a table of its own and compare what it holds with what was written.

    :raises ArchiveBroken: if the file is missing, changed, or holds something else
    :raises TransitionRefused: if it was verified already
    """
    archive = locks.get_for_update(UsageArchive, archive_id)
    fetch_all(retention_sql.READ_BACK)
    _fill(archive, table="usage_read_back")
    _ensure_equal(archive, table="usage_read_back")
    fetch_all(retention_sql.DROP.format(table="usage_read_back"))
    transition_apply(instance=archive, action="verify", actor=actor, at=at)
    return archive


@unit_of_work
def usage_archive_retire(*, archive_id: UUID, actor: Actor, at: datetime) -> UsageArchive:
    """
    Take a month out of the database whose file was read back: the only way that raw events leave.

    :raises ArchiveRefused: if the month has changed since the file was written; the archive is then to be abandoned
    :raises TransitionRefused: if the file was not read back, or the month is out already
    """
    archive = locks.get_for_update(UsageArchive, archive_id)
    month = archive.month_date
    table = partitions.partition_name(month=month)
    partitions.partitions_hold()
    fetch_all(retention_sql.HOLD_MONTH.format(table=table))
    if _digest(month) != (archive.row_count, archive.events_digest):
        raise ArchiveRefused(
            f"Events came to {month:%Y-%m} after its file was written; abandon the archive and write it anew.",
            facts={"archive": archive.public_id},
        )
    if not (retention_files.archive_dir() / _file_name(archive)).is_file():
        raise ArchiveBroken(f"The archive file {_file_name(archive)} is not in its folder; the month stays.")
    transition_apply(
        instance=archive,
        action="retire",
        actor=actor,
        at=at,
        topic="metering.usage_archive.retired",
        payload={"month": f"{month:%Y-%m}", "rows": archive.row_count},
    )
    fetch_all(retention_sql.DETACH.format(table=table))
    fetch_all(retention_sql.DROP.format(table=table))
    # An empty month in its place: an event that is sent for it, from whatever clock, is stored and counted.
    partitions.partition_make(month=month)
    partitions.partition_attach(month=month)
    return archive


@unit_of_work
def usage_archive_restore(*, archive_id: UUID, actor: Actor, at: datetime) -> UsageArchive:
    """
    Bring a month back into the database, beside what came to it meanwhile; nothing is counted again.

    :raises ArchiveBroken: if the file is missing, changed, or holds something else; nothing is changed then
    :raises TransitionRefused: if the month is in the database
    """
    archive = locks.get_for_update(UsageArchive, archive_id)
    month = archive.month_date
    table = partitions.partition_name(month=month)
    partitions.partitions_hold()
    transition_apply(
        instance=archive,
        action="restore",
        actor=actor,
        at=at,
        topic="metering.usage_archive.restored",
        payload={"month": f"{month:%Y-%m}", "rows": archive.row_count},
    )
    fetch_all(retention_sql.DETACH.format(table=table))
    fetch_all(retention_sql.SET_ASIDE.format(table=table))
    # Filled before it is attached: a table of its own has no trigger that would count the events once more.
    partitions.partition_make(month=month)
    _fill(archive, table=table)
    _ensure_equal(archive, table=table)
    columns = _names([name for (name,) in fetch_all(retention_sql.COLUMNS)])
    fetch_all(retention_sql.TAKE_BACK.format(table=table, columns=columns))
    fetch_all(retention_sql.DROP_ASIDE)
    partitions.partition_attach(month=month)
    return archive


@unit_of_work
def usage_archive_abandon(*, archive_id: UUID, actor: Actor, at: datetime) -> UsageArchive:
    """
    Say that a file is not used any more; the month is in the database and may be written anew. The file stays.

    :raises TransitionRefused: if the month is in the file only
    """
    archive = locks.get_for_update(UsageArchive, archive_id)
    transition_apply(instance=archive, action="abandon", actor=actor, at=at)
    return archive


def is_unchanged(*, archive: UsageArchive) -> bool:
    """Return whether the month in the database is still what the file holds."""
    return _digest(archive.month_date) == (archive.row_count, archive.events_digest)


def _digest(month: date) -> tuple[int, str]:
    begins, ends = partitions.month_bounds(month)
    return digest_of(
        proofs_sql.events_digest(partitions.partition_name(month=month)), {"starts_at": begins, "ends_at": ends}
    )


def _fill(archive: UsageArchive, *, table: str) -> None:
    fetch_all(retention_sql.PLAIN_INSTANTS)
    retention_files.rows_read(
        path=retention_files.archive_dir() / _file_name(archive),
        file_sha256=archive.file_sha256,
        copy_statement=retention_sql.COPY_IN.format(table=table, columns=_names(archive.manifest["columns"])),
    )


def _ensure_equal(archive: UsageArchive, *, table: str) -> None:
    begins, ends = partitions.month_bounds(archive.month_date)
    found = digest_of(proofs_sql.events_digest(table), {"starts_at": begins, "ends_at": ends})
    if found != (archive.row_count, archive.events_digest):
        raise ArchiveBroken(
            f"The archive file {_file_name(archive)} holds {found[0]} events that differ from the "
            f"{archive.row_count} that were written; nothing was changed.",
            facts={"archive": archive.public_id},
        )


def _file_name(archive: UsageArchive) -> str:
    return archive.location.rpartition("/")[2]


def _names(columns: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in columns)
