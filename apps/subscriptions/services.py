"""Write subscriptions and their periods."""

from datetime import UTC, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from apps.audit import services as audit_services
from apps.common import ids, locks
from apps.common.actors import Actor
from apps.common.db import unit_of_work
from apps.common.errors import FieldProblem
from apps.customers.models import Customer
from apps.engine import periods
from apps.lifecycle.services import transition_apply
from apps.plans import selectors as plan_selectors
from apps.subscriptions import selectors
from apps.subscriptions.errors import (
    MeterChargedTwice,
    PeriodNotClaimed,
    PeriodNotParked,
    PlanCurrencyDiffers,
    SubscriptionExists,
    SubscriptionInvalid,
)
from apps.subscriptions.models import (
    AnchorKind,
    BillingPeriod,
    BillingPeriodStatus,
    Subscription,
)

# Longer than closing one period ever takes; a worker that died is replaced after this.
CLAIM_LEASE = timedelta(minutes=10)


@unit_of_work
def subscription_create(
    *,
    customer: Customer,
    plan_code: str,
    starts_at: datetime,
    actor: Actor,
    at: datetime,
    anchor_kind: str = AnchorKind.ANNIVERSARY,
    external_id: str | None = None,
) -> Subscription:
    """
    Pin a customer to the plan version in effect at the start, and store the first period.

    The subscription begins at once when its start has come, else when its time comes.

    :raises SubscriptionInvalid: if the code reads like an id of ours
    :raises PlanUnknown: if no version of the plan is on sale at the start
    :raises PlanCurrencyDiffers: if the customer is billed in another currency
    :raises SubscriptionExists: if the code is taken
    :raises MeterChargedTwice: if another subscription of the customer would bill the same usage
    """
    if external_id and ids.looks_public(external_id):
        # Whoever asks for it by its id must never be given another subscription.
        detail = f"'{external_id}' reads like an id of ours; choose a code of your own."
        raise SubscriptionInvalid(detail, problems=(FieldProblem("/external_id", "external_id_invalid", detail),))
    version = plan_selectors.plan_version_current(plan_code=plan_code, at=starts_at)
    if version.currency != customer.currency:
        raise PlanCurrencyDiffers(
            f"Plan '{plan_code}' is priced in {version.currency}, the customer is billed in {customer.currency}."
        )
    if external_id and Subscription.objects.filter(external_id=external_id).exists():
        raise SubscriptionExists(f"There is a subscription '{external_id}' already.")
    # The customer's row orders those who subscribe it at once, so that the check sees what it checks.
    locks.get_for_update(Customer, customer.id)
    meters = selectors.meters_charged_meanwhile(customer_id=customer.id, version=version, starts_at=starts_at)
    if meters:
        raise MeterChargedTwice(
            f"Another subscription of {customer} charges {', '.join(meters)} at that time, so the same usage would be "
            "billed twice. End it first, start when its last period is over, or use a plan without these meters."
        )
    subscription = Subscription.objects.create(
        external_id=external_id or None,
        customer=customer,
        plan_version=version,
        starts_at=starts_at,
        anchor_kind=anchor_kind,
        anchor_wall=starts_at.astimezone(ZoneInfo(customer.timezone)).replace(tzinfo=UTC),
        timezone=customer.timezone,
    )
    period_open_next(subscription=subscription)
    audit_services.entry_write(
        entity=subscription,
        action="create",
        actor=actor,
        at=at,
        before={},
        after={"customer": customer.public_id, "plan": plan_code, "plan_version": version.version},
    )
    if starts_at <= at:
        subscription_activate(subscription_id=subscription.id, actor=actor, at=starts_at)
        subscription.refresh_from_db()
    return subscription


@unit_of_work
def subscription_activate(*, subscription_id: UUID, actor: Actor, at: datetime) -> Subscription:
    """
    Begin a subscription whose time has come.

    :raises TransitionRefused: if it has begun or ended already
    """
    subscription = locks.get_for_update(Subscription, subscription_id)
    transition_apply(
        instance=subscription,
        action="activate",
        actor=actor,
        at=at,
        topic="subscriptions.subscription.activated",
        payload={"customer": subscription.customer.public_id},
    )
    return subscription


@unit_of_work
def subscription_end(*, subscription_id: UUID, actor: Actor, at: datetime, reason: tuple[str, str]) -> Subscription:
    """
    End a subscription: the period running now is its last and is billed when it ends.

    :raises TransitionRefused: if it has ended already
    """
    subscription = locks.get_for_update(Subscription, subscription_id)
    transition_apply(
        instance=subscription,
        action="end",
        actor=actor,
        at=at,
        topic="subscriptions.subscription.ended",
        payload={"customer": subscription.customer.public_id},
        reason=reason,
    )
    return subscription


@unit_of_work
def period_open_next(*, subscription: Subscription) -> BillingPeriod:
    """Store the period after the last one, or the first; boundaries come from the anchor, never from the last."""
    anchor, interval = selectors.engine_anchor(subscription), selectors.engine_interval(subscription)
    last = selectors.last_period(subscription_id=subscription.id)
    if last is None:
        period = periods.first_period(anchor=anchor, interval=interval, starts_at=subscription.starts_at)
    else:
        period = periods.period_after(
            anchor=anchor, interval=interval, period=periods.Period(last.starts_at, last.ends_at)
        )
    full = periods.full_period_of(anchor=anchor, interval=interval, period=period)
    if last is None and subscription.anchor_kind == AnchorKind.ANNIVERSARY:
        # The anchor is a wall time, which names two instants in the hour that is repeated in autumn; whichever it
        # was, the first period is whole.
        full = period
    return BillingPeriod.objects.create(
        subscription=subscription,
        sequence=last.sequence + 1 if last else 1,
        starts_at=period.starts_at,
        ends_at=period.ends_at,
        full_starts_at=full.starts_at,
        full_ends_at=full.ends_at,
        plan_version=subscription.plan_version,
        quantity=subscription.quantity,
    )


@unit_of_work
def periods_claim(
    *, limit: int, actor: Actor, at: datetime, wall_at: datetime, customer_ids: list[UUID] | None = None
) -> list[BillingPeriod]:
    """
    Claim up to `limit` due periods for closing and return them, fenced by a token; two runs never share one.

    :param wall_at: the wall clock, for the lease; a test clock says when a period is due, not when a worker died
    """
    due = selectors.periods_due(at=at, wall_at=wall_at)
    if customer_ids is not None:
        due = due.filter(subscription__customer_id__in=customer_ids)
    claimed = list(due.select_for_update(of=("self",), skip_locked=True)[:limit])
    for period in claimed:
        period.claim_token = ids.new_id()
        period.claimed_until = wall_at + CLAIM_LEASE
        if period.status == BillingPeriodStatus.OPEN:
            transition_apply(
                instance=period, action="claim", actor=actor, at=at, save_fields=("claim_token", "claimed_until")
            )
        else:
            period.save(update_fields=["claim_token", "claimed_until"])
    return claimed


@unit_of_work
def period_lock_claimed(*, period_id: UUID, claim_token: UUID) -> BillingPeriod:
    """
    Lock a claimed period for the rest of the unit of work.

    :raises PeriodNotClaimed: if it was claimed by somebody else meanwhile, or is closed
    """
    period = locks.get_for_update(BillingPeriod, period_id)
    if period.status != BillingPeriodStatus.CLOSING or period.claim_token != claim_token:
        raise PeriodNotClaimed(f"Period {period.public_id} is {period.status} and not held by this run any more.")
    return period


@unit_of_work
def period_following(*, period: BillingPeriod) -> BillingPeriod | None:
    """Return the period after this one, storing it if need be; none when the subscription ended in this one."""
    subscription = period.subscription
    if subscription.ended_at is not None and subscription.ended_at <= period.ends_at:
        return None
    later = selectors.periods_of(subscription_id=subscription.id).filter(sequence=period.sequence + 1).first()
    return later or period_open_next(subscription=subscription)


@unit_of_work
def period_finish(*, period: BillingPeriod, actor: Actor, at: datetime) -> None:
    """Close a claimed period whose invoice exists or that owes none."""
    transition_apply(instance=period, action="close", actor=actor, at=at)


@unit_of_work
def period_park(*, period_id: UUID, claim_token: UUID, reason: str, actor: Actor, at: datetime) -> None:
    """
    Set a period aside with the reason, so that the run goes on and somebody looks.

    :raises PeriodNotClaimed: if somebody else has it
    """
    period = period_lock_claimed(period_id=period_id, claim_token=claim_token)
    period.parked_at, period.park_reason = at, reason[:2_000]
    period.save(update_fields=["parked_at", "park_reason"])
    audit_services.entry_write(
        entity=period, action="park", actor=actor, at=at, before={}, after={"reason": period.park_reason}
    )


@unit_of_work
def period_unpark(*, period_id: UUID, actor: Actor, at: datetime) -> BillingPeriod:
    """
    Let the next billing run try a parked period again.

    :raises PeriodNotParked: if it is not parked
    """
    period = locks.get_for_update(BillingPeriod, period_id)
    if period.parked_at is None or period.status == BillingPeriodStatus.CLOSED:
        raise PeriodNotParked(f"Period {period.public_id} is not parked.")
    reason = period.park_reason
    # The claim of the run that parked it is given back with it.
    period.parked_at, period.park_reason, period.claimed_until = None, "", at
    period.save(update_fields=["parked_at", "park_reason", "claimed_until"])
    audit_services.entry_write(entity=period, action="unpark", actor=actor, at=at, before={"reason": reason}, after={})
    return period
