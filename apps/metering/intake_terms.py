"""What the tenant asks of events, kept in the process and proven current by each batch.

A batch is judged by the terms that are remembered; the transaction that stores it then holds the terms still and reads
their version in the same round trip. If it is another one, the batch is judged again: what is remembered saves time
and never decides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db import connection

from apps.common import locks
from apps.common.db import fetch_all, unit_of_work
from apps.metering import usage_store_sql
from apps.metering.event_checks import MeterTerms
from apps.metering.models import Meter
from apps.tenancy import context as tenancy_context

TERMS_LOCK: Final = "metering:meters"
_TENANTS_REMEMBERED: Final = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeTerms:
    """What is asked of events, under its version: by type, the meters that may refuse one."""

    version: str
    meters: Mapping[str, Sequence[MeterTerms]]


@dataclass(frozen=True, slots=True)
class HeldTerms:
    """The version that holds until the unit of work ends, and whether any of the keys asked for is stored."""

    version: str
    is_any_key_stored: bool


_remembered: dict[str, IntakeTerms] = {}


def intake_terms_known() -> IntakeTerms:
    """Return the terms as this process knows them; whoever stores by them compares their version with the held one."""
    known = _remembered.get(tenancy_context.current_schema())
    return intake_terms_read() if known is None else known


def intake_terms_read() -> IntakeTerms:
    """Read the terms, and remember them."""
    # The version first: what is defined between the two statements makes the terms look older than they are, and
    # they are read once more.
    ((version,),) = fetch_all(usage_store_sql.TERMS_VERSION)
    meters: dict[str, list[MeterTerms]] = {}
    for meter in Meter.objects.order_by("code", "version"):
        terms = MeterTerms.of(meter)
        if terms.can_refuse:
            meters.setdefault(meter.event_type, []).append(terms)
    read = IntakeTerms(version=version, meters=meters)
    if len(_remembered) >= _TENANTS_REMEMBERED:
        _remembered.clear()
    _remembered[tenancy_context.current_schema()] = read
    return read


@unit_of_work
def intake_terms_hold(*, keys: Sequence[str]) -> HeldTerms:
    """
    Let nobody change the terms until the unit of work ends; return their version, and whether one of `keys` is stored.

    :raises django.db.OperationalError: if somebody who changes them does not end within LOCK_WAIT_MS_MAX
    """
    parameters: dict[str, Any] = {
        "wait": f"{locks.LOCK_WAIT_MS_MAX}ms",
        "lock": f"{tenancy_context.current_schema()}:{TERMS_LOCK}",
        "keys": list(keys),
    }
    with connection.cursor() as cursor:
        cursor.execute(usage_store_sql.HOLD_TERMS, parameters)
        cursor.nextset()
        cursor.nextset()
        ((is_any_key_stored,),) = cursor.fetchall()
        cursor.nextset()
        ((version,),) = cursor.fetchall()
    return HeldTerms(version, is_any_key_stored)
