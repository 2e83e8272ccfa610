"""
Change a subscription: other terms, more or fewer pieces, a pause, a return, an end.

Every change is a row that says what was agreed for which instant. One for now takes effect in the same unit of work;
one for later waits, and takes effect when the periods come to its instant.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from apps.audit import services as audit_services
from apps.common import locks
from apps.common.actors import SCHEDULE, Actor
from apps.common.db import unit_of_work
from apps.common.errors import FieldProblem
from apps.plans import cohorts, terms
from apps.plans import selectors as plan_selectors
from apps.plans.models import PlanVersion, PlanVersionStatus
from apps.subscriptions import effects, selectors, services, timeline
from apps.subscriptions.errors import (
    ChangeAlreadyScheduled,
    ChangeInvalid,
    ChangeNotScheduled,
    ChangeOutsideRunningPeriod,
    ChangeRefused,
)
from apps.subscriptions.inputs import TermsChange, Timing, When
from apps.subscriptions.models import (
    ChangeKind,
    PauseMode,
    ProrationMode,
    Subscription,
    SubscriptionChange,
    SubscriptionStatus,
)

_RUNNING = (SubscriptionStatus.TRIALING, SubscriptionStatus.ACTIVE)


@unit_of_work
def subscription_change(
    *, subscription_id: UUID, wanted: TermsChange, when: When, actor: Actor, at: datetime
) -> SubscriptionChange:
    """
    Move a subscription to other terms, and return the change; the terms until then stay what they were.

    :raises ChangeRefused: if the subscription does not run
    :raises ChangeInvalid: if nothing would change, or a field is wrong
    :raises PlanUnknown: if the plan is not on sale at that instant
    :raises PlanCurrencyDiffers: if it is priced in another currency
    :raises MeterChargedTwice: if another subscription of the customer would bill the same usage
    :raises ChangeOutsideRunningPeriod: if the instant is not inside the running period or after it
    :raises ChangeAlreadyScheduled: if another change is agreed for the same instant
    """
    subscription = _locked(subscription_id, _RUNNING, "changed")
    effective_at = _effective_at(subscription, when, at=at)
    present, present_quantity = _terms_at(subscription, effective_at)
    version = _version_wanted(subscription, present, wanted, effective_at)
    quantity = present_quantity if wanted.quantity is None else _quantity(wanted.quantity)
    if version == present and quantity == present_quantity:
        detail = f"it is on {present} with quantity {quantity.normalize():f} then"
        raise ChangeInvalid(
            f"Nothing would change: {detail}.", problems=(FieldProblem("/plan", "nothing_changes", detail),)
        )
    _refuse_unprorated_interval(present, version, when)
    if version != present:
        services.version_ensure_chargeable(
            customer=subscription.customer, version=version, starts_at=effective_at, besides=subscription.id
        )
    is_plan = version != present
    return _agree(
        subscription,
        kind=ChangeKind.PLAN if is_plan else ChangeKind.QUANTITY,
        effective_at=effective_at,
        when=when,
        actor=actor,
        at=at,
        plan_version=version if is_plan else None,
        quantity=quantity if wanted.quantity is not None else None,
    )


@unit_of_work
def subscription_cancel(*, subscription_id: UUID, when: When, actor: Actor, at: datetime) -> SubscriptionChange:
    """
    End a subscription now or at the end of its period, and return the change.

    Ended now, what was billed in advance for the time that is not served is given back unless the proration is `none`.

    :raises ChangeRefused: if it has ended already
    :raises ChangeOutsideRunningPeriod: if the instant is not inside the running period or after it
    :raises ChangeAlreadyScheduled: if another change is agreed for the same instant
    """
    alive = (SubscriptionStatus.PENDING, *_RUNNING, SubscriptionStatus.PAUSED)
    subscription = _locked(subscription_id, alive, "cancelled")
    if subscription.status == SubscriptionStatus.PENDING:
        # Nothing has begun, so nothing is divided and nothing is due.
        change = _store(subscription, kind=ChangeKind.CANCEL, effective_at=at, when=when, actor=actor, at=at)
        effects.change_take_effect(subscription=subscription, change=change, actor=actor)
        return change
    effective_at = _effective_at(subscription, when, at=at)
    return _agree(subscription, kind=ChangeKind.CANCEL, effective_at=effective_at, when=when, actor=actor, at=at)


@unit_of_work
def subscription_pause(
    *, subscription_id: UUID, mode: str, when: When, resume_at: datetime | None, actor: Actor, at: datetime
) -> SubscriptionChange:
    """
    Let a subscription rest, until it is resumed or until `resume_at`, and return the change.

    :param mode: `freeze` stops the clock: nothing is billed, and the rest of the period is served after the pause;
        `keep_fixed` goes on billing the fixed fees and bills no usage
    :raises ChangeRefused: if it does not run, or is in its trial
    :raises ChangeInvalid: if the mode is unknown, or the pause would end before it begins
    :raises ChangeOutsideRunningPeriod: if the instant is not inside the running period or after it
    :raises ChangeAlreadyScheduled: if another change is agreed for the same instant
    """
    if mode not in PauseMode.values:
        detail = f"must be one of {', '.join(PauseMode.values)}"
        raise ChangeInvalid(f"The mode {detail}.", problems=(FieldProblem("/mode", "mode_unknown", detail),))
    if when.proration is not None:
        detail = "is not for a pause: nothing is given back, what is paid is served after it or goes on; leave it out"
        raise ChangeInvalid(f"proration {detail}.", problems=(FieldProblem("/proration", "not_prorated", detail),))
    subscription = _locked(subscription_id, (SubscriptionStatus.ACTIVE,), "paused")
    effective_at = _effective_at(subscription, when, at=at)
    if resume_at is not None and resume_at <= effective_at:
        detail = f"must lie after {effective_at.isoformat()}, when the pause begins"
        raise ChangeInvalid(
            f"The pause would end before it begins: resume_at {detail}.",
            problems=(FieldProblem("/resume_at", "resume_before_pause", detail),),
        )
    change = _agree(
        subscription, kind=ChangeKind.PAUSE, effective_at=effective_at, when=when, actor=actor, at=at, pause_mode=mode
    )
    if resume_at is not None:
        _store(subscription, kind=ChangeKind.RESUME, effective_at=resume_at, when=when, actor=actor, at=at)
    return change


@unit_of_work
def subscription_resume(
    *, subscription_id: UUID, effective_at: datetime | None, actor: Actor, at: datetime, comment: str = ""
) -> SubscriptionChange:
    """
    Let a paused subscription go on, at once or at an instant to come, and return the change.

    A return that was scheduled with the pause is withdrawn: this one takes its place. An instant that has passed is
    one that a preview named.

    :raises ChangeRefused: if it is not paused
    :raises ChangeOutsideRunningPeriod: if the instant does not lie after the pause's begin and in the running period
    """
    subscription = _locked(subscription_id, (SubscriptionStatus.PAUSED,), "resumed")
    for scheduled in selectors.changes_scheduled(subscription_id=subscription.id).filter(kind=ChangeKind.RESUME):
        effects.change_withdraw(change=scheduled, actor=actor, at=at, comment="Replaced by another return.")
    instant = effective_at or at
    assert subscription.paused_at is not None  # noqa: S101  a check constraint says so
    if instant <= subscription.paused_at:
        raise ChangeOutsideRunningPeriod(
            f"{instant.isoformat()} does not lie after {subscription.paused_at.isoformat()}, when the pause began."
        )
    if instant <= at:
        instant = _effective_at(subscription, When(effective_at=instant), at=at)
    when = When(comment=comment)
    return _agree(subscription, kind=ChangeKind.RESUME, effective_at=instant, when=when, actor=actor, at=at)


@unit_of_work
def change_withdraw(*, change_id: UUID, actor: Actor, at: datetime, comment: str = "") -> SubscriptionChange:
    """
    Take back a change that has not taken effect, and return it.

    :raises ChangeNotScheduled: if it took effect or was withdrawn
    """
    change = SubscriptionChange.objects.get(id=change_id)
    locks.get_for_update(Subscription, change.subscription_id)
    change.refresh_from_db()
    if not change.is_scheduled:
        raise ChangeNotScheduled(f"Change {change.public_id} took effect or was withdrawn; make a further change.")
    effects.change_withdraw(change=change, actor=actor, at=at, comment=comment)
    return change


@unit_of_work
def changes_catch_up(*, subscription_id: UUID, at: datetime) -> int:
    """Let every change that is due by `at` take effect, in order, and return how many did."""
    subscription = locks.get_for_update(Subscription, subscription_id)
    due = list(selectors.changes_scheduled(subscription_id=subscription.id).filter(effective_at__lte=at))
    for change in due:
        change.refresh_from_db()
        if change.is_scheduled:
            _carry_out(subscription, change, actor=SCHEDULE)
    return len(due)


def _agree(
    subscription: Subscription,
    *,
    kind: ChangeKind,
    effective_at: datetime,
    when: When,
    actor: Actor,
    at: datetime,
    **what: Any,
) -> SubscriptionChange:
    """Store a change, and let it take effect if its instant has come."""
    change = _store(subscription, kind=kind, effective_at=effective_at, when=when, actor=actor, at=at, **what)
    if effective_at <= at:
        _carry_out(subscription, change, actor=actor)
        change.refresh_from_db()
    return change


def _carry_out(subscription: Subscription, change: SubscriptionChange, *, actor: Actor) -> None:
    """Bring the periods to the instant of a change, divide the one it lies in, and let it take effect there."""
    if subscription.is_clock_stopped:
        is_last = change.kind == ChangeKind.CANCEL
        timeline.pause_close(
            subscription=subscription,
            at=change.effective_at,
            is_last=is_last,
            is_credit_due=is_last and change.proration_mode != ProrationMode.NONE,
        )
        effects.change_take_effect(subscription=subscription, change=change, actor=actor)
    timeline.periods_open_until(subscription=subscription, at=change.effective_at, actor=actor)
    change.refresh_from_db()
    if change.is_scheduled:
        _cut_for(subscription, change)
        timeline.periods_open_until(subscription=subscription, at=change.effective_at, actor=actor)
    subscription.refresh_from_db()


def _cut_for(subscription: Subscription, change: SubscriptionChange) -> None:
    """Divide the last period at the change's instant; between two periods there is nothing to divide."""
    last = selectors.last_period(subscription_id=subscription.id)
    assert last is not None  # noqa: S101  whatever runs has a period
    if change.effective_at < last.ends_at:
        timeline.period_cut(
            period=last,
            at=change.effective_at,
            proration_mode=change.proration_mode,
            # A pause gives nothing back: what is paid is served after it, or goes on.
            is_credit_due=change.kind in (ChangeKind.PLAN, ChangeKind.QUANTITY, ChangeKind.CANCEL),
        )


def _store(
    subscription: Subscription,
    *,
    kind: ChangeKind,
    effective_at: datetime,
    when: When,
    actor: Actor,
    at: datetime,
    **what: Any,
) -> SubscriptionChange:
    second = selectors.changes_of(subscription_id=subscription.id).filter(
        effective_at=effective_at, withdrawn_at__isnull=True
    )
    if first := second.first():
        raise ChangeAlreadyScheduled(
            f"Change {first.public_id} ({first.kind}) is agreed for {effective_at.isoformat()} already; withdraw it or "
            "choose another instant.",
            facts={"change": first.public_id},
        )
    _ensure_fits_schedule(subscription, kind)
    change = SubscriptionChange.objects.create(
        subscription=subscription,
        kind=kind,
        effective_at=effective_at,
        proration_mode=when.proration or terms.proration_mode_of(subscription.plan_version),
        reason_code=when.reason_code,
        comment=when.comment,
        requested_by=actor.label[:120],
        requested_at=at,
        **what,
    )
    audit_services.entry_write(
        entity=subscription,
        action="agree_change",
        actor=actor,
        at=at,
        before={},
        after={"change": change.public_id, "kind": str(kind), "effective_at": effective_at.isoformat()},
        reason_code=when.reason_code,
        comment=when.comment,
    )
    return change


def _ensure_fits_schedule(subscription: Subscription, kind: ChangeKind) -> None:
    """Refuse what contradicts a pause: nothing is agreed across one, because nobody knows how long it lasts."""
    scheduled = selectors.changes_scheduled(subscription_id=subscription.id)
    in_the_way = scheduled if kind == ChangeKind.PAUSE else scheduled.filter(kind=ChangeKind.PAUSE)
    first = None if kind == ChangeKind.RESUME else in_the_way.first()
    if first is not None:
        raise ChangeAlreadyScheduled(
            f"Change {first.public_id} ({first.kind}) is agreed for {first.effective_at.isoformat()}; a pause and "
            "other changes are not agreed at once. Withdraw it first.",
            facts={"change": first.public_id},
        )


def _locked(subscription_id: UUID, allowed: tuple[SubscriptionStatus, ...], verb: str) -> Subscription:
    subscription = locks.get_for_update(Subscription, subscription_id)
    if subscription.status not in allowed:
        raise ChangeRefused(
            f"Subscription {subscription.public_id} is {subscription.status} and cannot be {verb}; it would have to be "
            f"{' or '.join(allowed)}.",
            facts={"status": str(subscription.status)},
        )
    return subscription


def _effective_at(subscription: Subscription, when: When, *, at: datetime) -> datetime:
    """Return the instant that a timing means for a subscription that has begun."""
    if when.timing == Timing.PERIOD_END:
        if subscription.is_clock_stopped:
            raise ChangeRefused(
                f"The clock of subscription {subscription.public_id} stands still, so no period ends. Use now, or "
                "resume it first."
            )
        return timeline.periods_open_until(subscription=subscription, at=at).full_ends_at
    if when.timing == Timing.AT:
        if when.effective_at is None or when.effective_at <= at:
            detail = "is required with the timing 'at' and must lie in the future"
            raise ChangeInvalid(f"at {detail}.", problems=(FieldProblem("/at", "instant_not_ahead", detail),))
        return when.effective_at
    effective_at = when.effective_at or at
    if effective_at > at:
        detail = "lies ahead; for a change to come use the timing 'at'"
        raise ChangeInvalid(f"at {detail}.", problems=(FieldProblem("/at", "instant_ahead", detail),))
    last = selectors.last_period(subscription_id=subscription.id)
    if last is not None and effective_at <= last.starts_at:
        raise ChangeOutsideRunningPeriod(
            f"{effective_at.isoformat()} does not lie after {last.starts_at.isoformat()}, when the running period "
            "began; what was before is billed or being billed. Choose a later instant.",
            facts={"starts_at": last.starts_at.isoformat()},
        )
    return effective_at


def _terms_at(subscription: Subscription, effective_at: datetime) -> tuple[PlanVersion, Decimal]:
    """Return the terms that a subscription will have just before an instant, with what is agreed until then."""
    version, quantity = subscription.plan_version, subscription.quantity
    for change in selectors.changes_scheduled(subscription_id=subscription.id).filter(effective_at__lt=effective_at):
        version = change.plan_version or version
        quantity = quantity if change.quantity is None else change.quantity
    return version, quantity


def _refuse_unprorated_interval(present: PlanVersion, version: PlanVersion, when: When) -> None:
    is_divided = when.timing != Timing.PERIOD_END
    if is_divided and when.proration == ProrationMode.NONE and not terms.is_same_interval(present, version):
        detail = (
            "cannot be 'none' with another interval: its periods begin at once, and the running one would be paid for "
            "twice; use by_second or by_day, or the timing period_end"
        )
        raise ChangeInvalid(f"proration {detail}.", problems=(FieldProblem("/proration", "interval_differs", detail),))


def _version_wanted(
    subscription: Subscription, present: PlanVersion, wanted: TermsChange, effective_at: datetime
) -> PlanVersion:
    if wanted.plan_version is not None:
        code = wanted.plan_code or present.plan.code
        version = plan_selectors.plan_version_get(plan_code=code, version=wanted.plan_version)
        if version.status != PlanVersionStatus.PUBLISHED or version.effective_at > effective_at:
            detail = f"{version} is not on sale at {effective_at.isoformat()}"
            raise ChangeInvalid(f"{detail}.", problems=(FieldProblem("/plan_version", "not_on_sale", detail),))
        if version != present and not cohorts.is_offered_to(version=version, customer_id=subscription.customer_id):
            detail = f"{version} is for cohort '{version.cohort}' only; add the customer to it, or name another version"
            raise ChangeInvalid(f"{detail}.", problems=(FieldProblem("/plan_version", "not_on_sale", detail),))
        return version
    if wanted.plan_code is None or wanted.plan_code == present.plan.code:
        # Without a version, the same plan means the same terms: nobody is moved to new ones by the way.
        return present
    return plan_selectors.plan_version_current(
        plan_code=wanted.plan_code, at=effective_at, customer_id=subscription.customer_id
    )


def _quantity(quantity: Decimal) -> Decimal:
    if not quantity.is_finite() or quantity < 0:
        detail = "must be zero or more"
        raise ChangeInvalid(
            f"The quantity {detail}.", problems=(FieldProblem("/quantity", "quantity_invalid", detail),)
        )
    return quantity
