"""What the tenant asks of events, kept in the process and proven current by each batch.

A batch is judged by the terms that are remembered; the transaction that stores it then holds the terms still and reads
their version in the same round trip. If it is another one, the batch is judged again: what is remembered saves time
and never decides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db import connection

from apps.common import locks
from apps.common.db import fetch_all, unit_of_work
from apps.metering import limited_sql, usage_store_sql
from apps.metering.meter_checks import MeterTerms
from apps.metering.models import EventTypePolicy, Meter, UsageSettings
from apps.metering.property_policies import PropertyPolicy
from apps.tenancy import context as tenancy_context

TERMS_LOCK: Final = "metering:meters"
_TENANTS_REMEMBERED: Final = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageTerms:
    """
    How events are taken in: how old and how new they may be, and how long an id is known.

    Without a `dedup_window_hours` an id names one event for ever. `retry_window_hours` is what the tenant says of its
    producers: the longest time after which one still sends an event again.
    """

    behind_days_max: int = 400
    ahead_seconds_max: int = 3600
    dedup_window_hours: int | None = None
    retry_window_hours: int = 24

    @property
    def behind(self) -> timedelta:
        """Return how long ago an event may have happened."""
        return timedelta(days=self.behind_days_max)

    @property
    def ahead(self) -> timedelta:
        """Return how far ahead of the clock an event may be."""
        return timedelta(seconds=self.ahead_seconds_max)

    def known_since(self, at: datetime) -> datetime | None:
        """Return the instant before which ids are forgotten; nothing when they are known for ever."""
        return None if self.dedup_window_hours is None else at - timedelta(hours=self.dedup_window_hours)


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeTerms:
    """
    What is asked of events, under its version: by type, the meters that may refuse one and what is kept of them.

    `limited` are the customers who have limits that refuse events; of all others no limit is looked at.
    """

    version: str
    meters: Mapping[str, Sequence[MeterTerms]]
    usage: UsageTerms
    policies: Mapping[str, PropertyPolicy]
    limited: frozenset[UUID] = frozenset()


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
    limited = frozenset(customer_id for (customer_id,) in fetch_all(limited_sql.LIMITED_READ))
    read = IntakeTerms(version=version, meters=meters, usage=usage_terms(), policies=_policies_read(), limited=limited)
    if len(_remembered) >= _TENANTS_REMEMBERED:
        _remembered.clear()
    _remembered[tenancy_context.current_schema()] = read
    return read


def usage_terms() -> UsageTerms:
    """Return how the tenant's events are taken in, by its settings or by the defaults while it has set none."""
    row = UsageSettings.objects.first()
    return UsageTerms() if row is None else terms_of(row)


def terms_of(row: UsageSettings) -> UsageTerms:
    """Return what a row of settings says."""
    return UsageTerms(**{name: getattr(row, name) for name in UsageTerms.__slots__})


def policy_of(row: EventTypePolicy) -> PropertyPolicy:
    """Return what a row says is kept of properties."""
    kept = frozenset(row.kept_properties) if row.is_limited else None
    return PropertyPolicy(kept=kept, hashed=frozenset(row.hashed_properties))


def _policies_read() -> dict[str, PropertyPolicy]:
    rows = EventTypePolicy.objects.order_by("event_type", "-version").distinct("event_type")
    policies = {row.event_type: policy_of(row) for row in rows}
    # A policy that keeps all as it is need not be asked.
    return {type_: policy for type_, policy in policies.items() if policy != PropertyPolicy()}


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
