"""A world of its own for each test that breaks things: committed, and new."""

import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import database
from tests.faults import worlds
from tests.faults.cluster import Cluster, cluster_running
from tests.faults.tree import World


@pytest.fixture
def fault_world(committed_tenant) -> World:
    """Make customers, meter and key in the tenant whose commits are real."""
    return worlds.world_make(
        database_url=os.environ["DATABASE_URL"], schema_name=committed_tenant, host="gamma.localhost"
    )


@pytest.fixture
def dice(request):
    """Chance that repeats itself from run to run, another one for each test."""
    return random.Random(request.node.name)


@pytest.fixture
def cluster(django_db_setup, django_db_blocker) -> Iterator[Cluster]:
    """A database server of this test's own, with the suite's tenants; the test's connections lead to it."""
    folder = Path(tempfile.mkdtemp(prefix="ch-fault-"))
    from django.db import connections

    from tests import conftest as suite

    before = os.environ["DATABASE_URL"]
    original = connections["default"].settings_dict["NAME"]
    with django_db_blocker.unblock():
        connections.close_all()
        try:
            with cluster_running(folder, source=database.template_name()) as cluster:
                _point_django(cluster.url)
                yield cluster
                connections.close_all()
        finally:
            os.environ["DATABASE_URL"] = before
            suite._point_django_at(original)
            shutil.rmtree(folder, ignore_errors=True)


def _point_django(url: str) -> None:
    from django.db import connections
    from psycopg.conninfo import conninfo_to_dict

    parts = conninfo_to_dict(url)
    connections.close_all()
    connections["default"].settings_dict.update(
        NAME=parts["dbname"], USER=parts["user"], PASSWORD=parts["password"], HOST=parts["host"]
    )
    os.environ["DATABASE_URL"] = url


@pytest.fixture
def cluster_world(cluster) -> Iterator[World]:
    """Make customers, meter and key on the server of the test's own."""
    from apps.tenancy import context as tenancy_context

    with tenancy_context.tenant_context(schema_name="t_gamma"):
        yield worlds.world_make(database_url=cluster.url, schema_name="t_gamma", host="gamma.localhost")
