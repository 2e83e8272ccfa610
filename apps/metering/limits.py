"""Write and read the limits of windows: made ahead, moved when terms move, locked by whoever decides by them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from apps.common import locks
from apps.common.actors import Actor
from apps.common.db import fetch_all, unit_of_work
from apps.engine.aggregation import Aggregation
from apps.messaging import services as messaging_services
from apps.metering import event_identity, limited_sql
from apps.metering.intake_terms import TERMS_LOCK
from apps.metering.limit_models import OnExceed, UsageLimit, UsageLimitChange, UsageThreshold
from apps.metering.models import Meter
from apps.metering.usage_counters import CounterWindow, usage_counter_read, usage_counters_open
from apps.metering.usage_readings import usage_scope
from apps.metering.usage_rollups import labels_known, rollup_quantity
from apps.metering.usage_rows import UsageRow

THRESHOLDS_BATCH: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitTerms:
    """A limit as it is to be: of whom, of what, in which window, and who says so."""

    customer_id: UUID
    subscription_id: UUID | None
    meter: Meter
    feature_code: str
    origin: str
    source_id: UUID
    limit_units: Decimal
    on_exceed: str
    thresholds: tuple[int, ...]
    starts_at: datetime
    ends_at: datetime

    @property
    def natural_key(self) -> tuple[Any, ...]:
        """Return what names the limit while it holds."""
        return (self.source_id, self.subscription_id, self.feature_code, self.starts_at, self.ends_at)

    @property
    def window(self) -> CounterWindow:
        """Return the window whose counter the limit is judged by."""
        return CounterWindow(
            meter=self.meter,
            customer_id=self.customer_id,
            subscription_id=self.subscription_id,
            starts_at=self.starts_at,
            ends_at=self.ends_at,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldLimit:
    """A limit that refuses, with its counter locked: what is used cannot move until the unit of work ends."""

    id: UUID
    customer_id: UUID
    subscription_id: UUID | None
    meter_id: UUID
    counter_id: UUID
    feature_code: str
    origin: str
    source_id: UUID
    limit_units: Decimal
    starts_at: datetime
    ends_at: datetime
    used_units: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class EventUnits:
    """What one event is for one meter: how many units, or which label."""

    units: Decimal
    label_key: bytes | None


@unit_of_work
def usage_limits_set(
    *, customer_ids: Collection[UUID], wanted: Sequence[LimitTerms], actor: Actor, at: datetime, held_since: datetime
) -> int:
    """
    Make the limits of these customers what is wanted, and return how many were made, moved or withdrawn.

    Limits whose window had ended at `held_since` and that nobody wants any more stay as they are: they are history.
    Where a limit that refuses changes in a window that events may fall into, the intake is held until the unit of work
    ends, so that each batch is wholly before or wholly after.

    :raises django.db.OperationalError: if a batch that is being taken in does not end within LOCK_WAIT_MS_MAX
    """
    live = UsageLimit.objects.filter(customer_id__in=customer_ids, withdrawn_at__isnull=True).order_by("id")
    stored = {_key_of(limit): limit for limit in live}
    by_key = {terms.natural_key: terms for terms in wanted}
    made = [terms for key, terms in by_key.items() if key not in stored]
    moved = [(stored[key], terms) for key, terms in by_key.items() if key in stored and _differs(stored[key], terms)]
    withdrawn = [limit for key, limit in stored.items() if key not in by_key and limit.ends_at > held_since]
    refusing = [limit for limit, terms in moved if OnExceed.REJECT in (limit.on_exceed, terms.on_exceed)]
    refusing += [limit for limit in withdrawn if limit.on_exceed == OnExceed.REJECT]
    if refusing:
        locks.advisory_lock(TERMS_LOCK)
    changes = [_withdraw(limit, actor, at) for limit in withdrawn]
    changes += [_move(limit, terms, actor, at) for limit, terms in moved]
    # Opened last: where it holds the intake, everything else is written already.
    changes += _make(made, actor, at)
    UsageLimitChange.objects.bulk_create(changes)
    return len(changes)


def _key_of(limit: UsageLimit) -> tuple[Any, ...]:
    return (limit.source_id, limit.subscription_id, limit.feature_code, limit.starts_at, limit.ends_at)


def _differs(limit: UsageLimit, terms: LimitTerms) -> bool:
    old = (limit.limit_units, limit.on_exceed, tuple(limit.thresholds))
    return old != (terms.limit_units, terms.on_exceed, terms.thresholds)


def _withdraw(limit: UsageLimit, actor: Actor, at: datetime) -> UsageLimitChange:
    limit.withdrawn_at = at
    limit.save(update_fields=["withdrawn_at"])
    return _change(limit, actor, at, before=(limit.limit_units, limit.on_exceed), after=(None, ""))


def _move(limit: UsageLimit, terms: LimitTerms, actor: Actor, at: datetime) -> UsageLimitChange:
    before = (limit.limit_units, limit.on_exceed)
    limit.limit_units, limit.on_exceed, limit.thresholds = terms.limit_units, terms.on_exceed, list(terms.thresholds)
    limit.save(update_fields=["limit_units", "on_exceed", "thresholds"])
    return _change(limit, actor, at, before=before, after=(limit.limit_units, limit.on_exceed))


def _make(made: Sequence[LimitTerms], actor: Actor, at: datetime) -> list[UsageLimitChange]:
    if not made:
        return []
    counter_ids = usage_counters_open(windows=[terms.window for terms in made], at=at)
    limits = UsageLimit.objects.bulk_create(
        UsageLimit(
            customer_id=terms.customer_id,
            subscription_id=terms.subscription_id,
            meter=terms.meter,
            feature_code=terms.feature_code,
            origin=terms.origin,
            source_id=terms.source_id,
            limit_units=terms.limit_units,
            on_exceed=terms.on_exceed,
            thresholds=list(terms.thresholds),
            starts_at=terms.starts_at,
            ends_at=terms.ends_at,
            counter_id=counter_id,
        )
        for terms, counter_id in zip(made, counter_ids, strict=True)
    )
    return [
        _change(limit, actor, at, before=(None, ""), after=(limit.limit_units, limit.on_exceed)) for limit in limits
    ]


def _change(
    limit: UsageLimit,
    actor: Actor,
    at: datetime,
    *,
    before: tuple[Decimal | None, str],
    after: tuple[Decimal | None, str],
) -> UsageLimitChange:
    return UsageLimitChange(
        limit=limit,
        changed_at=at,
        changed_by_name=actor.label[:200],
        from_units=before[0],
        from_on_exceed=before[1],
        to_units=after[0],
        to_on_exceed=after[1],
    )


@unit_of_work
def usage_limits_lock(*, rows: Sequence[UsageRow]) -> list[HeldLimit]:
    """Lock the counters of all limits that could refuse one of these events; return the limits with what is used."""
    moments = [row.occurred_at for row in rows]
    parameters = {
        "customers": sorted({row.customer_id for row in rows}),
        "types": sorted({row.event.type or "" for row in rows}),
        "first": min(moments),
        "last": max(moments),
    }
    names = HeldLimit.__dataclass_fields__
    return [HeldLimit(**dict(zip(names, row, strict=True))) for row in fetch_all(limited_sql.LIMITS_LOCK, parameters)]


def labels_held(*, limit: HeldLimit, meter: Meter, label_keys: Sequence[bytes]) -> tuple[set[bytes], Decimal]:
    """Return which of some labels the window of a limit has, and how many it has in all."""
    scope = _scope_of(limit, meter)
    return labels_known(meter=meter, scope=scope, label_keys=label_keys), _labels_used(meter, scope)


def _scope_of(limit: HeldLimit | UsageLimit, meter: Meter) -> dict[str, Any]:
    return usage_scope(
        meter=meter,
        customer_id=limit.customer_id,
        subscription_id=limit.subscription_id,
        starts_at=limit.starts_at,
        ends_at=limit.ends_at,
    )


def _labels_used(meter: Meter, scope: Mapping[str, Any]) -> Decimal:
    return Decimal(rollup_quantity(meter=meter, scope=scope).exact)  # type: ignore[arg-type]  # a count


def event_units(*, rows: Sequence[UsageRow], stands_for: Mapping[bytes, str]) -> dict[tuple[int, UUID], EventUnits]:
    """Return what each event is for each meter with a limit that refuses, by the event's position in its batch."""
    parameters = {
        "numbers": [row.position for row in rows],
        "types": [row.event.type for row in rows],
        "quantities": [row.quantity for row in rows],
        "properties": [event_identity.CANONICAL.encode(row.properties).decode() for row in rows],
        "stands_for": [stands_for.get(row.key) for row in rows],
        "customers": sorted({row.customer_id for row in rows}),
    }
    return {
        (number, meter_id): EventUnits(units=value, label_key=None if label is None else bytes(label))
        for number, meter_id, value, label in fetch_all(limited_sql.EVENT_UNITS, parameters)
    }


@unit_of_work
def usage_thresholds_tell(*, actor: Actor, at: datetime) -> list[UsageThreshold]:
    """
    Record which shares of limits usage has come to, tell the journal of each, and return them.

    One teller at a time; and a share that is told has a row that cannot be written twice.
    """
    locks.advisory_lock("metering:thresholds")
    found = [*fetch_all(limited_sql.THRESHOLDS_REACHED, {"limit": THRESHOLDS_BATCH}), *_labels_reached(at)]
    reached = [
        UsageThreshold(limit_id=limit_id, percent=percent, used_units=used, limit_units=limit_units, reached_at=at)
        for limit_id, percent, used, limit_units in found
    ]
    UsageThreshold.objects.bulk_create(reached)
    told = list(
        UsageThreshold.objects.filter(id__in=[row.id for row in reached])
        .select_related("limit__customer", "limit__meter")
        .order_by("id")
    )
    for threshold in told:
        _threshold_publish(threshold, actor, at)
    return told


def _labels_reached(at: datetime) -> list[tuple[UUID, int, Decimal, Decimal]]:
    """Return the shares reached of limits on unique counts, which no counter follows."""
    limits = UsageLimit.objects.filter(
        withdrawn_at__isnull=True, meter__aggregation=Aggregation.UNIQUE_COUNT, starts_at__lte=at, ends_at__gt=at
    ).select_related("meter")
    found = []
    for limit in limits.prefetch_related("reached").order_by("id"):
        told = {threshold.percent for threshold in limit.reached.all()}
        if missing := sorted(set(limit.thresholds) - told):
            used = units_used(limit=limit)
            found += [
                (limit.id, p, used, limit.limit_units) for p in missing if used and used * 100 >= limit.limit_units * p
            ]
    return found


def units_used(*, limit: UsageLimit) -> Decimal:
    """Return what is used of a limit's window: its live counter, or for a unique count what the rollups say."""
    if limit.meter.aggregation == Aggregation.UNIQUE_COUNT:
        return _labels_used(limit.meter, _scope_of(limit, limit.meter))
    return usage_counter_read(counter_id=limit.counter_id)


def _threshold_publish(threshold: UsageThreshold, actor: Actor, at: datetime) -> None:
    limit = threshold.limit
    messaging_services.event_publish(
        topic="usage.threshold.reached",
        aggregate_type=UsageThreshold._meta.label_lower,
        aggregate_id=threshold.id,
        payload={
            "id": threshold.public_id,
            "customer": limit.customer.public_id,
            "feature": limit.feature_code,
            "meter": limit.meter.code,
            "percent": threshold.percent,
            "used": f"{threshold.used_units.normalize():f}",
            "limit": f"{threshold.limit_units.normalize():f}",
            "on_exceed": limit.on_exceed,
            "resets_at": limit.ends_at.isoformat(),
        },
        actor=actor,
        at=at,
    )
