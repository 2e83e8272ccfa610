"""Reports read the replica where there is one: the tenant's rows, and nothing but reading."""

import pytest
from django.db import DatabaseError, connections

from apps.common import db
from apps.tenancy import context as tenancy_context

pytestmark = pytest.mark.django_db(databases="__all__")


@pytest.fixture
def replica(committed_tenant):
    """The same database under the replica's alias, without the tenant-aware backend."""
    own = connections["default"].settings_dict
    connections.settings["replica"] = {**own, "ENGINE": "django.db.backends.postgresql"}
    yield connections["replica"]
    connections["replica"].close()
    del connections.settings["replica"]
    del connections["replica"]


def test_without_a_replica_the_one_database_is_read(tenant):
    """S069: an installation with one server needs no setting."""
    assert db.fetch_report("SELECT current_schema()::text") == [("t_alpha",)]
    with pytest.raises(db.NoTenant), tenancy_context.shared_context():
        db.fetch_report("SELECT 1")


def test_a_report_reads_the_tenants_rows_on_the_replica_and_writes_nothing(replica):
    """S069: each statement enters the schema for itself, and a writing one is refused by the server."""
    asked = "SELECT current_schema()::text, pg_backend_pid(), current_setting('transaction_read_only')"
    ((schema, pid, read_only),) = db.fetch_report(asked)
    ((own_pid,),) = db.fetch_all("SELECT pg_backend_pid()")
    assert (schema, read_only) == ("t_gamma", "on")
    assert pid != own_pid
    with tenancy_context.tenant_context(schema_name="t_beta"):
        assert db.fetch_report("SELECT current_schema()::text") == [("t_beta",)]
    with pytest.raises(DatabaseError, match="read-only transaction"):
        db.fetch_report("CREATE TABLE written (id int)")
