"""Change a subscription and show what it means: the change, and the document that it makes.

The document is the real one rolled back, so what a rehearsal of a change shows is what the change bills, provided that
it is carried out for the instant that the rehearsal named.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from apps.common.actors import Actor
from apps.common.db import unit_of_work
from apps.customers import selectors as customer_selectors
from apps.subscriptions import changes, selectors
from apps.subscriptions.inputs import TermsChange, When
from apps.subscriptions.models import BillingPeriod, BillingPeriodStatus, Subscription, SubscriptionChange
from apps.workflows import cycle_close


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeOutcome:
    """A change, and the document of the time that it closed; none when nothing is closed yet, or nothing is due."""

    change: SubscriptionChange
    document: dict[str, Any] | None


@unit_of_work
def terms_change(
    *, subscription: Subscription, wanted: TermsChange, when: When, actor: Actor, at: datetime
) -> ChangeOutcome:
    """
    Move a subscription to other terms, and return the change with the document it makes.

    :raises DomainError: as `subscription_change` refuses
    """
    now_at = customer_selectors.customer_now(customer=subscription.customer, at=at)
    change = changes.subscription_change(
        subscription_id=subscription.id, wanted=wanted, when=when, actor=actor, at=now_at
    )
    return _outcome(change, actor=actor, at=now_at)


@unit_of_work
def cancel(*, subscription: Subscription, when: When, actor: Actor, at: datetime) -> ChangeOutcome:
    """
    End a subscription now or later, and return the change with the document it makes.

    :raises DomainError: as `subscription_cancel` refuses
    """
    now_at = customer_selectors.customer_now(customer=subscription.customer, at=at)
    change = changes.subscription_cancel(subscription_id=subscription.id, when=when, actor=actor, at=now_at)
    return _outcome(change, actor=actor, at=now_at)


@unit_of_work
def pause(
    *, subscription: Subscription, mode: str, when: When, resume_at: datetime | None, actor: Actor, at: datetime
) -> ChangeOutcome:
    """
    Let a subscription rest, and return the change with the document it makes.

    :raises DomainError: as `subscription_pause` refuses
    """
    now_at = customer_selectors.customer_now(customer=subscription.customer, at=at)
    change = changes.subscription_pause(
        subscription_id=subscription.id, mode=mode, when=when, resume_at=resume_at, actor=actor, at=now_at
    )
    return _outcome(change, actor=actor, at=now_at)


@unit_of_work
def resume(
    *, subscription: Subscription, effective_at: datetime | None, actor: Actor, at: datetime, comment: str = ""
) -> ChangeOutcome:
    """
    Let a paused subscription go on, and return the change with the document it makes.

    :raises DomainError: as `subscription_resume` refuses
    """
    now_at = customer_selectors.customer_now(customer=subscription.customer, at=at)
    change = changes.subscription_resume(
        subscription_id=subscription.id, effective_at=effective_at, actor=actor, at=now_at, comment=comment
    )
    return _outcome(change, actor=actor, at=now_at)


@unit_of_work
def withdraw(
    *, subscription: Subscription, change_id: UUID, actor: Actor, at: datetime, comment: str = ""
) -> SubscriptionChange:
    """
    Take back a scheduled change, and return it.

    :raises ChangeNotScheduled: if it took effect or was withdrawn
    """
    now_at = customer_selectors.customer_now(customer=subscription.customer, at=at)
    return changes.change_withdraw(change_id=change_id, actor=actor, at=now_at, comment=comment)


def _outcome(change: SubscriptionChange, *, actor: Actor, at: datetime) -> ChangeOutcome:
    closed = _closed_by(change)
    document = None if closed is None else cycle_close.period_preview(period=closed, actor=actor, at=at)
    return ChangeOutcome(change=change, document=document)


def _closed_by(change: SubscriptionChange) -> BillingPeriod | None:
    """Return the period that ended where the change took effect, if it did and is still to be billed."""
    if change.applied_at is None:
        return None
    periods = selectors.periods_of(subscription_id=change.subscription_id)
    return periods.filter(ends_at=change.effective_at, status=BillingPeriodStatus.OPEN).first()
