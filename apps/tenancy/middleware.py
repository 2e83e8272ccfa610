"""From host name to tenant, with a short-lived cache in the process.

The stock middleware asks the database on every request, which costs more than the rest of a trivial request.
"""

import time
from typing import Any, cast

import structlog
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django_tenants.middleware.main import TenantMainMiddleware

from apps.tenancy.models import Tenant, TenantState

log = structlog.get_logger(__name__)

_CACHE_SECONDS = 30
_CACHE_ENTRIES_MAX = 10_000
_cache: dict[str, tuple[int, Tenant]] = {}


class TenantMiddleware(TenantMainMiddleware):
    """Choose the schema by host; the base domain and bare addresses are the operators' shared schema."""

    def get_tenant(self, domain_model: Any, hostname: str) -> Tenant:
        """Return the tenant of a host name, from the cache if it is fresh."""
        now_seconds = int(time.monotonic())
        cached = _cache.get(hostname)
        if cached and now_seconds - cached[0] < _CACHE_SECONDS:
            return cached[1]
        tenant: Tenant = super().get_tenant(domain_model, hostname)
        # Only tenants that serve are remembered: one being provisioned becomes ready from one second to the next.
        if tenant.state == TenantState.READY and len(_cache) < _CACHE_ENTRIES_MAX:
            _cache[hostname] = (now_seconds, tenant)
        return tenant

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        """Route the request, or answer what is wrong with its host."""
        _enter_public()
        hostname = self.hostname_from_request(request)
        if hostname in (settings.BASE_DOMAIN, "127.0.0.1", "[::1]"):
            request.urlconf = settings.PUBLIC_SCHEMA_URLCONF
            return None
        try:
            response: HttpResponse | None = super().process_request(request)
        except (InterfaceError, OperationalError) as error:
            # The first question of a request is whose host it is; without a database nobody can say.
            log.warning("the database could not be asked for a host", error=str(error))
            return _try_again(request)
        tenant: Tenant | None = getattr(request, "tenant", None)
        if response is None and tenant is not None and tenant.state != TenantState.READY:
            _enter_public()
            return JsonResponse({"detail": "This tenant is not ready yet.", "code": "tenant_not_ready"}, status=503)
        return response


def _try_again(request: HttpRequest) -> HttpResponse:
    detail = "The database cannot be reached just now. Send the same request again in a moment."
    headers = {"Retry-After": "1"}
    if not request.path.startswith("/api/"):
        return HttpResponse(detail, status=503, content_type="text/plain; charset=utf-8", headers=headers)
    document = {
        "type": "urn:countinghouse:problem:try_again",
        "title": "Service Unavailable",
        "status": 503,
        "detail": detail,
        "code": "try_again",
    }
    return JsonResponse(document, status=503, content_type="application/problem+json", headers=headers)


def _enter_public() -> None:
    # The tenant backend adds the method; the framework's types do not know it.
    cast(Any, connection).set_schema_to_public()


def cache_clear() -> None:
    """Forget all remembered hosts (tests, and after a domain changed in this process)."""
    _cache.clear()
