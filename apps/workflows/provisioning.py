"""Make a tenant: register, build the schema, seed, probe, ready. Safe to run again after any failure."""

from datetime import datetime

import structlog
from django.db import connection

from apps.common.db import unit_of_work
from apps.invoices.models import BillingEntity
from apps.ledger import selectors as ledger_selectors
from apps.ledger import services as ledger_services
from apps.metering import services as metering_services
from apps.tenancy import context as tenancy_context
from apps.tenancy import services as tenancy_services
from apps.tenancy.errors import TenantProbeFailed
from apps.tenancy.models import Tenant, TenantState

log = structlog.get_logger(__name__)

DEFAULT_CURRENCY = "USD"


def tenant_provision(*, slug: str, name: str, timezone: str, domain: str, at: datetime) -> Tenant:
    """
    Build a new tenant from nothing, or finish one that failed half way.

    :raises TenantSlugInvalid: if the slug cannot be a host name
    :raises TenantProbeFailed: if the finished tenant does not answer as it should
    """
    with tenancy_context.shared_context():
        tenant: Tenant | None = Tenant.objects.filter(slug=slug).first()
    if tenant is None:
        tenant = tenancy_services.tenant_register(slug=slug, name=name, domain=domain, timezone=timezone, at=at)
    if tenant.state == TenantState.READY:
        return tenant
    schema_name = str(tenant.schema_name)
    try:
        tenancy_services.tenant_state_set(schema_name=schema_name, state=TenantState.MIGRATING, at=at)
        tenancy_services.tenant_schema_build(schema_name=schema_name)
        tenancy_services.tenant_state_set(schema_name=schema_name, state=TenantState.SEEDING, at=at)
        with tenancy_context.tenant_context(schema_name=schema_name):
            tenant_seed(slug=slug, name=name, timezone=timezone, at=at)
            tenant_probe(schema_name=schema_name)
    except Exception as error:
        tenancy_services.tenant_state_set(
            schema_name=schema_name, state=TenantState.FAILED, at=at, reason=f"{type(error).__name__}: {error}"
        )
        raise
    tenancy_services.tenant_state_set(schema_name=schema_name, state=TenantState.READY, at=at)
    tenant.refresh_from_db()
    return tenant


@unit_of_work
def tenant_seed(*, slug: str, name: str, timezone: str, at: datetime) -> None:
    """Write what every tenant starts with: the chart of accounts, its issuing entity, partitions for usage."""
    ledger_services.chart_seed(currency=DEFAULT_CURRENCY)
    BillingEntity.objects.get_or_create(
        is_default=True,
        defaults={
            "code": slug.upper().replace("-", "")[:8],
            "legal_name": name,
            "address": "",
            "country": "US",
            "timezone": timezone,
        },
    )
    metering_services.usage_partitions_ensure(months=metering_services.months_ahead(at=at))


def tenant_probe(*, schema_name: str) -> None:
    """
    Ask the new tenant a question of each kind before anybody relies on it.

    :raises TenantProbeFailed: if tables would be read from another schema, the chart is missing or does not balance
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_schema(), to_regclass('ledger_posting')::oid::regclass::text")
        current, table = cursor.fetchone()
        cursor.execute(
            "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = %s AND c.relname = 'ledger_posting'",
            [schema_name],
        )
        has_own_table = cursor.fetchone()[0] == 1
    if current != schema_name or not has_own_table:
        raise TenantProbeFailed(f"Tables of '{schema_name}' resolve to '{current}' ({table}).")
    rows = ledger_selectors.trial_balance()
    if not rows or any(ledger_selectors.trial_balance_totals(rows=rows).values()):
        raise TenantProbeFailed(f"The chart of accounts of '{schema_name}' is missing or does not balance.")
