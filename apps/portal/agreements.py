"""What a customer is on, in sentences: plan and quantity, a trial, a pause, and what is agreed to come."""

from dataclasses import dataclass
from datetime import datetime

from apps.common import formatting
from apps.portal.access import Viewer
from apps.subscriptions import selectors
from apps.subscriptions.models import ChangeKind, PauseMode, Subscription, SubscriptionChange, SubscriptionStatus

_STATES = {
    SubscriptionStatus.PENDING: ("Not begun", "info"),
    SubscriptionStatus.TRIALING: ("Trial", "info"),
    SubscriptionStatus.ACTIVE: ("Active", "success"),
    SubscriptionStatus.PAUSED: ("Paused", "neutral"),
}
_PAUSES = {
    PauseMode.FREEZE: "nothing is billed, and what is left of the paid period is served afterwards",
    PauseMode.KEEP_FIXED: "fixed fees go on, usage is not billed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """One subscription as its customer reads it."""

    plan: str
    quantity: str  # empty when it is one
    state: str
    tone: str
    sentences: list[str]  # what is so, and then what is to come, in the order of time


def agreements_of(*, viewer: Viewer) -> list[Agreement]:
    """Return the customer's subscriptions that have not ended, the oldest first."""
    subscriptions = (
        selectors.subscriptions_queryset()
        .filter(customer=viewer.customer)
        .exclude(status=SubscriptionStatus.ENDED)
        .order_by("starts_at", "id")
    )
    return [_agreement(subscription, viewer) for subscription in subscriptions]


def _agreement(subscription: Subscription, viewer: Viewer) -> Agreement:
    state, tone = _STATES[SubscriptionStatus(subscription.status)]
    changes = selectors.changes_scheduled(subscription_id=subscription.id)
    return Agreement(
        plan=subscription.plan_version.plan.name,
        quantity="" if subscription.quantity == 1 else formatting.number_text(subscription.quantity, viewer.locale),
        state=state,
        tone=tone,
        sentences=[*_now(subscription, viewer), *(_to_come(change, subscription, viewer) for change in changes)],
    )


def _now(subscription: Subscription, viewer: Viewer) -> list[str]:
    def at(moment: datetime | None) -> str:
        return "" if moment is None else formatting.instant_text(moment, subscription.timezone, viewer.locale)

    if subscription.status == SubscriptionStatus.PENDING:
        return [f"Begins on {at(subscription.starts_at)}."]
    if subscription.status == SubscriptionStatus.TRIALING:
        return [f"Free of charge until {at(subscription.trial_ends_at)}, when your trial ends."]
    if subscription.status == SubscriptionStatus.PAUSED:
        return [f"Paused since {at(subscription.paused_at)}: {_PAUSES[PauseMode(subscription.pause_mode)]}."]
    return []


def _to_come(change: SubscriptionChange, subscription: Subscription, viewer: Viewer) -> str:
    moment = formatting.instant_text(change.effective_at, subscription.timezone, viewer.locale)
    quantity = "" if change.quantity is None else formatting.number_text(change.quantity, viewer.locale)
    if change.kind == ChangeKind.PLAN:
        assert change.plan_version is not None  # noqa: S101  a check constraint says so
        with_quantity = f" with quantity {quantity}" if quantity else ""
        return f"From {moment} you are on {change.plan_version.plan.name}{with_quantity}."
    if change.kind == ChangeKind.QUANTITY:
        return f"From {moment} your quantity is {quantity}."
    if change.kind == ChangeKind.PAUSE:
        return f"Pauses on {moment}: {_PAUSES[PauseMode(change.pause_mode)]}."
    return f"Goes on, on {moment}." if change.kind == ChangeKind.RESUME else f"Ends on {moment}; no period follows."
