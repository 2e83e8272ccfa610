"""Fixtures everybody uses: two tenants, a frozen clock, no way out to the network."""

import os
import secrets
import socket
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests import database

_NAME = f"test_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}_{os.getpid()}_{secrets.token_hex(3)}"
# Settings are read at import; the database they name is created when a test first asks for it.
os.environ.setdefault("SECRET_KEY", "tests only: nothing signed with this leaves the machine")
os.environ["DATABASE_URL"] = "postgresql://nobody:nothing@127.0.0.1:9/none"
os.environ["CELERY_BROKER_URL"] = "memory://"
os.environ["LOCAL_DIR"] = ".local/tests"
os.environ["DEBUG"] = "true"

NOW = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
ALPHA, BETA = "t_alpha", "t_beta"


@pytest.fixture(scope="session")
def django_db_setup(django_db_blocker) -> Iterator[None]:
    """Clone the template (building it once per shape of the tree) and point Django at the clone."""
    from django.db import connections

    template = database.template_name()
    with database.admin_connection() as admin:
        # Two processes that start together must not build the same template twice.
        admin.execute("SELECT pg_advisory_lock(7341)")
        try:
            if not database.exists(admin, template):
                _build_template(admin, template, django_db_blocker)
            database.create(admin, _NAME, template=template)
        finally:
            admin.execute("SELECT pg_advisory_unlock(7341)")
    _point_django_at(_NAME)
    yield
    with django_db_blocker.unblock():
        connections.close_all()
    with database.admin_connection() as admin:
        database.drop(admin, _NAME)


def _build_template(admin, template, django_db_blocker) -> None:
    from django.core.management import call_command
    from django.db import connections

    from apps.workflows import provisioning

    building = f"{template}_building"
    database.drop(admin, building)
    database.create(admin, building)
    _point_django_at(building)
    with django_db_blocker.unblock():
        call_command("migrate_schemas", shared=True, interactive=False, verbosity=0)
        for slug in ("alpha", "beta", "gamma"):
            provisioning.tenant_provision(
                slug=slug, name=slug.title(), timezone="UTC", domain=f"{slug}.localhost", at=NOW
            )
        connections.close_all()
    database.rename(admin, building, template)


def _point_django_at(name: str) -> None:
    from django.db import connections
    from psycopg.conninfo import conninfo_to_dict

    parts = conninfo_to_dict(database.url_of(name))
    connections.close_all()
    settings_dict = connections["default"].settings_dict
    settings_dict.update(
        NAME=name, USER=parts["user"], PASSWORD=parts["password"], HOST=parts["host"], PORT="", CONN_MAX_AGE=0
    )
    os.environ["DATABASE_URL"] = database.url_of(name)


@pytest.fixture
def at() -> datetime:
    """The instant at which a test takes place."""
    return NOW


class FrozenClock:
    """The edge clock under the test's control."""

    def __init__(self) -> None:
        self.now_at = NOW

    def set(self, now_at: datetime) -> None:
        """Move the clock."""
        self.now_at = now_at


@pytest.fixture(autouse=True)
def clock(monkeypatch) -> FrozenClock:
    """Freeze the one clock that edges read."""
    from apps.common import clock as common_clock

    frozen = FrozenClock()
    monkeypatch.setattr(common_clock, "now", lambda: frozen.now_at)
    return frozen


@pytest.fixture(autouse=True)
def _short_grace(settings) -> None:
    """Let the suite's months be final an hour after they end; what is about waiting says for how long."""
    settings.INVOICE_GRACE_HOURS = 1


@pytest.fixture(autouse=True, scope="session")
def _tasks_run_where_they_are_called() -> None:
    """Run a task when its message is sent: the broker is not what most tests are about."""
    from billing_site import celery_app

    celery_app.conf.task_always_eager = True
    celery_app.conf.task_eager_propagates = True


@pytest.fixture(autouse=True)
def _leaves_the_tenant() -> Iterator[None]:
    """Stand outside of every tenant after each test: a request through the client leaves one entered."""
    from django.db import connection

    yield
    connection.set_schema_to_public()


@pytest.fixture(autouse=True)
def _no_network(monkeypatch) -> None:
    """Refuse every connection that leaves the machine."""
    real_connect = socket.socket.connect

    def connect(self, address):
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"A test tried to reach {address}.")
        return real_connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)


@pytest.fixture
def tenant(db) -> Iterator[str]:
    """Enter tenant alpha inside a transaction that is rolled back."""
    yield from _entered(ALPHA)


@pytest.fixture
def other_tenant(db) -> str:
    """Name tenant beta; a test enters it with `tenancy.context.tenant_context` when it needs to."""
    return BETA


def _entered(schema_name: str) -> Iterator[str]:
    from django.db import connection

    from apps.tenancy import context

    with context.tenant_context(schema_name=schema_name):
        yield schema_name
        # A constraint left deferred would otherwise fail in the teardown, under another schema and a confusing name.
        if connection.in_atomic_block and not connection.needs_rollback:
            connection.check_constraints()


@pytest.fixture
def committed_tenant(django_db_setup, django_db_blocker) -> Iterator[str]:
    """Enter tenant gamma, where commits are real, for races and crashes; use codes of your own and clean nothing."""
    from django.db import connections

    from apps.tenancy import context

    with django_db_blocker.unblock():
        with context.tenant_context(schema_name="t_gamma"):
            yield "t_gamma"
        connections.close_all()
