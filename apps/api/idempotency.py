"""The same key and the same body get the same answer; the effect happens once.

While a request runs it holds a lock of its key: who comes meanwhile is told to wait. The answer commits together
with the effect, so that a crash leaves both or neither; only views that call a vendor, which may not happen inside a
transaction, keep it afterwards, and what they do has natural keys of its own.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar
from uuid import UUID

from django.db import transaction

from apps.api.models import IdempotencyRecord
from apps.common import clock
from apps.common.db import fetch_all
from apps.common.errors import Conflict, Invalid
from apps.engine.hashing import canonical_hash
from apps.tenancy.context import current_schema

KEY_LENGTH_MAX = 255
RETRY_AFTER_SECONDS = 2


class IdempotencyKeyRequired(Invalid):
    """Where money moves, a key is not optional."""

    code: ClassVar[str] = "idempotency_key_required"
    http_status: ClassVar[int] = HTTPStatus.BAD_REQUEST


class IdempotencyKeyReused(Invalid):
    """The key was used with another request."""

    code: ClassVar[str] = "idempotency_key_reused"


class RequestInProgress(Conflict):
    """The same request is being worked on at this moment."""

    code: ClassVar[str] = "request_in_progress"
    headers: ClassVar[dict[str, str]] = {"Retry-After": str(RETRY_AFTER_SECONDS)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was, or is to be, answered."""

    status: int
    body: Any
    is_replayed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyedRequest:
    """A request under its key."""

    api_key_id: UUID
    key: str
    route: str
    body: Any

    @property
    def hash(self) -> str:
        """Return what tells this request from another one under the same key."""
        return canonical_hash({"route": self.route, "body": self.body})


def answered_once(*, request: KeyedRequest, work: Callable[[], Answer], is_atomic: bool) -> Answer:
    """
    Return the stored answer, or do the work and store its answer; a 5xx is not stored.

    :raises RequestInProgress: if the same key is being worked on
    :raises IdempotencyKeyReused: if the key was used with another request
    """
    with _key_held(request):
        stored = _stored(request)
        if stored is not None:
            return stored
        if not is_atomic:
            answer = work()
            _store(request, answer)
            return answer
        with transaction.atomic():
            answer = work()
            if answer.status < 400:  # noqa: PLR2004
                _store(request, answer)
            else:
                transaction.set_rollback(True)
        if answer.status >= 400:  # noqa: PLR2004  the refusal is kept although what led to it is undone
            _store(request, answer)
        return answer


@contextmanager
def _key_held(request: KeyedRequest) -> Iterator[None]:
    # A lock of the session and not of a transaction: it outlives the work's own commit until the answer is stored.
    name = f"{current_schema()}:idempotency:{request.api_key_id}:{request.key}"
    if not fetch_all("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [name])[0][0]:
        raise RequestInProgress("A request with this Idempotency-Key is being worked on. Ask again in a moment.")
    try:
        yield
    finally:
        fetch_all("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [name])


def _stored(request: KeyedRequest) -> Answer | None:
    record = IdempotencyRecord.objects.filter(api_key_id=request.api_key_id, key=request.key).first()
    if record is None:
        return None
    if record.request_hash != request.hash:
        raise IdempotencyKeyReused(
            "This Idempotency-Key was used with another request. Use a new key for a new request."
        )
    return Answer(
        status=record.response_status, body=json.loads(record.response_body, parse_float=str), is_replayed=True
    )


def _store(request: KeyedRequest, answer: Answer) -> None:
    if answer.status >= 500:  # noqa: PLR2004
        return
    IdempotencyRecord.objects.create(
        api_key_id=request.api_key_id,
        key=request.key,
        route=request.route[:200],
        request_hash=request.hash,
        response_status=answer.status,
        response_body=json.dumps(answer.body),
        answered_at=clock.now(),
    )
