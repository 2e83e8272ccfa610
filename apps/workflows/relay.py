"""Carry domain events to their handlers: claim, commit, then handle, then mark.

At least once, in order per aggregate and handler.
"""

import time
from datetime import datetime, timedelta

import structlog
from celery.exceptions import SoftTimeLimitExceeded

from apps.common.errors import DomainError
from apps.messaging import services as messaging_services
from apps.messaging.models import DomainEvent
from apps.messaging.services import ClaimedMessage
from apps.workflows import subscribers

log = structlog.get_logger(__name__)

BATCH = 50
ROUNDS_MAX = 200


def outbox_relay(*, wall_at: datetime) -> int:
    """Handle every message that is due, batch by batch, and return how many handlers returned."""
    done = 0
    # Leases are counted from `wall_at`: half a lease before they end nothing more is taken up, and what was claimed
    # and not begun comes back by itself.
    stop_at = time.monotonic() + messaging_services.LEASE // timedelta(seconds=2)
    for _round in range(ROUNDS_MAX):
        claimed = messaging_services.outbox_claim(limit=BATCH, wall_at=wall_at)
        for message in claimed:
            if time.monotonic() > stop_at:
                return done
            done += _handle(message, wall_at=wall_at)
        if not claimed:
            break
    return done


def _handle(message: ClaimedMessage, *, wall_at: datetime) -> bool:
    # The claim is committed: nothing of the relay is held open while a handler works.
    event = DomainEvent.objects.get(id=message.event_id)
    handler = subscribers.handler_named(topic=event.topic, name=message.handler)
    if handler is None:
        messaging_services.outbox_failed(
            message_id=message.id,
            attempt=message.attempts,
            error=f"No handler '{message.handler}' listens to '{event.topic}' any more.",
            is_final=True,
            wall_at=wall_at,
        )
        return False
    try:
        handler(event=event, wall_at=wall_at)
    except DomainError as error:
        # A refusal will be the same next time, unless the world changes: a person decides.
        _fail(message, f"{error.code}: {error.detail}", is_final=True, wall_at=wall_at)
    except SoftTimeLimitExceeded:
        # The worker is told to end; the lease gives the message back.
        raise
    except Exception as error:  # noqa: BLE001  whatever it was, the message is kept and tried again
        log.exception("handler failed", handler=message.handler, topic=event.topic)
        _fail(message, f"{type(error).__name__}: {error}", is_final=False, wall_at=wall_at)
    else:
        messaging_services.outbox_done(message_id=message.id, attempt=message.attempts, wall_at=wall_at)
        return True
    return False


def _fail(message: ClaimedMessage, error: str, *, is_final: bool, wall_at: datetime) -> None:
    messaging_services.outbox_failed(
        message_id=message.id, attempt=message.attempts, error=error, is_final=is_final, wall_at=wall_at
    )
