"""Tenants: provisioned by a service with states and a probe, unreachable from each other."""

import threading

import pytest
from django.db import IntegrityError, connection, transaction

from apps.common.db import NoTenant, unit_of_work
from apps.customers.models import Customer
from apps.ledger.models import LedgerAccount
from apps.tenancy import context, selectors, services
from apps.tenancy.errors import TenantSlugInvalid
from apps.tenancy.models import Tenant, TenantState
from apps.workflows import provisioning
from tests.builders import customers

pytestmark = pytest.mark.django_db


def test_two_tenants_do_not_see_each_other_s_rows(tenant, other_tenant):
    mine = customers.customer(external_id="mine")
    with context.tenant_context(schema_name=other_tenant):
        assert not Customer.objects.filter(id=mine.id).exists()
        theirs = customers.customer(external_id="mine")
    assert Customer.objects.get(external_id="mine").id == mine.id != theirs.id


def test_money_tables_do_not_exist_in_the_shared_schema(db):
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        shared = {row[0] for row in cursor.fetchall()}
    for prefix in ("ledger_", "invoices_", "payments_", "metering_", "plans_", "customers_", "audit_", "messaging_"):
        assert not [table for table in shared if table.startswith(prefix)]


def test_a_unit_of_work_refuses_to_start_outside_a_tenant(db):
    @unit_of_work
    def work() -> None:
        raise AssertionError("must not run")

    with pytest.raises(NoTenant, match="No tenant is entered"):
        work()


def test_a_schema_nobody_owns_cannot_be_entered(db):
    for name in ("t_nobody", "public", "pg_catalog"):
        with pytest.raises(context.TenantUnknown), context.tenant_context(schema_name=name):
            raise AssertionError("must not be entered")


def test_leaving_a_tenant_restores_the_one_before(tenant, other_tenant):
    with context.tenant_context(schema_name=other_tenant):
        assert context.current_schema() == other_tenant
    assert context.current_schema() == tenant


def test_threads_do_not_end_up_in_each_other_s_schema(committed_tenant):
    seen: dict[str, set[str]] = {}
    start = threading.Barrier(2)

    def work(schema_name: str) -> None:
        from django.db import connections

        seen[schema_name] = set()
        start.wait(timeout=10)
        for _ in range(50):
            with context.tenant_context(schema_name=schema_name), connection.cursor() as cursor:
                cursor.execute("SELECT current_schema()")
                seen[schema_name].add(cursor.fetchone()[0])
        connections.close_all()

    threads = [threading.Thread(target=work, args=(name,)) for name in ("t_alpha", "t_beta")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert seen == {"t_alpha": {"t_alpha"}, "t_beta": {"t_beta"}}


def test_a_rolled_back_savepoint_does_not_leave_the_other_tenant_s_path(tenant, other_tenant):
    """The savepoint case of django-tenants: after a rollback the path is sent again."""
    with context.tenant_context(schema_name=other_tenant):
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            connection.cursor().execute("SELECT 1")
            raise ZeroDivisionError
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_schema()")
        assert cursor.fetchone()[0] == tenant


def test_a_provisioned_tenant_is_ready_seeded_and_probed(db):
    with context.shared_context():
        alpha = Tenant.objects.get(slug="alpha")
    assert (alpha.state, alpha.state_reason) == (TenantState.READY, "")
    assert "t_alpha" in selectors.tenant_schemas_ready()
    with context.tenant_context(schema_name="t_alpha"):
        assert LedgerAccount.objects.filter(currency="USD").count() >= 5
        provisioning.tenant_probe(schema_name="t_alpha")


def test_provisioning_again_changes_nothing(db, at):
    again = provisioning.tenant_provision(
        slug="alpha", name="Other name", timezone="UTC", domain="elsewhere.localhost", at=at
    )
    assert again.name == "Alpha"
    assert selectors.tenant_primary_domain(schema_name="t_alpha") == "alpha.localhost"


def test_a_tenant_that_failed_half_way_says_why_and_is_finished_by_a_second_run(db, at, monkeypatch):
    with context.shared_context():
        services.tenant_register(slug="half", name="Half", domain="half.localhost", timezone="UTC", at=at)
    monkeypatch.setattr(services, "tenant_schema_build", lambda *, schema_name: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        provisioning.tenant_provision(slug="half", name="Half", timezone="UTC", domain="half.localhost", at=at)
    with context.shared_context():
        tenant = Tenant.objects.get(slug="half")
    assert tenant.state == TenantState.FAILED
    assert "ZeroDivisionError" in tenant.state_reason
    assert "t_half" not in selectors.tenant_schemas_ready()
    monkeypatch.undo()
    again = provisioning.tenant_provision(slug="half", name="Half", timezone="UTC", domain="half.localhost", at=at)
    assert (again.state, again.state_reason) == (TenantState.READY, "")


@pytest.mark.parametrize("slug", ["", "A", "1abc", "public schema", "a" * 41, "x-"])
def test_a_slug_that_is_no_host_name_is_refused(db, at, slug):
    with pytest.raises(TenantSlugInvalid, match="use 3 to 40 characters"):
        services.tenant_register(slug=slug, name="X", domain="x.localhost", timezone="UTC", at=at)


def test_the_database_refuses_a_tenant_in_the_shared_schema(db, at):
    with context.shared_context(), pytest.raises(IntegrityError, match="tenant_schema_is_not_shared"):
        with transaction.atomic():
            Tenant.objects.create(slug="pub", schema_name="public", name="x", requested_at=at)


def test_tenants_are_never_deleted(db):
    with context.shared_context(), pytest.raises(Exception, match="Cannot delete"), transaction.atomic():
        Tenant.objects.filter(slug="alpha").delete()
