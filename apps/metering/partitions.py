"""
Monthly partitions of the raw events, made before they are needed.

A month is made as a table of its own and then attached: that takes a lock which lets events go on flowing, where
creating it as a partition would stop every reader and writer of the parent.
"""

from collections.abc import Collection
from datetime import UTC, date, datetime
from typing import Final

from django.db import connection, transaction

from apps.common.db import fetch_all, unit_of_work
from apps.common.locks import advisory_lock
from apps.metering.usage_guards_sql import PARTITION_TRIGGERS
from apps.tenancy import context as tenancy_context

MONTHS_AHEAD: Final = 3
_KNOWN_MAX: Final = 20_000
# Months that are committed, so that a batch asks the database about a month once per process.
_known: set[tuple[str, date]] = set()

# Asked of the catalogue's rows, not by name: a name that was looked up and missing stays missing in the session's own
# cache, even after the lock was waited for.
_MISSING = """
SELECT month FROM unnest(%s::date[]) month
WHERE NOT EXISTS (
    SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = current_schema() AND c.relname = 'metering_usageevent_' || to_char(month, 'YYYYMM')
)
"""
_CREATE = "CREATE TABLE {name} (LIKE metering_usageevent INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"
_ATTACH = "ALTER TABLE metering_usageevent ATTACH PARTITION {name} FOR VALUES FROM (%s) TO (%s)"


def month_of(at: datetime) -> date:
    """Return the first day of the month, in UTC, that holds an instant."""
    return at.astimezone(UTC).date().replace(day=1)


def months_ahead(*, at: datetime) -> list[date]:
    """Return the months that must be there before anybody needs them: the last one, this one and the next three."""
    month = month_of(at)
    first = month.year * 12 + month.month - 2
    return [date(number // 12, number % 12 + 1, 1) for number in range(first, first + MONTHS_AHEAD + 2)]


def usage_partitions_ensure(*, months: Collection[date]) -> None:
    """Make the partitions of these months that are not there yet; any number of processes may ask at once."""
    schema_name = tenancy_context.current_schema()
    wanted = {month for month in months if (schema_name, month) not in _known}
    if not wanted:
        return
    _create_missing(sorted(wanted))
    # Only what is committed may be remembered: a rollback takes its tables with it.
    transaction.on_commit(lambda: _remember(schema_name, wanted))


def usage_partitions_forget() -> None:
    """Forget which months this tenant has: one that was known is gone, so the next batch asks for all of its months."""
    schema_name = tenancy_context.current_schema()
    _known.difference_update({known for known in _known if known[0] == schema_name})


@unit_of_work
def _create_missing(months: list[date]) -> None:
    if not fetch_all(_MISSING, [months]):
        return
    partitions_hold()
    for (month,) in fetch_all(_MISSING, [months]):
        partition_make(month=month)
        partition_attach(month=month)


def partitions_hold() -> None:
    """Let nobody else make or take away a month until the unit of work ends."""
    advisory_lock("metering:partitions")


def partition_name(*, month: date) -> str:
    """Return the quoted name of a month's table."""
    return connection.ops.quote_name(f"metering_usageevent_{month:%Y%m}")


def partition_make(*, month: date) -> None:
    """Make a month's table, which nothing watches or counts until it is attached."""
    fetch_all(_CREATE.format(name=partition_name(month=month)))


def partition_attach(*, month: date) -> None:
    """Put the guards and the counting on a month's table, and make it a part of the events."""
    name = partition_name(month=month)
    for statement in PARTITION_TRIGGERS:
        fetch_all(statement.format(name=name))
    fetch_all(_ATTACH.format(name=name), list(month_bounds(month)))


def month_bounds(month: date) -> tuple[datetime, datetime]:
    """Return the first instant of a month, in UTC, and that of the next one."""
    following = date(month.year + month.month // 12, month.month % 12 + 1, 1)
    return tuple(datetime(day.year, day.month, 1, tzinfo=UTC) for day in (month, following))  # type: ignore[return-value]


def _remember(schema_name: str, months: Collection[date]) -> None:
    if len(_known) > _KNOWN_MAX:
        _known.clear()
    _known.update((schema_name, month) for month in months)
