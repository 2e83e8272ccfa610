"""Which months' raw events are in the archive only, and the refusal to answer as if they were here."""

from datetime import UTC, date, datetime, timedelta

from apps.metering.errors import UsageMonthArchived
from apps.metering.models import UsageArchive
from apps.metering.watching_models import ArchiveStatus


def months_retired(*, starts_at: datetime, ends_at: datetime) -> list[date]:
    """Return the first days of the months of a window whose raw events are in the archive only."""
    first = starts_at.astimezone(UTC).date().replace(day=1)
    last = (ends_at.astimezone(UTC) - timedelta(microseconds=1)).date()
    rows = UsageArchive.objects.filter(status=ArchiveStatus.RETIRED, month_date__gte=first, month_date__lte=last)
    return list(rows.order_by("month_date").values_list("month_date", flat=True))


def months_require(*, starts_at: datetime, ends_at: datetime) -> None:
    """
    Refuse to read raw events of a window that are not all in the database.

    :raises UsageMonthArchived: naming the months, and how to have them back
    """
    months = months_retired(starts_at=starts_at, ends_at=ends_at)
    if months:
        words = ", ".join(f"{month:%Y-%m}" for month in months)
        raise UsageMonthArchived(
            f"The raw events of {words} are in the archive. Restore them with `manage.py usage_restore --month "
            f"{months[0]:%Y-%m}`, then ask again; what was billed and the running totals are here.",
            facts={"months": [f"{month:%Y-%m}" for month in months]},
        )
