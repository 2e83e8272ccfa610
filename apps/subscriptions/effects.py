"""What an agreed change does to its subscription when its instant comes."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from apps.audit import services as audit_services
from apps.common.actors import Actor
from apps.common.db import unit_of_work
from apps.lifecycle.services import transition_apply
from apps.messaging import services as messaging_services
from apps.subscriptions import selectors
from apps.subscriptions.models import ChangeKind, Subscription, SubscriptionChange, SubscriptionStatus

_RUNNING = (SubscriptionStatus.TRIALING, SubscriptionStatus.ACTIVE)
# What each change starts from, when its instant comes.
_ALLOWED: Mapping[ChangeKind, tuple[SubscriptionStatus, ...]] = {
    ChangeKind.PLAN: _RUNNING,
    ChangeKind.QUANTITY: _RUNNING,
    ChangeKind.PAUSE: (SubscriptionStatus.ACTIVE,),
    ChangeKind.RESUME: (SubscriptionStatus.PAUSED,),
    ChangeKind.CANCEL: (SubscriptionStatus.PENDING, *_RUNNING, SubscriptionStatus.PAUSED),
}


@unit_of_work
def change_take_effect(*, subscription: Subscription, change: SubscriptionChange, actor: Actor) -> None:
    """
    Apply a scheduled change at its own instant; the caller holds the subscription's row lock.

    One that the subscription's status no longer allows is withdrawn with that reason: it must not hold up the billing
    of what goes on. With an end, whatever was agreed for later is withdrawn.
    """
    if subscription.status not in _ALLOWED[ChangeKind(change.kind)]:
        comment = f"Overtaken: the subscription is {subscription.status} when it would take effect."
        change_withdraw(change=change, actor=actor, at=change.effective_at, comment=comment)
        return
    at, reason = change.effective_at, (change.reason_code, change.comment)
    if change.kind in (ChangeKind.PLAN, ChangeKind.QUANTITY):
        _terms_change(subscription, change, actor=actor, at=at)
    elif change.kind == ChangeKind.PAUSE:
        subscription.pause_mode = change.pause_mode
        _transition(subscription, "pause", "paused", actor=actor, at=at, reason=reason, save_fields=("pause_mode",))
    elif change.kind == ChangeKind.RESUME:
        _transition(subscription, "resume", "resumed", actor=actor, at=at, reason=reason)
    else:
        _transition(subscription, "end", "ended", actor=actor, at=at, reason=reason)
    change.applied_at = at
    change.save(update_fields=["applied_at"])
    if change.kind == ChangeKind.CANCEL:
        for later in selectors.changes_scheduled(subscription_id=subscription.id):
            change_withdraw(change=later, actor=actor, at=at, comment="Overtaken: the subscription has ended.")


@unit_of_work
def change_withdraw(*, change: SubscriptionChange, actor: Actor, at: datetime, comment: str) -> None:
    """Take back a scheduled change; a pause takes the return that was agreed with it along."""
    change.withdrawn_at = at
    change.save(update_fields=["withdrawn_at"])
    audit_services.entry_write(
        entity=change.subscription,
        action="withdraw_change",
        actor=actor,
        at=at,
        before={"change": change.public_id, "effective_at": change.effective_at.isoformat()},
        after={},
        comment=comment,
    )
    if change.kind == ChangeKind.PAUSE:
        scheduled = selectors.changes_scheduled(subscription_id=change.subscription_id)
        for paired in scheduled.filter(kind=ChangeKind.RESUME):
            change_withdraw(change=paired, actor=actor, at=at, comment=comment)


def _terms_change(subscription: Subscription, change: SubscriptionChange, *, actor: Actor, at: datetime) -> None:
    before = _terms_of(subscription)
    if change.plan_version is not None:
        subscription.plan_version = change.plan_version
    if change.quantity is not None:
        subscription.quantity = change.quantity
    subscription.save(update_fields=["plan_version", "quantity"])
    after = _terms_of(subscription)
    audit_services.entry_write(
        entity=subscription,
        action=f"change_{change.kind}",
        actor=actor,
        at=at,
        before=before,
        after={**after, "change": change.public_id},
        reason_code=change.reason_code,
        comment=change.comment,
    )
    messaging_services.event_publish(
        topic="subscriptions.subscription.changed",
        aggregate_type=Subscription.entity_type(),
        aggregate_id=subscription.id,
        payload={"id": subscription.public_id, "customer": subscription.customer.public_id, **after},
        actor=actor,
        at=at,
    )


def _terms_of(subscription: Subscription) -> dict[str, Any]:
    version = subscription.plan_version
    return {"plan": version.plan.code, "plan_version": version.version, "quantity": str(subscription.quantity)}


def _transition(
    subscription: Subscription,
    action: str,
    news: str,
    *,
    actor: Actor,
    at: datetime,
    reason: tuple[str, str],
    save_fields: tuple[str, ...] = (),
) -> None:
    transition_apply(
        instance=subscription,
        action=action,
        actor=actor,
        at=at,
        topic=f"subscriptions.subscription.{news}",
        payload={"customer": subscription.customer.public_id},
        save_fields=save_fields,
        reason=reason,
    )
