"""Read subscriptions and their periods."""

from collections.abc import Iterable
from datetime import UTC, datetime
from uuid import UUID

from django.db.models import Count, Exists, F, Min, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce

from apps.common import ids
from apps.engine import periods
from apps.plans import terms
from apps.plans.models import Charge, PlanVersion
from apps.subscriptions.errors import ChangeUnknown, SubscriptionUnknown
from apps.subscriptions.models import (
    BillingPeriod,
    BillingPeriodKind,
    BillingPeriodStatus,
    Subscription,
    SubscriptionChange,
    SubscriptionStatus,
)


def subscriptions_queryset() -> QuerySet[Subscription]:
    """Return all subscriptions with what lists show, newest first."""
    return Subscription.objects.select_related("customer", "plan_version__plan").order_by("-id")


def subscription_by_reference(reference: str) -> Subscription:
    """
    Return the subscription with this public id or code of the caller.

    :raises SubscriptionUnknown: if there is none
    """
    try:
        match = Q(id=Subscription.id_from_public(reference))
    except ids.IdInvalid:
        match = Q(external_id=reference)
    subscription = subscriptions_queryset().filter(match).first() if ids.is_searchable(reference) else None
    if subscription is None:
        raise SubscriptionUnknown(f"There is no subscription '{reference}'.")
    return subscription


def subscriptions_on(*, version_id: UUID) -> int:
    """Return how many subscriptions that have not ended are on a plan version."""
    return Subscription.objects.filter(plan_version_id=version_id).exclude(status=SubscriptionStatus.ENDED).count()


def subscription_counts(*, plan_id: UUID) -> dict[UUID, int]:
    """Return how many subscriptions that have not ended are on each version of a plan that has any."""
    alive = Subscription.objects.filter(plan_version__plan_id=plan_id).exclude(status=SubscriptionStatus.ENDED)
    return dict(alive.order_by().values_list("plan_version_id").annotate(Count("id")))


def subscriptions_alive_on(*, plan_id: UUID) -> QuerySet[Subscription]:
    """Return the subscriptions to a plan that have not ended, whatever its version, oldest first."""
    return (
        Subscription.objects.filter(plan_version__plan_id=plan_id)
        .exclude(status=SubscriptionStatus.ENDED)
        .select_related("customer__test_clock", "plan_version__plan")
        .order_by("id")
    )


def periods_closed_last(*, subscription_ids: Iterable[UUID]) -> QuerySet[BillingPeriod]:
    """Return the regular period that was closed last of each subscription that has one, in the order of customers."""
    closed = BillingPeriod.objects.filter(
        subscription_id__in=subscription_ids, status=BillingPeriodStatus.CLOSED, kind=BillingPeriodKind.REGULAR
    )
    last = closed.order_by("subscription_id", "-sequence").distinct("subscription_id")
    return BillingPeriod.objects.filter(id__in=last.values("id")).order_by(
        "subscription__customer__external_id", "subscription_id"
    )


def periods_of(*, subscription_id: UUID) -> QuerySet[BillingPeriod]:
    """Return a subscription's periods in order."""
    return (
        BillingPeriod.objects.filter(subscription_id=subscription_id)
        .select_related("plan_version__plan")
        .order_by("sequence")
    )


def subscription_ids_of(*, period_id: UUID) -> list[UUID]:
    """Return the id of the subscription that a period belongs to, in a list for who locks."""
    return list(BillingPeriod.objects.filter(id=period_id).values_list("subscription_id", flat=True))


def current_period(*, subscription_id: UUID, at: datetime) -> BillingPeriod | None:
    """Return the stored period that holds an instant."""
    return periods_of(subscription_id=subscription_id).filter(starts_at__lte=at, ends_at__gt=at).first()


def period_running(*, subscription_id: UUID, at: datetime) -> BillingPeriod | None:
    """Return the period whose close makes the next invoice: the one that holds `at`, else the earliest not closed."""
    waiting = periods_of(subscription_id=subscription_id).exclude(status=BillingPeriodStatus.CLOSED)
    return waiting.filter(starts_at__lte=at, ends_at__gt=at).first() or waiting.first()


def last_period(*, subscription_id: UUID) -> BillingPeriod | None:
    """Return the period stored last."""
    return periods_of(subscription_id=subscription_id).last()


def changes_of(*, subscription_id: UUID) -> QuerySet[SubscriptionChange]:
    """Return a subscription's changes, agreed, applied and withdrawn, in the order of their instants."""
    return (
        SubscriptionChange.objects.filter(subscription_id=subscription_id)
        .select_related("subscription__customer", "plan_version__plan")
        .order_by("effective_at", "id")
    )


def changes_scheduled(*, subscription_id: UUID) -> QuerySet[SubscriptionChange]:
    """Return the changes that wait for their instant, earliest first."""
    return changes_of(subscription_id=subscription_id).filter(applied_at__isnull=True, withdrawn_at__isnull=True)


def changes_waiting_for(*, version_id: UUID) -> QuerySet[SubscriptionChange]:
    """Return the changes to a plan version that wait for their instant, the earliest of a subscription last."""
    return SubscriptionChange.objects.filter(
        plan_version_id=version_id, applied_at__isnull=True, withdrawn_at__isnull=True
    ).order_by("-effective_at")


def change_by_reference(*, subscription_id: UUID, reference: str) -> SubscriptionChange:
    """
    Return a subscription's change with this public id.

    :raises ChangeUnknown: if there is none
    """
    try:
        change = changes_of(subscription_id=subscription_id).filter(id=SubscriptionChange.id_from_public(reference))
        return change.get()
    except (ids.IdInvalid, SubscriptionChange.DoesNotExist) as error:
        raise ChangeUnknown(f"The subscription has no change '{reference[:60]}'.") from error


def subscriptions_with_changes_due(*, at: datetime) -> QuerySet[Subscription]:
    """Return subscriptions for which an agreed change's instant has come by their customer's own clock."""
    return (
        Subscription.objects.annotate(now_at=Coalesce(F("customer__test_clock__now_at"), at))
        .filter(
            changes__effective_at__lte=F("now_at"),
            changes__applied_at__isnull=True,
            changes__withdrawn_at__isnull=True,
        )
        .exclude(status=SubscriptionStatus.ENDED)
        .annotate(due_at=Min("changes__effective_at"))
        .order_by("due_at", "id")
    )


def subscriptions_billed_per_event() -> QuerySet[Subscription]:
    """Return running subscriptions on terms with a metered charge in advance."""
    per_event = Charge.objects.filter(meter__isnull=False, timing="advance")
    return Subscription.objects.filter(
        status=SubscriptionStatus.ACTIVE, plan_version__in=per_event.values("plan_version")
    ).order_by("id")


def trials_over(*, at: datetime) -> QuerySet[Subscription]:
    """Return subscriptions whose trial has ended by their customer's own clock and that are still in it."""
    return (
        Subscription.objects.annotate(now_at=Coalesce(F("customer__test_clock__now_at"), at))
        .filter(status=SubscriptionStatus.TRIALING, trial_ends_at__lte=F("now_at"))
        .order_by("trial_ends_at", "id")
    )


def meters_charged_meanwhile(
    *, customer_id: UUID, version: PlanVersion, starts_at: datetime, besides: UUID | None = None
) -> list[str]:
    """
    Return the codes of the version's meters that a subscription of the customer charges at or after `starts_at`.

    An event that names no subscription counts for each one that charges its meter, so two would bill it twice. Plans
    that are agreed for later are charged, too.

    :param besides: a subscription that is left out, because it is the one to be changed
    """
    running = Subscription.objects.filter(customer_id=customer_id).filter(
        Q(ended_at__isnull=True) | Q(periods__ends_at__gt=starts_at, activated_at__isnull=False)
    )
    if besides is not None:
        running = running.exclude(id=besides)
    changes = SubscriptionChange.objects.filter(
        subscription__in=running, applied_at__isnull=True, withdrawn_at__isnull=True
    )
    charged = Charge.objects.filter(
        Q(plan_version__subscriptions__in=running) | Q(plan_version__changes_to__in=changes), meter__isnull=False
    )
    wanted = version.charges.filter(meter__isnull=False).values_list("meter__code", flat=True)
    return sorted(set(charged.values_list("meter__code", flat=True)) & set(wanted))


def engine_anchor(subscription: Subscription) -> periods.Anchor:
    """Return the anchor as the engine reads it; the wall time is stored as if it were UTC."""
    return periods.Anchor(
        kind=subscription.anchor_kind,  # type: ignore[arg-type]
        wall=subscription.anchor_wall.astimezone(UTC).replace(tzinfo=None),
        timezone=subscription.timezone,
    )


def engine_interval(subscription: Subscription) -> periods.Interval:
    """Return the plan's billing interval as the engine reads it."""
    return terms.interval_of(subscription.plan_version)


def periods_due(*, at: datetime, wall_at: datetime) -> QuerySet[BillingPeriod]:
    """
    Return periods that have ended by their customer's own clock and wait to be closed, oldest end first.

    A claim whose lease ran out is due again: the worker that held it is gone. Parked ones wait for a person, and one
    that an agreed change has yet to divide waits for that.
    """
    dividing = SubscriptionChange.objects.filter(
        subscription_id=OuterRef("subscription_id"),
        effective_at__gt=OuterRef("starts_at"),
        effective_at__lt=OuterRef("ends_at"),
        applied_at__isnull=True,
        withdrawn_at__isnull=True,
    )
    return (
        BillingPeriod.objects.annotate(
            now_at=Coalesce(F("subscription__customer__test_clock__now_at"), at),
        )
        .filter(
            Q(status=BillingPeriodStatus.OPEN) | Q(status=BillingPeriodStatus.CLOSING, claimed_until__lt=wall_at),
            ends_at__lte=F("now_at"),
            parked_at__isnull=True,
        )
        .filter(~Exists(dividing))
        # What never began owes nothing, and what has yet to begin is begun first.
        .filter(
            Q(subscription__activated_at__isnull=False)
            | Q(subscription__status=SubscriptionStatus.TRIALING)
            | Q(subscription__trial_ends_at__isnull=False, subscription__ended_at__gt=F("subscription__starts_at"))
        )
        .order_by("ends_at", "id")
    )


def subscriptions_to_activate(*, at: datetime) -> QuerySet[Subscription]:
    """Return agreed subscriptions whose time has come by their customer's own clock."""
    return (
        Subscription.objects.annotate(now_at=Coalesce(F("customer__test_clock__now_at"), at))
        .filter(status=SubscriptionStatus.PENDING, starts_at__lte=F("now_at"))
        .order_by("starts_at", "id")
    )


def parked_periods() -> QuerySet[BillingPeriod]:
    """Return the periods that could not be closed, longest waiting first."""
    return (
        BillingPeriod.objects.filter(parked_at__isnull=False)
        .exclude(status=BillingPeriodStatus.CLOSED)
        .select_related("subscription__customer", "subscription__plan_version__plan")
        .order_by("parked_at")
    )
