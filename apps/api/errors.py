"""Every failure as RFC 9457 problem details: what, why, where, and what to do. Never a trace."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, ClassVar

import structlog
from django.http import HttpRequest, JsonResponse
from rest_framework import exceptions
from rest_framework.response import Response

from apps.common import context
from apps.common.errors import DomainError, FieldProblem, Invalid
from apps.common.ids import IdInvalid
from apps.engine.errors import EngineError

log = structlog.get_logger(__name__)

CONTENT_TYPE = "application/problem+json"

STATUS_OF_KIND = {
    "invalid": HTTPStatus.UNPROCESSABLE_ENTITY,
    "not_found": HTTPStatus.NOT_FOUND,
    "conflict": HTTPStatus.CONFLICT,
    "refused": HTTPStatus.CONFLICT,
    "forbidden": HTTPStatus.FORBIDDEN,
}


# What every problem says of itself; a fact of the same name would replace it.
_MEMBERS = frozenset({"type", "title", "status", "detail", "code", "errors", "request_id"})


class RequestInvalid(Invalid):
    """The request itself is wrong, before any rule of billing is asked; its kinds may name a status of their own."""

    code: ClassVar[str] = "request_invalid"
    http_status: ClassVar[int] = HTTPStatus.UNPROCESSABLE_ENTITY


def problem_document(
    *, status: int, code: str, detail: str, errors: Iterable[FieldProblem] = (), facts: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return a problem as JSON; `facts` are further members, e.g. the present status as `current_status`."""
    return {
        **{f"current_{name}" if name in _MEMBERS else name: value for name, value in (facts or {}).items()},
        "type": f"urn:countinghouse:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": int(status),
        "detail": detail,
        "code": code,
        "errors": [{"pointer": item.pointer, "code": item.code, "detail": item.detail} for item in errors],
        "request_id": context.request_id(),
    }


def problem_of(error: Exception) -> dict[str, Any] | None:
    """Return the problem of an anticipated failure; nothing for a bug."""
    if isinstance(error, DomainError):
        status = getattr(error, "http_status", None) or STATUS_OF_KIND.get(error.kind, HTTPStatus.CONFLICT)
        return problem_document(
            status=status, code=error.code, detail=error.detail, errors=error.problems, facts=error.facts
        )
    if isinstance(error, EngineError):
        pointer = "/" + error.path.replace(".", "/") if error.path else ""
        item = FieldProblem(pointer=pointer, code=error.code, detail=error.detail)
        return problem_document(status=422, code=error.code, detail=str(error), errors=(item,))
    if isinstance(error, IdInvalid):
        return problem_document(status=404, code="not_found", detail=str(error))
    return None


def problem_handler(error: Exception, info: dict[str, Any]) -> Response:
    """Turn whatever a view raised into a problem; a bug becomes a 500 that says nothing of the inside."""
    document = problem_of(error)
    headers: dict[str, str] = dict(getattr(error, "headers", {}))
    if document is None and isinstance(error, exceptions.APIException):
        document = _of_framework(error)
        if wait := getattr(error, "wait", None):
            headers["Retry-After"] = str(int(wait) + 1)
        if header := getattr(error, "auth_header", None):
            headers["WWW-Authenticate"] = str(header)
    if document is None:
        document = _of_django(error)
    if document is None:
        log.exception("unanticipated failure", path=info["request"].path, exc_info=error)
        document = problem_document(
            status=500, code="internal_error", detail="Something of ours failed; nothing of the request was kept."
        )
    response = Response(document, status=document["status"], headers=headers)
    response.content_type = CONTENT_TYPE
    return response


def problem_response(document: dict[str, Any], headers: dict[str, str] | None = None) -> JsonResponse:
    """Return a problem outside the framework, e.g. from the raw intake view."""
    return JsonResponse(document, status=document["status"], content_type=CONTENT_TYPE, headers=headers)


def not_found(request: HttpRequest, exception: Exception | None = None) -> JsonResponse:
    """Answer an unknown path of the API."""
    return problem_response(
        problem_document(status=404, code="not_found", detail=f"There is nothing at {request.path}.")
    )


def _of_django(error: Exception) -> dict[str, Any] | None:
    from django.core.exceptions import PermissionDenied  # noqa: PLC0415
    from django.http import Http404  # noqa: PLC0415

    if isinstance(error, Http404):
        return problem_document(status=404, code="not_found", detail="There is nothing here.")
    if isinstance(error, PermissionDenied):
        return problem_document(status=403, code="forbidden", detail="This is not allowed.")
    return None


def _of_framework(error: exceptions.APIException) -> dict[str, Any]:
    if isinstance(error, exceptions.ValidationError):
        problems = tuple(_flatten(error.detail, ""))
        return problem_document(
            status=422, code="request_invalid", detail="The request cannot be accepted: see errors.", errors=problems
        )
    codes = error.get_codes()
    return problem_document(
        status=error.status_code, code=codes if isinstance(codes, str) else "refused", detail=str(error.detail)
    )


def _flatten(detail: Any, pointer: str) -> Iterable[FieldProblem]:
    if isinstance(detail, dict):
        for name, inner in detail.items():
            # RFC 6901: a name may hold the characters that pointers are made of.
            step = str(name).replace("~", "~0").replace("/", "~1")
            yield from _flatten(inner, pointer if name == "non_field_errors" else f"{pointer}/{step}")
    elif isinstance(detail, list) and any(isinstance(item, dict | list) for item in detail):
        for index, inner in enumerate(detail):
            if inner:
                yield from _flatten(inner, f"{pointer}/{index}")
    else:
        for item in detail if isinstance(detail, list) else [detail]:
            yield FieldProblem(pointer=pointer, code=getattr(item, "code", "invalid"), detail=str(item))
