"""Set how a tenant's events are taken in, and what is kept of them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import connection
from django.db.models import QuerySet

from apps.audit import services as audit_services
from apps.common import locks
from apps.common.actors import Actor
from apps.common.db import fetch_all, unit_of_work
from apps.common.errors import FieldProblem
from apps.metering import usage_store_sql
from apps.metering.errors import EventTypePolicyInvalid, UsageSettingsInvalid
from apps.metering.intake_models import (
    AHEAD_SECONDS_MAX,
    BEHIND_DAYS_MAX,
    DEDUP_WINDOW_HOURS_MIN,
    WINDOW_HOURS_MAX,
    EventTypePolicy,
    UsageSettings,
)
from apps.metering.intake_terms import TERMS_LOCK, UsageTerms, terms_of
from apps.metering.models import Meter
from apps.metering.property_policies import PropertyPolicy, meter_conflicts

PROPERTIES_MAX: Final = 100
_NAME = re.compile(r"[^\x00-\x1f]{1,60}")


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityFigures:
    """How many ids are known, about, and the bytes that the table of ids takes."""

    key_count: int
    size_bytes: int


@unit_of_work
def usage_settings_set(*, terms: UsageTerms, actor: Actor, at: datetime) -> UsageSettings:
    """
    Set how events are taken in, from the next batch on; the same again changes nothing.

    :raises UsageSettingsInvalid: naming each field that cannot hold
    """
    problems = tuple(_settings_problems(terms))
    if problems:
        summary = "; ".join(f"{problem.pointer}: {problem.detail}" for problem in problems)
        raise UsageSettingsInvalid(f"The settings cannot hold. {summary}", problems=problems)
    locks.advisory_lock(TERMS_LOCK)
    values: dict[str, Any] = {name: getattr(terms, name) for name in UsageTerms.__slots__}
    row = _row_locked()
    before = {} if row is None else {name: getattr(row, name) for name in values}
    if row is None:
        row = UsageSettings.objects.create(**values, changed_at=at)
    elif before != values:
        # A longer window begins anew: what it knows must not be taken away by what a shorter one forgot.
        for name, value in {**values, "changed_at": at, "keys_forgotten_until": None}.items():
            setattr(row, name, value)
        row.save(update_fields=[*values, "changed_at", "keys_forgotten_until"])
    if before != values:
        audit_services.entry_write(entity=row, action="set", actor=actor, at=at, before=before, after=values)
    return row


def _row_locked() -> UsageSettings | None:
    # Whoever sets another window and the purge must not overlook each other.
    row = UsageSettings.objects.first()
    return None if row is None else locks.get_for_update(UsageSettings, row.pk)


def _settings_problems(terms: UsageTerms) -> Iterator[FieldProblem]:
    if not 1 <= terms.behind_days_max <= BEHIND_DAYS_MAX:
        detail = f"must be 1 to {BEHIND_DAYS_MAX} days; older events come by a correction"
        yield FieldProblem("/behind_days_max", "out_of_range", detail)
    if not 0 <= terms.ahead_seconds_max <= AHEAD_SECONDS_MAX:
        yield FieldProblem("/ahead_seconds_max", "out_of_range", f"must be 0 to {AHEAD_SECONDS_MAX} seconds")
    if not 1 <= terms.retry_window_hours <= WINDOW_HOURS_MAX:
        detail = f"must be 1 to {WINDOW_HOURS_MAX} hours: the longest time after which a producer sends again"
        yield FieldProblem("/retry_window_hours", "out_of_range", detail)
    window = terms.dedup_window_hours
    if window is None:
        return
    if not DEDUP_WINDOW_HOURS_MIN <= window <= WINDOW_HOURS_MAX:
        detail = f"must be {DEDUP_WINDOW_HOURS_MIN} to {WINDOW_HOURS_MAX} hours, or nothing for ever"
        yield FieldProblem("/dedup_window_hours", "out_of_range", detail)
    if window < terms.retry_window_hours:
        detail = (
            f"must be at least the {terms.retry_window_hours} hours of retry_window_hours: a retry after the window "
            "would count twice"
        )
        yield FieldProblem("/dedup_window_hours", "shorter_than_retries", detail)


@unit_of_work
def event_type_policy_define(
    *,
    event_type: str,
    kept_properties: Sequence[str] | None,
    hashed_properties: Sequence[str],
    actor: Actor,
    at: datetime,
) -> EventTypePolicy:
    """
    Say what is kept of the properties of a type's events, from the next batch on; the same again changes nothing.

    :param kept_properties: what is stored at all; nothing for every property
    :param hashed_properties: what of it is stored as a keyed hash
    :raises EventTypePolicyInvalid: naming each entry that cannot hold, and each meter that needs what would be missing
    """
    policy = PropertyPolicy(
        kept=None if kept_properties is None else frozenset(kept_properties), hashed=frozenset(hashed_properties)
    )
    locks.advisory_lock(TERMS_LOCK)
    problems = tuple(_policy_problems(event_type, policy))
    if problems:
        summary = "; ".join(f"{problem.pointer}: {problem.detail}" for problem in problems)
        raise EventTypePolicyInvalid(f"The policy cannot hold. {summary}", problems=problems)
    values: dict[str, Any] = {
        "is_limited": policy.kept is not None,
        "kept_properties": sorted(policy.kept or ()),
        "hashed_properties": sorted(policy.hashed),
    }
    current = EventTypePolicy.objects.filter(event_type=event_type).order_by("-version").first()
    before = {} if current is None else {name: getattr(current, name) for name in values}
    if current is not None and before == values:
        return current
    version = 1 if current is None else current.version + 1
    row = EventTypePolicy.objects.create(event_type=event_type, version=version, defined_at=at, **values)
    audit_services.entry_write(
        entity=row, action="define", actor=actor, at=at, before=before, after={"event_type": event_type, **values}
    )
    return row


def _policy_problems(event_type: str, policy: PropertyPolicy) -> Iterator[FieldProblem]:
    if not 1 <= len(event_type) <= 120 or "\0" in event_type:
        yield FieldProblem("/event_type", "text_invalid", "Name the type of events in 1 to 120 characters.")
        return
    for field, names in (("kept_properties", policy.kept or ()), ("hashed_properties", policy.hashed)):
        if len(names) > PROPERTIES_MAX:
            yield FieldProblem(f"/{field}", "too_many", f"Name at most {PROPERTIES_MAX} properties.")
        if any(not _NAME.fullmatch(name) for name in names):
            yield FieldProblem(f"/{field}", "name_invalid", "Name each property in 1 to 60 characters.")
    if policy.kept is not None and not policy.hashed <= policy.kept:
        missing = ", ".join(sorted(policy.hashed - policy.kept))
        yield FieldProblem("/hashed_properties", "not_kept", f"Add {missing} to kept_properties, or do not hash it.")
    for meter in Meter.objects.filter(event_type=event_type, retired_at__isnull=True).order_by("code"):
        for conflict in meter_conflicts(meter, policy):
            detail = f"Meter '{meter.code}' {conflict.need}; {conflict.policy_remedy}."
            yield FieldProblem(f"/{conflict.list_name}", "needed_by_meter", detail)


def event_type_policies_queryset() -> QuerySet[EventTypePolicy]:
    """Return all versions of all policies, newest first."""
    return EventTypePolicy.objects.order_by("-id")


@unit_of_work
def usage_keys_purge(*, at: datetime, limit: int) -> int:
    """Take away ids that a tenant's window has forgotten, at most `limit`; return how many."""
    row = _row_locked()
    known_since = None if row is None else terms_of(row).known_since(at)
    if row is None or known_since is None:
        return 0
    # Said before it is done: the database lets nothing go that came later.
    row.keys_forgotten_until = known_since
    row.save(update_fields=["keys_forgotten_until"])
    return len(fetch_all(usage_store_sql.PURGE_KEYS, {"known_since": known_since, "limit": limit}))


def identity_figures() -> IdentityFigures:
    """Return how large the table of ids is: what knowing ids for longer costs."""
    with connection.cursor() as cursor:
        cursor.execute(usage_store_sql.KEYS_SIZE)
        ((count, size),) = cursor.fetchall()
    return IdentityFigures(key_count=count, size_bytes=size)
