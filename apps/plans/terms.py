"""What a version says of the subscription as a whole, read from its canonical document."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from apps.engine import periods
from apps.engine.commitments import CommitmentTerms
from apps.engine.money import text_to_minor
from apps.engine.proration import ProrationMode
from apps.plans.documents.canonical import commitment_from_document
from apps.plans.models import PlanVersion


def interval_of(version: PlanVersion) -> periods.Interval:
    """Return how long a whole period of these terms is."""
    return periods.Interval(unit=version.interval_unit, count=version.interval_count)  # type: ignore[arg-type]


def proration_mode_of(version: PlanVersion) -> str:
    """Return how parts of a period are counted: `by_second` unless the terms say otherwise."""
    return str(version.document.get("proration") or ProrationMode.BY_SECOND)


def trial_ends_at(version: PlanVersion, *, starts_at: datetime, timezone: str) -> datetime | None:
    """Return when a trial that begins now is over: so many days later by the local clock; None without a trial."""
    days = int(version.document.get("trial_days") or 0)
    if not days:
        return None
    wall = starts_at.astimezone(ZoneInfo(timezone)).replace(tzinfo=None, fold=0) + timedelta(days=days)
    return periods.instant_of_wall(wall=wall, timezone=timezone)


def minimum_commitment_minor(version: PlanVersion) -> int | None:
    """Return the least that a whole period costs, in minor units of the version's currency, or None."""
    text = version.document.get("minimum_commitment")
    return None if text is None else text_to_minor(text, version.currency)


def commitment_of(version: PlanVersion) -> CommitmentTerms | None:
    """Return what customers commit to spend on usage in a whole period, or None."""
    document = version.document.get("commitment")
    return None if document is None else commitment_from_document(document, currency=version.currency)


def is_same_interval(one: PlanVersion, other: PlanVersion) -> bool:
    """Tell whether whole periods of two versions are equally long."""
    return (one.interval_unit, one.interval_count) == (other.interval_unit, other.interval_count)
