"""
The door for usage events: plain views without the framework, because a batch passes here every few milliseconds.

A proven key is remembered in the process for KEY_SECONDS, under a SHA-256 of what was presented (never the secret
itself) and under its tenant. So a key that is revoked goes on opening this one door for at most that long; expiry is
looked at every time. Keys that were refused are not remembered: guessing gets no cheaper.
"""

import functools
import hashlib
import time
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from io import BytesIO
from typing import Any, Final

import msgspec
import structlog
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import Throttled

from apps.api import throttling
from apps.api.base import ApiView
from apps.api.errors import problem_document, problem_of, problem_response
from apps.api.serializers import InstantField, ReferenceField, StrictSerializer
from apps.common import clock
from apps.common.db import require_tenant
from apps.common.errors import DomainError
from apps.identity import actors as identity_actors
from apps.identity import services as identity_services
from apps.identity.errors import ApiKeyRefused
from apps.identity.models import ApiKey, Scope
from apps.metering import bodies
from apps.metering.errors import BatchInvalid, BatchTooLarge
from apps.metering.sources_sql import SEQUENCE_MAX
from apps.workflows import usage_intake, usage_metrics
from apps.workflows.intake_results import IntakeResult

log = structlog.get_logger(__name__)

KEY_SECONDS: Final = 10
_KEYS_MAX: Final = 10_000
_KEYWORD: Final = "Bearer "
_keys: dict[tuple[str, bytes], tuple[int, ApiKey]] = {}

# What the request itself is wrong about; every other refusal keeps the status of its kind.
_STATUS_OF: Final[dict[type[DomainError], int]] = {
    BatchInvalid: HTTPStatus.BAD_REQUEST,
    BatchTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    ApiKeyRefused: HTTPStatus.UNAUTHORIZED,
}
# SQLSTATE codes of PostgreSQL's appendix A: lock_not_available, deadlock_detected, serialization_failure,
# admin_shutdown, crash_shutdown, cannot_connect_now, too_many_connections.
_PASSING: Final = frozenset({"55P03", "40P01", "40001", "57P01", "57P02", "57P03", "53300"})
_CONNECTION_CLASS: Final = "08"


def _intake(split: Callable[[bytes], list[bytes]]) -> Callable[[HttpRequest], HttpResponse]:
    """Return the view that takes in what `split` makes of a body."""

    @csrf_exempt
    def view(request: HttpRequest) -> HttpResponse:
        response = answered(request)
        usage_metrics.request_observe(
            schema_name=str(connection.schema_name),  # type: ignore[attr-defined]
            status=response.status_code,
        )
        return response

    def answered(request: HttpRequest) -> HttpResponse:
        try:
            return _answer(request, split)
        except Throttled as error:
            detail = "This key sends more events than it may in a minute; wait and send the batch again."
            document = problem_document(status=429, code="throttled", detail=detail)
            wait = str(int(getattr(error, "wait", None) or 0) + 1)
            return problem_response(document, {**getattr(error, "headers", {}), "Retry-After": wait})
        except (InterfaceError, OperationalError) as error:
            if not _is_passing(error):
                return _problem(error)
            log.warning("intake could not reach the database", error=str(error))
            detail = "The events could not be stored just now. Send the same batch again: what is there counts once."
            return problem_response(problem_document(status=503, code="try_again", detail=detail), {"Retry-After": "1"})
        except Exception as error:  # noqa: BLE001  every failure becomes a problem document
            return _problem(error)

    return view


def _is_passing(error: Exception) -> bool:
    """
    Return whether the same batch may go through in a moment: the connection was lost, or somebody held a lock.

    A full disk or a broken statement comes as the same kind of error, and sending again would not mend it.
    """
    code = getattr(error.__cause__, "sqlstate", None)
    # An error without a code is the driver's own: it could not reach the server, or lost it.
    return code is None or code[:2] == _CONNECTION_CLASS or code in _PASSING


def _answer(request: HttpRequest, split: Callable[[bytes], list[bytes]]) -> HttpResponse:
    if request.method != "POST":
        detail = f"{request.method} is not for this route; use POST."
        document = problem_document(status=405, code="method_not_allowed", detail=detail)
        return problem_response(document, {"Allow": "POST"})
    if settings.INTAKE_TLS_REQUIRED and not request.is_secure():
        detail = "Send events over https. What was sent in clear may have been read: revoke this key and issue another."
        return problem_response(problem_document(status=403, code="tls_required", detail=detail))
    at, began = clock.now(), time.monotonic_ns()
    key = _key(request, at)
    if not {Scope.EVENTS_WRITE.value, Scope.ADMIN.value} & set(key.scopes):
        detail = f"This needs the scope '{Scope.EVENTS_WRITE.value}'; the key has: {', '.join(key.scopes)}."
        return problem_response(problem_document(status=403, code="permission_denied", detail=detail))
    events = split(_body(request))
    headers = throttling.take(key=key, units=len(events), kind="events", limit=throttling.EVENTS_PER_WINDOW)
    result = usage_intake.events_accept(
        events=events,
        actor=identity_actors.actor_of_api_key(key),
        at=at,
        mapping_source=request.GET.get("mapping", ""),
    )
    usage_metrics.batch_observe(
        schema_name=str(connection.schema_name),  # type: ignore[attr-defined]
        result=result,
        nanoseconds=time.monotonic_ns() - began,
    )
    return _rendered(result, headers)


def _rendered(result: IntakeResult, headers: dict[str, str]) -> HttpResponse:
    status = HTTPStatus.OK if result.is_clean else HTTPStatus.MULTI_STATUS
    body = msgspec.json.encode(result.to_document())
    return HttpResponse(body, status=status, content_type="application/json", headers=headers)


def _body(request: HttpRequest) -> bytes:
    """Return the body, without reading one that says it is too long."""
    length = request.META.get("CONTENT_LENGTH") or "0"
    if length.isdecimal() and int(length) > bodies.BODY_BYTES_MAX:
        raise BatchTooLarge(
            f"The body has {length} bytes; {bodies.BODY_BYTES_MAX} are the limit. Send smaller batches."
        )
    return _body_taken(request)


def _body_taken(request: HttpRequest) -> bytes:
    """
    Return the body and let the request forget it.

    Session, user and messages refer back to their request, so it stays in memory until the next full collection; with
    its body, a process would hold hundreds of megabytes of batches that were answered long ago.
    """
    body = request.body
    request._body, request._stream = b"", BytesIO()
    request.META.pop("wsgi.input", None)
    return body


def _key(request: HttpRequest, at: datetime) -> ApiKey:
    """
    Return the key that was presented, proven now or a moment ago.

    :raises ApiKeyRefused: if there is none, or it is not valid here
    """
    header = request.headers.get("Authorization", "")
    if not header.startswith(_KEYWORD):
        raise ApiKeyRefused("Send 'Authorization: Bearer chk_...'.")
    require_tenant()
    presented = header[len(_KEYWORD) :].strip()
    name = (str(connection.schema_name), hashlib.sha256(presented.encode()).digest())  # type: ignore[attr-defined]
    seconds = time.monotonic_ns() // 10**9
    remembered = _keys.get(name)
    if remembered is not None and seconds - remembered[0] < KEY_SECONDS and not connection.in_atomic_block:
        key = remembered[1]
        if key.expires_at is None or key.expires_at > at:
            return key
    key = identity_services.api_key_authenticate(presented=presented, at=at)
    if not connection.in_atomic_block:
        if len(_keys) >= _KEYS_MAX:
            _keys.clear()
        _keys[name] = (seconds, key)
    return key


def _problem(error: Exception) -> HttpResponse:
    document = problem_of(error)
    if document is None:
        log.exception("unanticipated failure", exc_info=error)
        detail = "Something of ours failed; nothing of the batch was kept. Send the same batch again."
        return problem_response(problem_document(status=500, code="internal_error", detail=detail))
    status = next((status for kind, status in _STATUS_OF.items() if isinstance(error, kind)), None)
    if status is not None:
        document = {**document, "status": int(status), "title": HTTPStatus(status).phrase}
    is_unknown = status == HTTPStatus.UNAUTHORIZED
    return problem_response(document, {"WWW-Authenticate": "Bearer"} if is_unknown else None)


class UsageEventSerializer(StrictSerializer):
    """One event, as the OpenAPI document shows it; the door itself reads it without this class."""

    id = serializers.CharField(max_length=255, help_text="The producer's own id; with `source` the identity for ever.")
    source = serializers.CharField(max_length=255)  # type: ignore[assignment]  # a field, taken out of the class
    type = serializers.CharField(max_length=120)
    customer = ReferenceField(help_text="Your code for the customer, or its cus_ id.")
    subscription = ReferenceField(required=False, allow_null=True)
    occurred_at = InstantField(help_text="When it happened, with an offset.")
    quantity = serializers.CharField(required=False, help_text="Short form of the meter's value property.")
    properties = serializers.DictField(required=False)
    sequence = serializers.IntegerField(
        required=False,
        min_value=0,
        max_value=SEQUENCE_MAX,
        help_text="The producer's own count of its events, as a number or as text: gaps show what was lost.",
    )


class UsageBatchSerializer(StrictSerializer):
    """A batch of events; a plain array of CloudEvents 1.0 is taken, too."""

    events = UsageEventSerializer(many=True)


class EventResultSerializer(serializers.Serializer[Any]):
    """What became of one event that was not plainly accepted."""

    index = serializers.IntegerField()
    status = serializers.ChoiceField(choices=["duplicate", "conflict", "rejected"])
    code = serializers.CharField(required=False)
    detail = serializers.CharField(required=False)
    limit = serializers.CharField(required=False, help_text="Of `quota_exceeded`: how many units there are.")
    used = serializers.CharField(required=False, help_text="Of `quota_exceeded`: how many are used.")
    resets_at = serializers.CharField(required=False, help_text="Of `quota_exceeded`: when the limit begins anew.")


class IntakeResultSerializer(serializers.Serializer[Any]):
    """What became of a batch."""

    accepted = serializers.IntegerField()
    duplicates = serializers.IntegerField()
    conflicts = serializers.IntegerField()
    rejected = serializers.IntegerField()
    results = EventResultSerializer(many=True)


_MAPPING = OpenApiParameter("mapping", str, description="Read the events by the mapping of this source.")
_ANSWERS = {200: IntakeResultSerializer, 207: IntakeResultSerializer}


# What the OpenAPI document and the table of scopes say about the raw views below.
class _EventDescription(ApiView):
    """Send one usage event."""

    scopes = {"POST": Scope.EVENTS_WRITE.value}

    @extend_schema(
        operation_id="events_create", request=UsageEventSerializer, responses=_ANSWERS, parameters=[_MAPPING]
    )
    def post(self, request: HttpRequest) -> HttpResponse:
        """Send one usage event."""
        return events(request)


class _BatchDescription(ApiView):
    """Send a batch of usage events."""

    scopes = {"POST": Scope.EVENTS_WRITE.value}

    @extend_schema(
        operation_id="events_batch_create", request=UsageBatchSerializer, responses=_ANSWERS, parameters=[_MAPPING]
    )
    def post(self, request: HttpRequest) -> HttpResponse:
        """Send up to 10,000 usage events or 4 MiB."""
        return events_batch(request)


def _described(view: Callable[[HttpRequest], HttpResponse], by: type[ApiView]) -> Callable[[HttpRequest], HttpResponse]:
    # The generator of the document looks for these two on what the URL table names.
    view.cls, view.initkwargs = by, {}  # type: ignore[attr-defined]
    return functools.update_wrapper(view, by, assigned=("__doc__",))


events = _described(_intake(bodies.single_split), _EventDescription)
events_batch = _described(_intake(bodies.batch_split), _BatchDescription)
