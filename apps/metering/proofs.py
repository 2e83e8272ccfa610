"""
Proofs: a day rebuilt from its raw events and laid beside everything that is derived from them.

The running totals are counted at once, by the trigger; a proof is the batch that judges them. It runs day by day, so
that no run reads everything, and it keeps what the day came to: the snapshot of the day.
"""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from datetime import time as wall_time
from typing import Any, Final
from uuid import UUID

from django.db import connection, transaction
from django.db.models import QuerySet

from apps.audit import services as audit_services
from apps.common.actors import Actor
from apps.common.db import fetch_all, require_tenant, unit_of_work
from apps.engine.exact import decimal_text
from apps.metering import proofs_sql, retention_months
from apps.metering import selectors as metering_selectors
from apps.metering.models import UsageMending, UsageProof
from apps.metering.usage_readings import hour_of

DIFFERENCES_KEPT: Final = 20
_DIFFERENCES_COUNTED: Final = 1000
# The events of a day's last minutes have time to arrive; what is later still makes the day due again.
SETTLE_SPAN: Final = timedelta(hours=1)
# A proof is made anew after this, whatever came: what changes without an event is found, too.
AGAIN_SPAN: Final = timedelta(days=30)
_MICROSECOND_PER_MS: Final = 1_000_000


def usage_proof_make(*, usage_date: date, at: datetime) -> UsageProof:
    """
    Rebuild one day, compare, and keep the proof; a difference is in the proof, not an error.

    Everything is read under one snapshot, unless the caller has a transaction open.

    :raises UsageMonthArchived: if the raw events of that month are in the archive
    """
    require_tenant()
    starts_at = datetime.combine(usage_date, wall_time(), tzinfo=UTC)
    bounds = {"starts_at": starts_at, "ends_at": starts_at + timedelta(days=1)}
    began = time.monotonic_ns()
    with _one_snapshot():
        retention_months.months_require(starts_at=starts_at, ends_at=bounds["ends_at"])
        ((snapshot,),) = fetch_all("SELECT pg_current_snapshot()::text")
        events, events_digest = digest_of(proofs_sql.EVENTS_DIGEST, bounds)
        totals, totals_digest = digest_of(proofs_sql.TOTALS_DIGEST, bounds)
        differences = metering_selectors.aggregates_compare(
            limit=_DIFFERENCES_COUNTED, since=starts_at, until=bounds["ends_at"]
        )
        return UsageProof.objects.create(
            usage_date=usage_date,
            proven_at=at,
            snapshot=snapshot,
            event_count=events,
            events_digest=events_digest,
            aggregate_count=totals,
            aggregates_digest=totals_digest,
            totals=[_total(*row) for row in fetch_all(proofs_sql.TOTALS_OF_DAY, bounds)],
            difference_count=len(differences),
            differences=[str(difference) for difference in differences[:DIFFERENCES_KEPT]],
            duration_ms=(time.monotonic_ns() - began) // _MICROSECOND_PER_MS,
        )


def _total(*row: Any) -> dict[str, Any]:
    code, version, unit_name, events, total, largest, customers = row
    return {
        "meter": code,
        "version": version,
        "unit": unit_name,
        "events": events,
        "sum": decimal_text(total),
        "max": decimal_text(largest),
        "customers": customers,
    }


def digest_of(statement: str, bounds: dict[str, Any]) -> tuple[int, str]:
    """Return how many rows a digest was made of, and the digest: the same for the same rows in any order."""
    ((count, first, second),) = fetch_all(statement, bounds)
    return count, hashlib.sha256(f"{count} {first} {second}".encode()).hexdigest()


@contextmanager
def _one_snapshot() -> Iterator[None]:
    if connection.in_atomic_block:
        yield
        return
    with transaction.atomic():
        fetch_all("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        yield


def proof_days_due(*, at: datetime, limit: int) -> list[date]:
    """Return the days to prove next: never proven first, then those whose proof is oldest."""
    rows = fetch_all(
        proofs_sql.DAYS_DUE,
        {
            "until_date": (at - SETTLE_SPAN).astimezone(UTC).date(),
            "again_before": at - AGAIN_SPAN,
            "day_ago": at - timedelta(days=1),
            "limit": limit,
        },
    )
    return [usage_date for (usage_date,) in rows]


def proofs_with_differences() -> list[tuple[date, int, list[str]]]:
    """Return the days whose latest proof found differences: day, how many, and the first of them."""
    return [(row[0], row[1], row[2]) for row in fetch_all(proofs_sql.LATEST_WITH_DIFFERENCES)]


def proofs_queryset() -> QuerySet[UsageProof]:
    """Return all proofs, newest first."""
    return UsageProof.objects.order_by("-id")


@unit_of_work
def usage_hour_mend(*, customer_id: UUID, hour_at: datetime, reason: str, actor: Actor, at: datetime) -> UsageMending:
    """
    Rebuild the totals and last readings of one customer's hour from its raw events, and say why for ever.

    The database refuses hand-made totals; it rebuilds them when a row that orders it is written, and only then.

    :raises UsageMonthArchived: if the raw events of that month are in the archive
    """
    hour = hour_of(hour_at)
    retention_months.months_require(starts_at=hour, ends_at=hour + timedelta(hours=1))
    mending = UsageMending.objects.create(
        customer_id=customer_id, hour_at=hour, reason=reason, actor_label=actor.label[:200], mended_at=at
    )
    after = {"customer": str(customer_id), "hour": hour.isoformat()}
    audit_services.entry_write(
        entity=mending, action="mend", actor=actor, at=at, before={}, after=after, comment=reason
    )
    return mending
