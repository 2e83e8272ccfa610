"""Accepted events that no meter counts: how many, since when, one of them to look at, and what to do (S045)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from django.db.models import Max, Min, Sum

from apps.common.db import fetch_all
from apps.metering import corrections_sql
from apps.metering.models import UnmatchedUsage, UsageEvent
from apps.metering.watching_models import UnmatchedReason

LINES_MAX: Final = 200
_BACKFILL: Final = "What came before counts only by a correction of the kind backfill that names the meter."
REMEDIES: Final = {
    UnmatchedReason.NO_METER.value: f"Define a meter for this type, if it is to be billed. {_BACKFILL}",
    UnmatchedReason.DEFINED_LATER.value: f"The meter came after these events. {_BACKFILL}",
    UnmatchedReason.FILTERED.value: (
        f"No meter's filter takes these properties. Define a meter, or a further version, that does. {_BACKFILL}"
    ),
    UnmatchedReason.LEFT_OUT.value: (
        "Only retired meters read this type, and their value cannot be added up. Let the producer send it, and amend "
        "the events that lack it."
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class UnmatchedLine:
    """Events of one type that no meter counted for one reason; without a sample, those of the last day count now."""

    event_type: str
    reason: str
    event_count: int
    first_date: date
    last_date: date
    last_received_at: datetime
    remedy: str
    sample: UsageEvent | None


def unmatched_lines() -> Sequence[UnmatchedLine]:
    """Return what no meter counts by type and reason, the most first, with a sample of each."""
    rows = (
        UnmatchedUsage.objects.order_by()
        .values_list("event_type", "reason")
        .annotate(
            count=Sum("event_count"),
            first_date=Min("usage_date"),
            last_date=Max("usage_date"),
            last_received_at=Max("last_received_at"),
        )
        .order_by("-count", "event_type", "reason")[:LINES_MAX]
    )
    return [
        UnmatchedLine(
            event_type=event_type,
            reason=reason,
            event_count=count,
            first_date=first_date,
            last_date=last_date,
            last_received_at=last_received_at,
            remedy=REMEDIES[reason],
            sample=_sample(event_type, last_date),
        )
        for event_type, reason, count, first_date, last_date, last_received_at in rows
    ]


def _sample(event_type: str, day: date) -> UsageEvent | None:
    # One day of one partition: whatever else is stored is not read.
    starts_at = datetime.combine(day, time.min, tzinfo=UTC)
    window = {"type": event_type, "starts_at": starts_at, "ends_at": starts_at + timedelta(days=1)}
    found = fetch_all(corrections_sql.UNCOUNTED_SAMPLE, window)
    if not found:
        return None
    return UsageEvent.objects.filter(event_key=found[0][0], occurred_at=found[0][1]).first()
