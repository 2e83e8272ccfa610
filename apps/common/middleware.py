"""Request ids and content security policy for every reply."""

import re
from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponse

from apps.common import context, ids

_ACCEPTABLE = re.compile(r"^[A-Za-z0-9._-]{1,80}$")

_STRICT = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
)
# The admin theme ships a script engine that evaluates expressions; the exception stays inside its own pages.
_ADMIN = _STRICT.replace("script-src 'self'", "script-src 'self' 'unsafe-eval'").replace(
    "style-src 'self'", "style-src 'self' 'unsafe-inline'"
)
# The API reader is a third-party page that styles itself and starts from an inline script.
_API_DOCS = _STRICT.replace("script-src 'self'", "script-src 'self' 'unsafe-inline'").replace(
    "style-src 'self'", "style-src 'self' 'unsafe-inline'"
)


class RequestIdMiddleware:
    """Give each request an id (the caller's if it is sane) and send it back in `Request-Id`."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("Request-Id", "")
        request_id = given if _ACCEPTABLE.match(given) else f"req-{ids.new_id()}"
        context.request_id_set(request_id)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        response = self.get_response(request)
        response["Request-Id"] = request_id
        return response


class ContentSecurityMiddleware:
    """Send the strict policy everywhere, the documented exceptions under their own paths."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if "Content-Security-Policy" not in response:
            response["Content-Security-Policy"] = _policy_for(request.path)
        return response


def _policy_for(path: str) -> str:
    if path.startswith(("/backoffice/", "/operators/")):
        return _ADMIN
    if path.startswith("/api/v1/docs"):
        return _API_DOCS
    return _STRICT
