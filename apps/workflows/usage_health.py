"""Can usage be taken in just now? The door for events has a health of its own: while it is shut, revenue is lost."""

from datetime import datetime, timedelta
from typing import Final

from apps.common.db import fetch_all
from apps.metering import partitions
from apps.tenancy import context as tenancy_context
from apps.tenancy import selectors as tenancy_selectors

# The month that an event of tomorrow needs must be there before tomorrow.
_LOOK_AHEAD: Final = timedelta(days=1)

_STATE = """
SELECT pg_is_in_recovery(), ARRAY(
    SELECT month::text FROM unnest(%s::date[]) month WHERE to_regclass(
        quote_ident(current_schema()) || '.metering_usageevent_' || to_char(month, 'YYYYMM')) IS NULL)
"""


def intake_problems(*, at: datetime) -> list[str]:
    """Return what keeps events of now out, in words that name no tenant; nothing when all is well."""
    months = sorted({partitions.month_of(at), partitions.month_of(at + _LOOK_AHEAD)})
    problems = []
    for schema_name in tenancy_selectors.tenant_schemas_ready():
        with tenancy_context.tenant_context(schema_name=schema_name):
            ((is_standby, missing),) = fetch_all(_STATE, [months])
        if is_standby:
            problems.append("the database is a standby and takes no writes")
        problems += [f"the month {month[:7]} has no table; the beat makes them" for month in missing]
    return problems
