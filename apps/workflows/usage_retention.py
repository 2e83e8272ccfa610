"""
Months of raw events that nobody needs at hand any more go into the archive; days are proven before they may.

A month leaves when it is older than the tenant keeps it, every document of its time is final, no late usage waits, and
the proofs of all its days found nothing.
"""

from datetime import date, datetime
from typing import Any, Final

import structlog

from apps.common.actors import Actor
from apps.common.db import fetch_all
from apps.metering import alerts, partitions, proofs, retention, watching
from apps.metering.alerts import AlertFinding
from apps.metering.errors import ArchiveRefused
from apps.metering.models import UsageArchive, UsageProof
from apps.metering.watching_models import AlertKind, ArchiveStatus
from apps.workflows import usage_retention_sql

log = structlog.get_logger(__name__)

# One run proves so many days: at the beat's pace a tenant with years of history is proven within days, and no run
# reads more than this.
DAYS_PER_RUN: Final = 4
# What a task can write and read back within its time limit; larger months are for the command, which has none.
ROWS_BY_TASK_MAX: Final = 3_000_000


def proofs_run(*, actor: Actor, at: datetime) -> list[UsageProof]:
    """Prove the days that are due, some each time, and bring the alerts about differences in line."""
    made = [
        proofs.usage_proof_make(usage_date=usage_date, at=at)
        for usage_date in proofs.proof_days_due(at=at, limit=DAYS_PER_RUN)
    ]
    proof_alerts_settle(actor=actor, at=at)
    return made


def proof_alerts_settle(*, actor: Actor, at: datetime) -> None:
    """Open an alert for each day whose latest proof found differences, and close those of days that are whole again."""
    findings = [
        AlertFinding(
            kind=AlertKind.PROOF,
            subject=usage_date.isoformat(),
            sentence=f"{count} running totals, last readings or counters are not what the events give: {first[0]}",
            facts={"differences": count, "first": first},
        )
        for usage_date, count, first in proofs.proofs_with_differences()
    ]
    alerts.alerts_settle(kinds=[AlertKind.PROOF], findings=findings, actor=actor, at=at)


def month_hindrances(*, month: date) -> list[str]:
    """Return what keeps a month's raw events in the database, in words; nothing when they may leave."""
    begins, ends = partitions.month_bounds(month)
    return [reason for (reason,) in fetch_all(usage_retention_sql.HINDRANCES, {"starts_at": begins, "ends_at": ends})]


def usage_month_archive(*, month: date, actor: Actor, at: datetime) -> UsageArchive:
    """
    Write a month's file, read it back, and take the month out; begun again, it goes on where it was interrupted.

    :raises ArchiveRefused: naming what is in the way; nothing is changed then
    :raises ArchiveBroken: if the file does not hold what was written; the month stays
    """
    archive = retention.archive_of(month=month)
    if archive is not None and archive.status == ArchiveStatus.RETIRED:
        return archive
    hindrances = month_hindrances(month=month)
    if hindrances:
        raise ArchiveRefused(
            f"{month:%Y-%m} stays in the database: {'; '.join(hindrances)}.", facts={"hindrances": hindrances}
        )
    if archive is not None and not retention.is_unchanged(archive=archive):
        retention.usage_archive_abandon(archive_id=archive.id, actor=actor, at=at)
        archive = None
    if archive is None:
        archive = retention.usage_archive_write(month=month, facts=_proofs_of(month), actor=actor, at=at)
    if archive.status == ArchiveStatus.WRITTEN:
        archive = retention.usage_archive_verify(archive_id=archive.id, actor=actor, at=at)
    return retention.usage_archive_retire(archive_id=archive.id, actor=actor, at=at)


def usage_month_restore(*, month: date, actor: Actor, at: datetime) -> UsageArchive:
    """
    Bring a month's raw events back into the database.

    :raises ArchiveRefused: if the month is not in the archive only
    :raises ArchiveBroken: if the file is missing or changed; nothing is changed then
    """
    archive = retention.archive_of(month=month)
    if archive is None or archive.status != ArchiveStatus.RETIRED:
        raise ArchiveRefused(f"The raw events of {month:%Y-%m} are not in the archive only; there is nothing to do.")
    return retention.usage_archive_restore(archive_id=archive.id, actor=actor, at=at)


def retention_run(*, actor: Actor, at: datetime) -> UsageArchive | None:
    """Archive the oldest month that the tenant keeps no longer and nothing holds back, if there is one."""
    kept = watching.watch_terms().retention_months
    for month, rows in retention.months_older_than(months=kept, at=at):
        if _was_restored(month):
            continue
        if rows > ROWS_BY_TASK_MAX:
            log.warning("month is too large for a task: run manage.py usage_archive", month=f"{month:%Y-%m}", rows=rows)
            continue
        try:
            return usage_month_archive(month=month, actor=actor, at=at)
        except ArchiveRefused as refusal:
            log.info("usage month stays", month=f"{month:%Y-%m}", reason=refusal.detail)
    return None


def _was_restored(month: date) -> bool:
    # Somebody wanted it back; it leaves again when somebody says so.
    archive = retention.archive_of(month=month)
    return archive is not None and archive.status == ArchiveStatus.RESTORED


def _proofs_of(month: date) -> dict[str, Any]:
    begins, ends = partitions.month_bounds(month)
    rows = fetch_all(usage_retention_sql.PROOFS_OF_MONTH, {"first": begins.date(), "next": ends.date()})
    return {
        "proofs": [dict(zip(("day", "events", "events_digest", "aggregates_digest"), r, strict=True)) for r in rows]
    }
