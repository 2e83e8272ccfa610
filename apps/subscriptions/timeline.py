"""
How the periods of a subscription follow each other: the next one, a cut in the running one, the end of a pause.

Rules: a period has the same terms for all of its time, so whatever changes in mid-period divides it. What is left of a
divided period comes next and keeps the bounds of the whole, so that the parts of any division add up to it. Boundaries
come from the anchor, never from the period before.
"""

from datetime import UTC, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from apps.audit import services as audit_services
from apps.common import locks
from apps.common.actors import SCHEDULE, Actor
from apps.common.db import unit_of_work
from apps.engine import periods
from apps.plans import terms
from apps.subscriptions import effects, selectors
from apps.subscriptions.errors import ChangeOutsideRunningPeriod, TooManyPeriods
from apps.subscriptions.models import (
    AnchorKind,
    BillingPeriod,
    BillingPeriodKind,
    BillingPeriodStatus,
    PauseMode,
    ProrationMode,
    Subscription,
    SubscriptionStatus,
)

# Ten years of daily periods; whoever is further behind catches up in steps.
PERIODS_AT_ONCE_MAX = 4_000


class Bounds(NamedTuple):
    """A stretch to be billed, the whole period that it is or is a part of, and whether a part of that came before."""

    stretch: periods.Period
    full: periods.Period
    is_rest: bool = False


@unit_of_work
def period_open_next(*, subscription: Subscription, actor: Actor = SCHEDULE) -> BillingPeriod | None:
    """
    Store the period after the last one, or the first, on the terms that are agreed for its time.

    Changes agreed for its start take effect. Nothing is stored when the subscription has ended, or while a pause stops
    its clock.
    """
    subscription = locks.get_for_update(Subscription, subscription.id)
    last = selectors.last_period(subscription_id=subscription.id)
    if last is None:
        return _store(subscription, sequence=1, bounds=_first_bounds(subscription))
    for change in selectors.changes_scheduled(subscription_id=subscription.id).filter(effective_at__lte=last.ends_at):
        effects.change_take_effect(subscription=subscription, change=change, actor=actor)
    has_ended = subscription.ended_at is not None and subscription.ended_at <= last.ends_at
    if has_ended or subscription.is_clock_stopped:
        return None
    bounds = _next_bounds(subscription, last)
    is_settled = bounds.is_rest and (last.is_fixed_covered or last.is_whole_settled)
    # A pause that keeps the fixed fees divides a period whose fees in advance are billed already.
    is_prepaid = bounds.is_rest and (is_settled or _is_prepaid_beyond(last))
    return _store(
        subscription,
        sequence=last.sequence + 1,
        bounds=bounds,
        prepaid_by=_prepaying(last) if is_prepaid else None,
        is_fixed_covered=is_settled,
        divided=last if bounds.is_rest else None,
    )


@unit_of_work
def periods_open_until(*, subscription: Subscription, at: datetime, actor: Actor = SCHEDULE) -> BillingPeriod:
    """
    Store periods until one holds the instant, and return the last one.

    :raises TooManyPeriods: if that would take more than one call may do
    """
    for _step in range(PERIODS_AT_ONCE_MAX):
        last = selectors.last_period(subscription_id=subscription.id)
        if last is not None and last.ends_at > at:
            return last
        if period_open_next(subscription=subscription, actor=actor) is None and last is not None:
            return last
    raise TooManyPeriods(f"More than {PERIODS_AT_ONCE_MAX} periods would be opened at once; bill what is due first.")


@unit_of_work
def period_cut(*, period: BillingPeriod, at: datetime, proration_mode: str, is_credit_due: bool) -> BillingPeriod:
    """
    End the last period of a subscription at an instant inside it, and return it.

    How parts are counted is decided by the first change that divides a whole; a further one follows it.

    :raises ChangeOutsideRunningPeriod: if the instant does not lie inside it, or the period is being billed
    """
    period = locks.get_for_update(BillingPeriod, period.id)
    if not period.starts_at < at < period.ends_at or period.status != BillingPeriodStatus.OPEN:
        raise ChangeOutsideRunningPeriod(
            f"{at.isoformat()} does not lie inside the running period, which began at {period.starts_at.isoformat()} "
            f"and ends at {period.ends_at.isoformat()}. Choose an instant after its start, or its end.",
            facts={"starts_at": period.starts_at.isoformat(), "ends_at": period.ends_at.isoformat()},
        )
    period.cut_from_at, period.ends_at = period.ends_at, at
    # Without proration there is nothing to give back, and the fees of the period stand for the whole.
    period.is_whole_settled = proration_mode == ProrationMode.NONE
    period.is_credit_due = is_credit_due and not period.is_whole_settled and not period.is_fixed_covered
    if not period.is_whole_settled and not _is_divided(period):
        period.proration_mode = proration_mode
    period.save(update_fields=["cut_from_at", "ends_at", "is_whole_settled", "is_credit_due", "proration_mode"])
    return period


@unit_of_work
def pause_close(*, subscription: Subscription, at: datetime, is_last: bool, is_credit_due: bool) -> None:
    """
    Store the time during which the clock stood still, and what is left of the period that it interrupted.

    The rest lasts as long as it would have; fees in advance that were billed for it cover it now. When the
    subscription ends in its pause there is no rest, and a credit that is due gives its fees back.
    """
    last = selectors.last_period(subscription_id=subscription.id)
    assert last is not None  # noqa: S101  a pause follows a period
    if at <= last.ends_at:
        return
    rest = (last.cut_from_at or last.ends_at) - last.ends_at
    pause = periods.Period(last.ends_at, at)
    frozen = _store(
        subscription, sequence=last.sequence + 1, bounds=Bounds(pause, pause), kind=BillingPeriodKind.FROZEN
    )
    if is_last:
        if rest and is_credit_due and not last.is_fixed_covered:
            frozen.cut_from_at, frozen.is_credit_due, frozen.prepaid_by = at + rest, True, _prepaying(last)
            frozen.save(update_fields=["cut_from_at", "is_credit_due", "prepaid_by"])
        return
    _reanchor(subscription, wall_at=at + rest)
    if not rest:
        return
    moved_by = at - last.ends_at
    bounds = Bounds(
        periods.Period(at, at + rest),
        periods.Period(last.full_starts_at + moved_by, last.full_ends_at + moved_by),
        is_rest=True,
    )
    _store(
        subscription,
        sequence=frozen.sequence + 1,
        bounds=bounds,
        prepaid_by=_prepaying(last),
        is_fixed_covered=last.is_fixed_covered,
        divided=last,
    )


def _store(
    subscription: Subscription,
    *,
    sequence: int,
    bounds: Bounds,
    kind: str = "",
    prepaid_by: BillingPeriod | None = None,
    is_fixed_covered: bool = False,
    divided: BillingPeriod | None = None,
) -> BillingPeriod:
    return BillingPeriod.objects.create(
        subscription=subscription,
        sequence=sequence,
        starts_at=bounds.stretch.starts_at,
        ends_at=bounds.stretch.ends_at,
        full_starts_at=bounds.full.starts_at,
        full_ends_at=bounds.full.ends_at,
        kind=kind or _kind_at(subscription, bounds.stretch.starts_at),
        plan_version=subscription.plan_version,
        quantity=subscription.quantity,
        # Parts of a whole are counted in one way and in one zone, or they would not sum to it.
        timezone=subscription.timezone if divided is None else divided.timezone,
        proration_mode=terms.proration_mode_of(subscription.plan_version)
        if divided is None
        else divided.proration_mode,
        prepaid_by=prepaid_by,
        is_fixed_covered=is_fixed_covered,
    )


def _first_bounds(subscription: Subscription) -> Bounds:
    if subscription.trial_ends_at is not None:
        trial = periods.Period(subscription.starts_at, subscription.trial_ends_at)
        return Bounds(trial, trial)
    return _bounds_from(subscription, subscription.starts_at)


def _next_bounds(subscription: Subscription, last: BillingPeriod) -> Bounds:
    is_same_interval = terms.is_same_interval(last.plan_version, subscription.plan_version)
    if last.ends_at < last.full_ends_at and (is_same_interval or last.kind == BillingPeriodKind.TRIAL):
        return Bounds(
            periods.Period(last.ends_at, last.full_ends_at),
            periods.Period(last.full_starts_at, last.full_ends_at),
            is_rest=True,
        )
    if not is_same_interval:
        # Months and years have no boundary in common: the new interval counts from here.
        _reanchor(subscription, wall_at=last.ends_at)
        return _bounds_from(subscription, last.ends_at)
    if subscription.timezone != subscription.customer.timezone:
        _move_zone(subscription)
        moved = periods.period_after_zone_change(
            anchor=selectors.engine_anchor(subscription),
            interval=selectors.engine_interval(subscription),
            starts_at=last.ends_at,
        )
        return Bounds(moved, moved)
    return _bounds_from(subscription, last.ends_at)


def _bounds_from(subscription: Subscription, starts_at: datetime) -> Bounds:
    anchor, interval = selectors.engine_anchor(subscription), selectors.engine_interval(subscription)
    stretch = periods.first_period(anchor=anchor, interval=interval, starts_at=starts_at)
    if subscription.anchor_kind == AnchorKind.ANNIVERSARY:
        # Its periods are whole by definition. The anchor is a wall time, which names two instants in the hour that is
        # repeated in autumn; whichever it was, nothing is missing from the period.
        return Bounds(stretch, stretch)
    return Bounds(stretch, periods.full_period_of(anchor=anchor, interval=interval, period=stretch))


def _reanchor(subscription: Subscription, *, wall_at: datetime) -> None:
    """Let an anniversary be counted from another instant; a calendar has no other anchor than itself."""
    wall = wall_at.astimezone(ZoneInfo(subscription.timezone)).replace(tzinfo=UTC)
    if subscription.anchor_kind != AnchorKind.ANNIVERSARY or wall == subscription.anchor_wall:
        return
    before, subscription.anchor_wall = subscription.anchor_wall, wall
    subscription.save(update_fields=["anchor_wall"])
    audit_services.entry_write(
        entity=subscription,
        action="reanchor",
        actor=SCHEDULE,
        at=wall_at,
        before={"anchor_wall": before.isoformat()},
        after={"anchor_wall": wall.isoformat()},
    )


def _move_zone(subscription: Subscription) -> None:
    """Follow the customer's clock into another zone; the anchor's wall time stays, what it means moves."""
    before, subscription.timezone = subscription.timezone, subscription.customer.timezone
    subscription.save(update_fields=["timezone"])
    last = selectors.last_period(subscription_id=subscription.id)
    assert last is not None  # noqa: S101  zones move between periods
    audit_services.entry_write(
        entity=subscription,
        action="move_zone",
        actor=SCHEDULE,
        at=last.ends_at,
        before={"timezone": before},
        after={"timezone": subscription.timezone},
    )


def _kind_at(subscription: Subscription, starts_at: datetime) -> str:
    if subscription.trial_ends_at is not None and starts_at < subscription.trial_ends_at:
        return BillingPeriodKind.TRIAL
    if subscription.status == SubscriptionStatus.PAUSED and subscription.pause_mode == PauseMode.KEEP_FIXED:
        return BillingPeriodKind.FIXED_ONLY
    return BillingPeriodKind.REGULAR


def _is_prepaid_beyond(period: BillingPeriod) -> bool:
    """Tell whether fees billed in advance for this period reach past its end and are not given back."""
    return period.cut_from_at is not None and not period.is_credit_due


def _is_divided(period: BillingPeriod) -> bool:
    """Tell whether a part of the same whole came before."""
    before = BillingPeriod.objects.filter(subscription_id=period.subscription_id, sequence=period.sequence - 1)
    return before.filter(full_ends_at=period.full_ends_at).exists() or period.prepaid_by_id is not None


def _prepaying(period: BillingPeriod) -> BillingPeriod:
    """Return the period on whose account the fees were billed."""
    return period.prepaid_by or period
