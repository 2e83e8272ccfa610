"""What comes round for subscriptions by itself: beginnings, agreed changes, the ends of trials.

Each is looked for as a row that is due by its customer's own clock, so a missed tick is caught up by the next and a
doubled one finds nothing left. They come before billing: a period is closed on the terms that were agreed for it.
"""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import structlog
from celery.exceptions import SoftTimeLimitExceeded
from django.db.models import QuerySet

from apps.common.actors import Actor
from apps.common.errors import DomainError
from apps.customers import selectors as customer_selectors
from apps.lifecycle.errors import TransitionRefused
from apps.subscriptions import changes, selectors, services
from apps.subscriptions.models import Subscription

log = structlog.get_logger(__name__)

# What is left waits for the next tick, visibly due.
TURNS_MAX = 500


def turns_due(*, actor: Actor, at: datetime, customer_ids: list[UUID] | None = None) -> int:
    """Begin, change and end the trials of what is due, for all customers or some; return how many turned."""
    return (
        _each(selectors.subscriptions_to_activate(at=at), customer_ids, lambda row: _begin(row, actor))
        # What was agreed for the end of a trial comes before what happens there by itself: who left pays nothing.
        + _each(selectors.subscriptions_with_changes_due(at=at), customer_ids, lambda row: _change(row, at))
        + _each(selectors.trials_over(at=at), customer_ids, lambda row: _trial_end(row, actor))
    )


def _each(due: QuerySet[Subscription], customer_ids: list[UUID] | None, turn: Callable[[Subscription], object]) -> int:
    if customer_ids is not None:
        due = due.filter(customer_id__in=customer_ids)
    count = 0
    for subscription in list(due.select_related("customer__test_clock")[:TURNS_MAX]):
        try:
            turn(subscription)
            count += 1
        except TransitionRefused:
            log.info("turned by somebody else", subscription=subscription.public_id)
        except SoftTimeLimitExceeded:
            raise
        except DomainError as error:
            # It stays due and is tried again; the others are not held up.
            log.warning("turn refused", subscription=subscription.public_id, code=error.code, detail=error.detail)
        except Exception:  # noqa: BLE001  one bad row must not hold up the others; the bug is logged in full
            log.exception("turn failed", subscription=subscription.public_id)
    return count


def _begin(subscription: Subscription, actor: Actor) -> None:
    services.subscription_begin(subscription_id=subscription.id, actor=actor)


def _trial_end(subscription: Subscription, actor: Actor) -> None:
    assert subscription.trial_ends_at is not None  # noqa: S101  asked for by the selector
    services.subscription_activate(subscription_id=subscription.id, actor=actor, at=subscription.trial_ends_at)


def _change(subscription: Subscription, at: datetime) -> None:
    now_at = customer_selectors.customer_now(customer=subscription.customer, at=at)
    changes.changes_catch_up(subscription_id=subscription.id, at=now_at)
