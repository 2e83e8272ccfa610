"""Is the process alive, can it serve, and how is it doing: no tenant, no key, no secrets."""

from django.conf import settings
from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.crypto import constant_time_compare
from prometheus_client import CONTENT_TYPE_LATEST

from apps.common import clock
from apps.tenancy import selectors as tenancy_selectors
from apps.workflows import usage_health, usage_metrics


def healthz(request: HttpRequest) -> JsonResponse:
    """Say that the process answers; nothing else is asked, so that a slow database does not restart it."""
    return JsonResponse({"status": "alive"})


def readyz(request: HttpRequest) -> JsonResponse:
    """Say whether requests can be served: the database answers and its shared tables are up to date."""
    try:
        executor = MigrationExecutor(connection)
        waiting = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
        tenants = len(tenancy_selectors.tenant_schemas_ready())
    except Error as error:
        return JsonResponse({"status": "not ready", "detail": f"database: {type(error).__name__}"}, status=503)
    if waiting:
        return JsonResponse({"status": "not ready", "detail": f"{waiting} migrations wait: run 'migrate'"}, status=503)
    return JsonResponse({"status": "ready", "tenants": tenants})


def intakez(request: HttpRequest) -> JsonResponse:
    """Say whether every tenant's events can be taken in: the database takes writes, and this month has its table."""
    at = clock.now()
    try:
        problems = usage_health.intake_problems(at=at)
    except Error as error:
        return JsonResponse({"status": "not ready", "detail": f"database: {type(error).__name__}"}, status=503)
    if problems:
        return JsonResponse({"status": "not ready", "detail": "; ".join(sorted(set(problems)))}, status=503)
    return JsonResponse({"status": "ready"})


def metrics(request: HttpRequest) -> HttpResponse:
    """
    Return metrics in Prometheus' text format.

    Without a METRICS_TOKEN anybody may ask, and no tenant is named; with one, whoever presents it is told of each.
    """
    if settings.METRICS_TOKEN:
        presented = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        if not constant_time_compare(presented, settings.METRICS_TOKEN):
            return HttpResponse(
                "Send 'Authorization: Bearer <METRICS_TOKEN>'.\n",
                status=401,
                content_type="text/plain",
                headers={"WWW-Authenticate": "Bearer"},
            )
    text = usage_metrics.metrics_text(has_tenants=bool(settings.METRICS_TOKEN))
    return HttpResponse(text, content_type=CONTENT_TYPE_LATEST)
