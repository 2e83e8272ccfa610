"""What an agreed change does to its subscription when its instant comes."""

from datetime import datetime
from typing import Any

from apps.audit import services as audit_services
from apps.common.actors import Actor
from apps.common.db import unit_of_work
from apps.lifecycle.services import transition_apply
from apps.messaging import services as messaging_services
from apps.subscriptions.models import ChangeKind, Subscription, SubscriptionChange


@unit_of_work
def change_take_effect(*, subscription: Subscription, change: SubscriptionChange, actor: Actor) -> None:
    """
    Apply a scheduled change at its own instant; the caller holds the subscription's row lock.

    :raises TransitionRefused: if the subscription's status does not allow it
    """
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
