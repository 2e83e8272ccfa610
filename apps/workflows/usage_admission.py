"""Admit events below limits that refuse: exact to the last unit, whoever else sends at the same moment.

    limited customers' rows -> windows there? (before the transaction)
    -> counters locked in id order -> stored already? -> units by meter -> decided in the order of the batch

The counters stay locked until the batch is committed, and the trigger that counts the events moves the same rows: what
was decided cannot be overtaken. A batch without limited customers pays one look into a set.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from apps.common.actors import Actor
from apps.common.db import unit_of_work
from apps.engine.access import AccessDecision, AccessQuestion, LimitState, Policy, Reason, decide_access
from apps.engine.aggregation import Aggregation
from apps.entitlements import services as entitlement_services
from apps.entitlements.models import DecisionOccasion
from apps.entitlements.services import DecisionRecord
from apps.metering import limits as metering_limits
from apps.metering import services as metering_services
from apps.metering.limit_models import LimitOrigin
from apps.metering.limits import EventUnits, HeldLimit
from apps.metering.models import Meter
from apps.metering.usage_rows import UsageRow
from apps.workflows import usage_limits

REFUSED_CODE: Final = "quota_exceeded"
_WORDS: Final = {
    Reason.QUOTA_EXCEEDED: "limit of the plan",
    Reason.CAP_EXCEEDED: "cap that the customer set",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one event was not admitted, in words and as facts."""

    detail: str
    facts: Mapping[str, str]


@dataclass(slots=True)
class _Running:
    """A held limit while a batch is decided: what is used moves with each event that is admitted."""

    limit: HeldLimit
    state: LimitState
    meter: Meter
    # Of a unique count, the labels of the batch that the window has.
    labels: set[bytes] = field(default_factory=set)

    def units_of(self, units: EventUnits) -> Decimal:
        """Return what an event adds; a label that is there adds nothing."""
        return Decimal(0) if units.label_key is not None and units.label_key in self.labels else units.units

    def take(self, units: EventUnits) -> None:
        """Count an event that was admitted."""
        self.state = replace(self.state, used_units=self.state.used_with(self.units_of(units)))
        if units.label_key is not None:
            self.labels.add(units.label_key)

    def covers(self, row: UsageRow) -> bool:
        """Return whether an event falls into the window of the limit."""
        limit = self.limit
        return (
            row.customer_id == limit.customer_id
            and limit.starts_at <= row.occurred_at < limit.ends_at
            and (limit.subscription_id is None or row.subscription_id in (None, limit.subscription_id))
        )


def limited_rows(*, rows: Sequence[UsageRow], limited: Collection[UUID]) -> list[UsageRow]:
    """Return the rows of customers who have limits that refuse, in the order of the batch."""
    return [row for row in rows if row.customer_id in limited] if limited else []


def windows_ensure(*, rows: Sequence[UsageRow], actor: Actor, at: datetime) -> None:
    """Make the limits that could refuse these events, where terms moved or a window has none; before the batch."""
    if not rows:
        return
    moments = [row.occurred_at for row in rows]
    customer_ids = sorted({row.customer_id for row in rows})
    missing = usage_limits.limits_missing(customer_ids=customer_ids, first=min(moments), last=max(moments), at=at)
    if missing:
        usage_limits.usage_limits_make(customer_ids=missing, actor=actor, at=at, since=min(moments))


@unit_of_work
def events_admit(
    *, rows: Sequence[UsageRow], stands_for: Mapping[bytes, str], known_since: datetime | None, at: datetime
) -> dict[bytes, Refusal]:
    """
    Decide which of these events may be written, and return the others by their key, each with the reason.

    All limits of an event must hold, else it takes nothing from any. What is stored already takes nothing. Refusals are
    recorded in the same transaction.
    """
    # Before anything is locked, because it depends on no counter: what others wait for is kept short.
    units = metering_limits.event_units(rows=rows, stands_for=stands_for) if rows else {}
    held = metering_limits.usage_limits_lock(rows=rows) if units else []
    if not held:
        return {}
    running = _running(held, rows, units)
    if all(_takes_all(one, rows, units) for one in running):
        return {}
    # Asked once the counters are locked: who held them before may have written the very same events.
    stored = metering_services.usage_stored_find(rows=rows, known_since=known_since)
    asking = sorted((row for row in rows if row.key not in stored), key=lambda row: row.position)
    refusals: dict[bytes, Refusal] = {}
    records: list[DecisionRecord] = []
    for row in asking:
        mine = [(one, units[row.position, one.meter.id]) for one in running if (row.position, one.meter.id) in units]
        mine = [(one, counted) for one, counted in mine if one.covers(row)]
        broken = [(one, counted) for one, counted in mine if not one.state.takes(one.units_of(counted))]
        if not broken:
            for one, counted in mine:
                one.take(counted)
            continue
        one, counted = broken[0]
        question = AccessQuestion(is_granted=True, asked_units=one.units_of(counted), limits=(one.state,))
        decision = decide_access(question)
        refusals[row.key] = _refusal(decision, one.meter)
        records.append(_record(row, one.limit, question, decision, at))
    entitlement_services.decisions_record(records=records)
    return refusals


def _running(
    held: Sequence[HeldLimit], rows: Sequence[UsageRow], units: Mapping[tuple[int, UUID], EventUnits]
) -> list[_Running]:
    meters = Meter.objects.in_bulk({limit.meter_id for limit in held})
    running = []
    for limit in held:
        meter = meters[limit.meter_id]
        state = LimitState(
            limit_id=str(limit.id),
            policy=Policy.REJECT,
            limit_units=limit.limit_units,
            used_units=limit.used_units,
            resets_at=limit.ends_at,
            is_own_cap=limit.origin == LimitOrigin.CUSTOMER,
            is_largest=meter.aggregation == Aggregation.MAX,
        )
        one = _Running(limit=limit, state=state, meter=meter)
        if meter.aggregation == Aggregation.UNIQUE_COUNT:
            keys = {units[row.position, meter.id].label_key for row in rows if (row.position, meter.id) in units}
            asked = sorted(key for key in keys if key is not None)
            one.labels, used = metering_limits.labels_held(limit=limit, meter=meter, label_keys=asked)
            one.state = replace(state, used_units=used)
        running.append(one)
    return running


def _takes_all(one: _Running, rows: Sequence[UsageRow], units: Mapping[tuple[int, UUID], EventUnits]) -> bool:
    """Return whether a limit holds even if every event of the batch is new: then none has to be looked at alone."""
    meter_id = one.meter.id
    counted = [units[row.position, meter_id] for row in rows if (row.position, meter_id) in units and one.covers(row)]
    if one.state.is_largest:
        return one.state.takes(max((event.units for event in counted), default=Decimal(0)))
    labels = {event.label_key for event in counted if event.label_key is not None}
    fresh = Decimal(len(labels - one.labels)) if labels else sum((event.units for event in counted), Decimal(0))
    return one.state.takes(fresh)


def _refusal(decision: AccessDecision, meter: Meter) -> Refusal:
    limit = decision.limit
    assert limit is not None and limit.resets_at is not None  # noqa: S101, PT018  refused by this limit
    used, of = number_text(limit.used_units), number_text(limit.limit_units)
    remedy = "Raise the limit" if decision.reason is Reason.QUOTA_EXCEEDED else "Raise the cap or have it agreed to"
    detail = (
        f"Meter '{meter.code}' has {used} of {of} units used, which is the {_WORDS[decision.reason]}; "
        f"it begins anew at {limit.resets_at.isoformat()}. {remedy}, then replay the event."
    )
    return Refusal(detail, {"limit": of, "used": used, "resets_at": limit.resets_at.isoformat()})


def number_text(number: Decimal) -> str:
    """Return a number of units as it is written outside: no exponent, no zeros at the end."""
    return f"{number.normalize():f}"


def _record(
    row: UsageRow, limit: HeldLimit, question: AccessQuestion, decision: AccessDecision, at: datetime
) -> DecisionRecord:
    facts: dict[str, Any] = {
        "limit_id": limit.id,
        "counter_id": limit.counter_id,
        "plan_version_id": limit.source_id if limit.origin == LimitOrigin.PLAN else None,
        "event_source": row.event.source or "",
        "event_id": row.event.id or "",
    }
    return DecisionRecord(
        decided_at=at,
        occasion=DecisionOccasion.INTAKE,
        customer_id=limit.customer_id,
        feature_code=limit.feature_code,
        question=question,
        decision=decision,
        facts=facts,
    )
