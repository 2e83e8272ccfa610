"""
Move the subscriptions of a plan to another of its versions, each at the end of its running period.

Nobody is moved by publishing (subscriptions are pinned); this is how they are moved on purpose. Each is a change of its
own, agreed in a transaction of its own, so one that is refused holds up no other, and repeating the whole moves only
who is left. A preview takes the same way and undoes it, and shows what their last closed periods would have cost.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import Max, Min

from apps.common.actors import Actor
from apps.common.db import require_tenant, rolled_back
from apps.common.errors import DomainError, FieldProblem
from apps.customers import selectors as customer_selectors
from apps.plans import cohorts
from apps.plans import selectors as plan_selectors
from apps.plans.models import PlanVersion, PlanVersionStatus
from apps.subscriptions import changes
from apps.subscriptions import selectors as subscription_selectors
from apps.subscriptions.inputs import TermsChange, Timing, When
from apps.subscriptions.models import Subscription, SubscriptionChange
from apps.workflows import backtest
from apps.workflows.errors import PlanMigrationInvalid

# Each takes a transaction; more would keep the caller waiting for longer than a request lasts.
SUBSCRIPTIONS_MAX: Final = 500

# In what one change is made: a transaction that stays, or one that is rolled back.
_Unit = Callable[[], AbstractContextManager[None]]


class MigrationOutcome(StrEnum):
    """What became of one subscription."""

    SCHEDULED = "scheduled"  # moves when its running period ends; agreed now
    ALREADY_SCHEDULED = "already_scheduled"  # was agreed before
    ALREADY_ON_VERSION = "already_on_version"  # moved before, or began on it
    REFUSED = "refused"  # stays as it is, for the reason given


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationOrder:
    """
    Who is to be moved to which version of a plan.

    Everybody on the plan, or those on `from_version`; of them only the members of a cohort, and only the customers
    listed. Cohort and customers are ids or codes.
    """

    plan_code: str
    version: int
    from_version: int | None = None
    cohort: str | None = None
    customers: tuple[str, ...] | None = None
    reason_code: str = "plan_migration"
    comment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationStep:
    """One subscription: what became of it, when it moves, and why it does not."""

    subscription: Subscription
    from_version: int
    outcome: MigrationOutcome
    effective_at: datetime | None = None
    code: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """What became of all of them; a preview shows what their last closed periods would have cost, if there are any."""

    version: PlanVersion
    steps: tuple[MigrationStep, ...]
    effect: backtest.Backtest | None = None

    @property
    def counts(self) -> dict[MigrationOutcome, int]:
        """Return how often each outcome there is came about, none of them left out."""
        found = Counter(step.outcome for step in self.steps)
        return {outcome: found[outcome] for outcome in MigrationOutcome}


def plan_migration_preview(*, order: MigrationOrder, actor: Actor, at: datetime) -> Migration:
    """
    Return what a migration would do, and what the last closed periods of who moves would have cost; nothing is stored.

    :raises PlanUnknown: if there is no such plan
    :raises PlanVersionUnknown: if there is no such version
    :raises CohortUnknown: if there is no such cohort
    :raises CustomerUnknown: if one of the customers is not there
    :raises PlanMigrationInvalid: if the version is not published, or too many subscriptions are to be moved
    :raises BacktestInvalid: if usage cannot be rated on the version
    """
    done = _migrate(order, actor=actor, at=at, unit=rolled_back)
    moving = [step.subscription.id for step in done.steps if step.outcome == MigrationOutcome.SCHEDULED]
    return Migration(version=done.version, steps=done.steps, effect=_effect(done.version, moving))


def plan_migration_start(*, order: MigrationOrder, actor: Actor, at: datetime) -> Migration:
    """
    Agree with each subscription's next period to be on the version, and return what became of each.

    :raises PlanUnknown: if there is no such plan
    :raises PlanVersionUnknown: if there is no such version
    :raises CohortUnknown: if there is no such cohort
    :raises CustomerUnknown: if one of the customers is not there
    :raises PlanMigrationInvalid: if the version is not published, or too many subscriptions are to be moved
    """
    return _migrate(order, actor=actor, at=at, unit=transaction.atomic)


def _migrate(order: MigrationOrder, *, actor: Actor, at: datetime, unit: _Unit) -> Migration:
    require_tenant()
    version = plan_selectors.plan_version_get(plan_code=order.plan_code, version=order.version)
    if version.status != PlanVersionStatus.PUBLISHED:
        detail = f"{version} is {version.status}; only a published version can be moved to"
        raise _invalid("/version", "not_published", detail)
    concerned = _concerned(order, version)
    waiting = _changes_waiting(concerned, version)
    to_move = [each for each in concerned if each.plan_version_id != version.id and each.id not in waiting]
    if len(to_move) > SUBSCRIPTIONS_MAX:
        detail = (
            f"is needed, or a cohort or from_version: {len(to_move)} subscriptions are meant, and at most "
            f"{SUBSCRIPTIONS_MAX} are moved at once"
        )
        raise _invalid("/customers", "too_many_subscriptions", detail)
    steps = []
    for subscription in concerned:
        change = waiting.get(subscription.id)
        if subscription.plan_version_id == version.id:
            steps.append(_step(subscription, MigrationOutcome.ALREADY_ON_VERSION))
        elif change is not None:
            steps.append(_step(subscription, MigrationOutcome.ALREADY_SCHEDULED, effective_at=change.effective_at))
        else:
            steps.append(_moved(subscription, version, order, actor=actor, at=at, unit=unit))
    return Migration(version=version, steps=tuple(steps))


def _concerned(order: MigrationOrder, version: PlanVersion) -> list[Subscription]:
    """Return the subscriptions that an order means, those that are on the version already among them."""
    found = subscription_selectors.subscriptions_alive_on(plan_id=version.plan_id)
    if order.from_version is not None:
        start = plan_selectors.plan_version_get(plan_code=order.plan_code, version=order.from_version)
        found = found.filter(plan_version_id__in=[start.id, version.id])
    if order.customers is not None:
        asked = [customer_selectors.customer_by_reference(reference).id for reference in order.customers]
        found = found.filter(customer_id__in=asked)
    if order.cohort is None:
        return list(found)
    membership = cohorts.membership_of(cohorts.cohort_by_reference(order.cohort))
    return [subscription for subscription in found if subscription.customer_id in membership]


def _changes_waiting(concerned: list[Subscription], version: PlanVersion) -> dict[UUID, SubscriptionChange]:
    """Return the change to the version that is agreed and has yet to come, by subscription."""
    waiting = subscription_selectors.changes_waiting_for(version_id=version.id)
    known = {subscription.id for subscription in concerned}
    return {change.subscription_id: change for change in waiting if change.subscription_id in known}


def _moved(
    subscription: Subscription,
    version: PlanVersion,
    order: MigrationOrder,
    *,
    actor: Actor,
    at: datetime,
    unit: _Unit,
) -> MigrationStep:
    """Agree one change, all or nothing; what it locks is free before the next."""
    try:
        with unit():
            change = changes.subscription_change(
                subscription_id=subscription.id,
                wanted=TermsChange(plan_code=version.plan.code, plan_version=version.version),
                when=When(timing=Timing.PERIOD_END, reason_code=order.reason_code, comment=order.comment),
                actor=actor,
                at=customer_selectors.customer_now(customer=subscription.customer, at=at),
            )
    except DomainError as error:
        return _step(subscription, MigrationOutcome.REFUSED, code=error.code, reason=error.detail)
    return _step(subscription, MigrationOutcome.SCHEDULED, effective_at=change.effective_at)


def _step(
    subscription: Subscription,
    outcome: MigrationOutcome,
    *,
    effective_at: datetime | None = None,
    code: str = "",
    reason: str = "",
) -> MigrationStep:
    return MigrationStep(
        subscription=subscription,
        from_version=subscription.plan_version.version,
        outcome=outcome,
        effective_at=effective_at,
        code=code,
        reason=reason,
    )


def _effect(version: PlanVersion, subscription_ids: list[UUID]) -> backtest.Backtest | None:
    periods = subscription_selectors.periods_closed_last(subscription_ids=subscription_ids)
    span = periods.aggregate(starts_at=Min("starts_at"), ends_at=Max("ends_at"))
    if span["starts_at"] is None:
        return None
    return backtest.periods_backtest(
        version=version, periods=periods, starts_at=span["starts_at"], ends_at=span["ends_at"]
    )


def _invalid(pointer: str, code: str, detail: str) -> PlanMigrationInvalid:
    return PlanMigrationInvalid(
        f"The subscriptions cannot be moved: {pointer} {detail}.", problems=(FieldProblem(pointer, code, detail),)
    )
