"""Dry runs: the real path, rolled back, with the books and the news it would have written."""

from collections.abc import Callable
from typing import Any

from rest_framework.response import Response

from apps.common import context
from apps.common.db import rolled_back
from apps.engine.money import minor_to_text
from apps.ledger import selectors as ledger_selectors
from apps.messaging import selectors as messaging_selectors
from apps.messaging.models import DomainEvent


def rehearsed(work: Callable[[], Response]) -> Response:
    """Return the answer of the work with `dry_run`: postings and domain events it would have left; nothing stays."""
    with rolled_back():
        # The caller may choose the request id, and may have chosen it before.
        earlier = {event.id for event in _events()}
        response = work()
        events = [event for event in _events() if event.id not in earlier]
        response.data = {
            **(response.data or {}),
            "dry_run": {
                "domain_events": [
                    {"topic": event.topic, "sequence": event.sequence, "payload": event.payload} for event in events
                ],
                "postings": [
                    posting
                    for source_type, source_id in dict.fromkeys((e.aggregate_type, e.aggregate_id) for e in events)
                    for posting in _postings(source_type, source_id)
                ],
            },
        }
        return response


def _events() -> list[DomainEvent]:
    return messaging_selectors.events_of_request(request_id=context.request_id())


def _postings(source_type: str, source_id: Any) -> list[dict[str, Any]]:
    return [
        {
            "template": booked.template,
            "account": {"code": posting.account.code, "name": posting.account.name},
            "amount": {"amount": minor_to_text(posting.amount_minor, posting.currency), "currency": posting.currency},
        }
        for booked in ledger_selectors.transactions_of(source_type=source_type, source_id=source_id)
        for posting in booked.postings.all()
    ]
