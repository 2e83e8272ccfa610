"""Is it alive, can it serve: on the platform's own host, without key and tenant."""

import pytest
from django.db import InterfaceError, OperationalError
from django.test import Client

from apps.api import health
from tests.conftest import NOW

pytestmark = pytest.mark.django_db


@pytest.fixture
def platform() -> Client:
    """A caller of the base domain."""
    return Client(HTTP_HOST="localhost")


def test_a_process_that_answers_is_alive(platform, django_assert_num_queries):
    """The database is not asked: a slow one must not get the process restarted."""
    with django_assert_num_queries(0):
        response = platform.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "alive"})


def test_what_is_migrated_and_reachable_is_ready(platform):
    """Shared tables up to date, and how many tenants serve."""
    response = platform.get("/readyz")
    assert (response.status_code, response.json()) == (200, {"status": "ready", "tenants": 3})


@pytest.mark.parametrize("failure", [OperationalError, InterfaceError])
def test_a_lost_database_is_not_ready_and_says_nothing_of_it(platform, monkeypatch, failure):
    """503 with the kind of failure; host names and passwords of the connection stay inside."""

    def lost():
        raise failure("connection to server at 10.0.0.7 failed: password=hunter2")

    monkeypatch.setattr(health.tenancy_selectors, "tenant_schemas_ready", lost)
    response = platform.get("/readyz")
    assert (response.status_code, response.json()["status"]) == (503, "not ready")
    assert b"hunter2" not in response.content
    assert b"10.0.0.7" not in response.content


def test_metrics_are_text_and_name_no_tenant(platform):
    """Prometheus' format; whose customers are ours is nobody's business."""
    response = platform.get("/metrics")
    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/plain")
    assert b"# HELP" in response.content
    for name in (b"alpha", b"beta", b"gamma"):
        assert name not in response.content


def test_the_platforms_host_has_no_api(platform):
    """Without a tenant there is nothing to ask: never an answer from shared tables."""
    for path in ("/api/v1/customers", "/api/v1/events", "/api/v1/openapi.json"):
        assert platform.get(path).status_code == 404


def test_the_door_for_events_has_a_health_of_its_own(platform, monkeypatch, clock):
    """S052: ready while every tenant's month is there; a month that is missing is told, and no tenant is named."""
    assert (platform.get("/intakez").status_code, platform.get("/intakez").json()) == (200, {"status": "ready"})
    clock.set(NOW.replace(year=2035))
    response = platform.get("/intakez")
    assert (response.status_code, response.json()["status"]) == (503, "not ready")
    assert "the month 2035-01 has no table" in response.json()["detail"]
    assert b"alpha" not in response.content

    def lost(**_at):
        raise OperationalError("connection to server at 10.0.0.7 failed: password=hunter2")

    monkeypatch.setattr(health.usage_health, "intake_problems", lost)
    assert platform.get("/intakez").status_code == 503
    assert b"hunter2" not in platform.get("/intakez").content
