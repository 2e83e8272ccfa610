"""Windows that were billed, what came after, and the policies about it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.db.models import Count, F, Q, QuerySet

from apps.audit import services as audit_services
from apps.common import locks
from apps.common.actors import Actor
from apps.common.db import fetch_all, unit_of_work
from apps.common.errors import FieldProblem
from apps.lifecycle.services import transition_apply
from apps.metering import late_usage_sql
from apps.metering.errors import LatePolicyInvalid, LateUsageSettled
from apps.metering.models import (
    LatePolicy,
    LateUsage,
    LateUsagePolicy,
    LateUsageStatus,
    Meter,
    UsageEvent,
    UsageFollower,
    UsageWindow,
)
from apps.metering.usage_readings import usage_scope

# A source that was silent for longer is not waited for.
SOURCE_SILENT_AFTER: Final = timedelta(days=7)
GRACE_HOURS_MAX: Final = 744


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowInput:
    """The usage of one meter and subscription in one period, as it was billed under a snapshot."""

    customer_id: UUID
    subscription_id: UUID
    meter_id: UUID
    starts_at: datetime
    ends_at: datetime
    snapshot: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LatePolicyInput:
    """What the tenant, or one meter, says about late usage."""

    policy: str
    meter_code: str = ""
    grace_hours: int | None = None
    hold_hours_max: int = 72
    approved_up_to: Decimal = Decimal(100)
    alone_after_hours: int = 72
    is_settled_automatically: bool = True


DEFAULT_POLICY: Final = LatePolicyInput(policy=LatePolicy.NEXT_INVOICE)


@unit_of_work
def usage_windows_close(*, windows: Iterable[WindowInput], source_type: str, source_id: UUID, at: datetime) -> None:
    """Remember as what snapshot windows were billed: from now on, what it does not show is late."""
    UsageWindow.objects.bulk_create(
        (
            UsageWindow(
                customer_id=window.customer_id,
                subscription_id=window.subscription_id,
                meter_id=window.meter_id,
                starts_at=window.starts_at,
                ends_at=window.ends_at,
                snapshot=window.snapshot,
                source_type=source_type,
                source_id=source_id,
                closed_at=at,
            )
            for window in earliest(windows)
        ),
        # A document that took the place of a dead one billed the window anew.
        update_conflicts=True,
        unique_fields=["subscription_id", "meter", "starts_at"],
        update_fields=["snapshot", "ends_at", "closed_at"],
    )


def earliest(windows: Iterable[WindowInput]) -> list[WindowInput]:
    """Return one window per meter and start: of several readings the first, because what it missed is late for one."""
    first: dict[tuple[UUID, datetime], WindowInput] = {}
    for window in windows:
        key = (window.meter_id, window.starts_at)
        if key not in first or snapshot_age(window.snapshot) < snapshot_age(first[key].snapshot):
            first[key] = window
    return list(first.values())


def snapshot_age(snapshot: str) -> tuple[int, int, int]:
    """Return what orders snapshots that were taken one after another: bounds rise, what runs inside them gets less."""
    lower, upper, running = snapshot.split(":")
    return int(upper), int(lower), -len(running.split(",")) if running else 0


@unit_of_work
def late_usage_hold(*, source_id: UUID) -> list[LateUsage]:
    """Lock what came late for a period and is not settled; the follower adds nothing until the unit of work ends."""
    fetch_all("SELECT set_config('lock_timeout', %s, true)", [f"{locks.LOCK_WAIT_MS_MAX}ms"])
    fetch_all(late_usage_sql.LATE_LOCK)
    found = LateUsage.objects.filter(window__source_id=source_id, status=LateUsageStatus.FOUND)
    held = locks.get_many_for_update(LateUsage, found.values_list("id", flat=True))
    return [late for late in held if late.status == LateUsageStatus.FOUND]


@unit_of_work
def usage_windows_move(*, source_id: UUID, snapshots: Mapping[UUID, str], waiting: Iterable[LateUsage]) -> None:
    """
    Let the windows of a period be accounted for as they were read now, by meter.

    :param waiting: held late usage; where its meter was not read, its window is accounted for up to the follower
    """
    unread = [late.window_id for late in waiting if late.window.meter_id not in snapshots]
    passed = UsageFollower.objects.get().done_snapshot if unread else ""
    rows = UsageWindow.objects.filter(Q(source_id=source_id, meter_id__in=snapshots) | Q(id__in=unread))
    for window in locks.get_many_for_update(UsageWindow, rows.values_list("id", flat=True)):
        window.snapshot = snapshots.get(window.meter_id, passed)
        window.save(update_fields=["snapshot"])


@unit_of_work
def late_usage_resolve(
    *, late: LateUsage, action: str, resolution: str, adjustment_id: UUID | None, actor: Actor, at: datetime
) -> None:
    """
    Say what became of late usage: `adjust`, `settle` or `waive`.

    :raises LateUsageSettled: if that was said before
    """
    if late.status != LateUsageStatus.FOUND and action != "waive":
        raise LateUsageSettled(f"Late usage {late.public_id} is {late.status}; it was settled before.")
    late.resolution, late.waits_because = resolution, ""
    late.adjustment_id = adjustment_id or late.adjustment_id
    fields = ("resolution", "waits_because", "adjustment_id", *_ESTIMATED)
    transition_apply(
        instance=late,
        action=action,
        actor=actor,
        at=at,
        topic="metering.late_usage.settled",
        payload={"window": late.window.public_id, "resolution": resolution},
        save_fields=fields,
        reason=("", resolution[:500]),
    )


_ESTIMATED: Final = ("quantity_before", "quantity_after", "effect_minor", "currency", "estimated_at")


@unit_of_work
def late_usage_note(*, late: LateUsage, waits_because: str) -> None:
    """Keep an estimate that was set on the row, and why it waits."""
    late.waits_because = waits_because
    late.save(update_fields=[*_ESTIMATED, "waits_because"])


@unit_of_work
def late_usage_point(*, from_adjustments: Iterable[UUID], to_adjustment: UUID) -> None:
    """Let late usage whose adjustment was superseded name the one that took its place."""
    LateUsage.objects.filter(adjustment_id__in=list(from_adjustments)).update(adjustment_id=to_adjustment)


def late_usage_of(*, adjustment_id: UUID) -> list[LateUsage]:
    """Lock and return the late usage that became an adjustment."""
    rows = LateUsage.objects.filter(adjustment_id=adjustment_id, status=LateUsageStatus.ADJUSTED)
    return locks.get_many_for_update(LateUsage, rows.values_list("id", flat=True))


def sources_open(*, limit: int, source_ids: Iterable[UUID] | None = None) -> list[UUID]:
    """Return the periods for which usage came late and is not settled: first those that nobody has looked at yet."""
    rows = LateUsage.objects.filter(status=LateUsageStatus.FOUND)
    if source_ids is not None:
        rows = rows.filter(window__source_id__in=list(source_ids))
    # Those that wait for a person are looked at over and over; however many they are, new ones come before them.
    ordered = rows.order_by(F("estimated_at").asc(nulls_first=True), "first_received_at")
    found = ordered.values_list("window__source_id", flat=True)
    return list(dict.fromkeys(found[: limit * 4]))[:limit]


def late_usage_queryset() -> QuerySet[LateUsage]:
    """Return all late usage with its window, newest arrival first."""
    return LateUsage.objects.select_related("window__meter").order_by("-last_received_at", "-id")


def late_usage_counts() -> dict[str, int]:
    """Return how many batches of late usage have each status."""
    return dict(LateUsage.objects.values_list("status").annotate(Count("id")).order_by())


def watermark_at(*, now_at: datetime) -> datetime | None:
    """Return up to when every source that was heard of lately has told of its usage; None without any."""
    ((watermark,),) = fetch_all(late_usage_sql.WATERMARK, {"heard_since": now_at - SOURCE_SILENT_AFTER})
    return watermark


def windows_unaccounted(*, limit: int) -> list[str]:
    """Return billed windows with usage that neither they account for nor any inbox shows; there must be none."""
    return [text for (text,) in fetch_all(late_usage_sql.UNACCOUNTED, {"limit": limit})]


def usage_events_changed(
    *,
    meter: Meter,
    customer_id: UUID,
    subscription_id: UUID | None,
    starts_at: datetime,
    ends_at: datetime,
    snapshot_before: str,
    snapshot_after: str,
    limit: int,
) -> list[UsageEvent]:
    """Return the events of a window that came, or were cancelled, between two readings, in order of occurrence."""
    scope = usage_scope(
        meter=meter, customer_id=customer_id, subscription_id=subscription_id, starts_at=starts_at, ends_at=ends_at
    )
    asked = {**scope, "snapshot_before": snapshot_before, "snapshot_after": snapshot_after, "limit": limit}
    return list(UsageEvent.objects.raw(late_usage_sql.EVENTS_CHANGED, asked))


def policy_of_tenant() -> LateUsagePolicy | LatePolicyInput:
    """Return what the tenant says about late usage, or the defaults."""
    return LateUsagePolicy.objects.filter(meter_code="").first() or DEFAULT_POLICY


def policies_of(*, meters: Iterable[Meter]) -> list[LateUsagePolicy | LatePolicyInput]:
    """Return what is said about late usage of these meters: each one's own policy, else the tenant's."""
    codes = {meter.code for meter in meters}
    own = {policy.meter_code: policy for policy in LateUsagePolicy.objects.filter(meter_code__in=codes)}
    return [own.get(code) or policy_of_tenant() for code in sorted(codes)]


@unit_of_work
def late_policy_set(*, data: LatePolicyInput, actor: Actor, at: datetime) -> LateUsagePolicy:
    """
    Say what becomes of late usage, of the tenant or of one meter; documents that are final stay as they are.

    :raises LatePolicyInvalid: naming every field that cannot be accepted
    """
    problems = tuple(_policy_problems(data))
    if problems:
        summary = "; ".join(f"{problem.pointer} {problem.detail}" for problem in problems)
        raise LatePolicyInvalid(f"The policy cannot be accepted: {summary}.", problems=problems)
    locks.advisory_lock("metering:late-policies")
    terms: dict[str, Any] = {name: getattr(data, name) for name in LatePolicyInput.__slots__ if name != "meter_code"}
    before = LateUsagePolicy.objects.filter(meter_code=data.meter_code).first()
    old = {} if before is None else {name: str(getattr(before, name)) for name in terms}
    policy, _is_new = LateUsagePolicy.objects.update_or_create(
        meter_code=data.meter_code, defaults={**terms, "changed_at": at}
    )
    after = {name: str(value) for name, value in terms.items()}
    audit_services.entry_write(entity=policy, action="set", actor=actor, at=at, before=old, after=after)
    return policy


def _policy_problems(data: LatePolicyInput) -> Iterable[FieldProblem]:
    if data.policy not in LatePolicy.values:
        yield FieldProblem("/policy", "unknown", f"must be one of {', '.join(LatePolicy.values)}")
    if data.meter_code and not Meter.objects.filter(code=data.meter_code).exists():
        yield FieldProblem("/meter_code", "unknown", "names no meter; leave it empty for all of them")
    if data.grace_hours is not None and not 0 <= data.grace_hours <= GRACE_HOURS_MAX:
        yield FieldProblem("/grace_hours", "out_of_range", f"must lie from 0 to {GRACE_HOURS_MAX}, or be empty")
    if not 1 <= data.hold_hours_max <= GRACE_HOURS_MAX:
        yield FieldProblem("/hold_hours_max", "out_of_range", f"must lie from 1 to {GRACE_HOURS_MAX}")
    if data.approved_up_to < 0:
        yield FieldProblem("/approved_up_to", "out_of_range", "must not be below zero; 0 asks a person each time")
    if not 0 <= data.alone_after_hours <= 8_784:
        yield FieldProblem("/alone_after_hours", "out_of_range", "must lie from 0 to 8784")
