"""Write subscriptions and their periods."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

from apps.audit import services as audit_services
from apps.common import ids, locks
from apps.common.actors import Actor
from apps.common.db import unit_of_work
from apps.common.errors import FieldProblem
from apps.customers.models import Customer
from apps.lifecycle.services import transition_apply
from apps.plans import selectors as plan_selectors
from apps.plans import terms
from apps.plans.models import PlanVersion
from apps.subscriptions import selectors, timeline
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
_ONE = Decimal(1)


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
    quantity: Decimal = _ONE,
) -> Subscription:
    """
    Pin a customer to the plan version in effect at the start, and store the first period.

    The subscription begins at once when its start has come, else when its time comes. With a trial, an anniversary is
    counted from the trial's end.

    :raises SubscriptionInvalid: if the code reads like an id of ours
    :raises PlanUnknown: if no version of the plan is on sale at the start
    :raises PlanCurrencyDiffers: if the customer is billed in another currency
    :raises SubscriptionExists: if the code is taken
    :raises MeterChargedTwice: if another subscription of the customer would bill the same usage
    """
    if not quantity.is_finite() or quantity < 0:
        detail = "must be zero or more"
        raise SubscriptionInvalid(
            f"The quantity {detail}.", problems=(FieldProblem("/quantity", "quantity_invalid", detail),)
        )
    if external_id and ids.looks_public(external_id):
        # Whoever asks for it by its id must never be given another subscription.
        detail = f"'{external_id}' reads like an id of ours; choose a code of your own."
        raise SubscriptionInvalid(detail, problems=(FieldProblem("/external_id", "external_id_invalid", detail),))
    version = plan_selectors.plan_version_current(plan_code=plan_code, at=starts_at, customer_id=customer.id)
    if external_id and Subscription.objects.filter(external_id=external_id).exists():
        raise SubscriptionExists(f"There is a subscription '{external_id}' already.")
    version_ensure_chargeable(customer=customer, version=version, starts_at=starts_at)
    trial_ends_at = terms.trial_ends_at(version, starts_at=starts_at, timezone=customer.timezone)
    subscription = Subscription.objects.create(
        external_id=external_id or None,
        customer=customer,
        plan_version=version,
        quantity=quantity,
        starts_at=starts_at,
        trial_ends_at=trial_ends_at,
        anchor_kind=anchor_kind,
        anchor_wall=(trial_ends_at or starts_at).astimezone(ZoneInfo(customer.timezone)).replace(tzinfo=UTC),
        timezone=customer.timezone,
    )
    timeline.period_open_next(subscription=subscription)
    audit_services.entry_write(
        entity=subscription,
        action="create",
        actor=actor,
        at=at,
        before={},
        after={"customer": customer.public_id, "plan": plan_code, "plan_version": version.version},
    )
    if starts_at <= at:
        subscription_begin(subscription_id=subscription.id, actor=actor)
        subscription.refresh_from_db()
    return subscription


@unit_of_work
def version_ensure_chargeable(
    *, customer: Customer, version: PlanVersion, starts_at: datetime, besides: UUID | None = None
) -> None:
    """
    Check that a customer can be billed by a version from an instant on; the customer's row stays locked.

    :param besides: the customer's subscription that is to be moved to the version
    :raises PlanCurrencyDiffers: if the customer is billed in another currency
    :raises MeterChargedTwice: if another subscription of the customer would bill the same usage
    """
    if version.currency != customer.currency:
        raise PlanCurrencyDiffers(
            f"Plan '{version.plan.code}' is priced in {version.currency}, the customer is billed in "
            f"{customer.currency}."
        )
    # The customer's row orders those who subscribe it at once, so that the check sees what it checks.
    locks.get_for_update(Customer, customer.id)
    meters = selectors.meters_charged_meanwhile(
        customer_id=customer.id, version=version, starts_at=starts_at, besides=besides
    )
    if meters:
        raise MeterChargedTwice(
            f"Another subscription of {customer} charges {', '.join(meters)} at that time, so the same usage would be "
            "billed twice. End it first, start when its last period is over, or use a plan without these meters."
        )


@unit_of_work
def subscription_begin(*, subscription_id: UUID, actor: Actor) -> Subscription:
    """
    Begin an agreed subscription at its start: with its trial if it has one, else active.

    :raises TransitionRefused: if it has begun or ended already
    """
    subscription = locks.get_for_update(Subscription, subscription_id)
    if subscription.trial_ends_at is None:
        return subscription_activate(subscription_id=subscription_id, actor=actor, at=subscription.starts_at)
    transition_apply(
        instance=subscription,
        action="begin_trial",
        actor=actor,
        at=subscription.starts_at,
        topic="subscriptions.subscription.trial_begun",
        payload={"customer": subscription.customer.public_id},
    )
    return subscription


@unit_of_work
def subscription_activate(*, subscription_id: UUID, actor: Actor, at: datetime) -> Subscription:
    """
    Let a subscription be billed from now on, because it begins or its trial is over.

    :raises TransitionRefused: if it is active or ended already
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
    return later or timeline.period_open_next(subscription=subscription)


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
