"""Reads about tenants; they name the shared tables through their schema, so they work from inside any tenant."""

from typing import Any

from django.conf import settings
from django.db import connection

from apps.tenancy.models import TenantState

_TENANTS = f"{settings.PUBLIC_SCHEMA_NAME}.tenancy_tenant"
_DOMAINS = f"{settings.PUBLIC_SCHEMA_NAME}.tenancy_domain"


def tenant_schemas_ready() -> list[str]:
    """Return the schemas of all tenants that serve, in a stable order."""
    rows = _rows(
        f"SELECT schema_name FROM {_TENANTS} WHERE state = %s ORDER BY schema_name",  # noqa: S608  constant name
        [TenantState.READY.value],
    )
    return [row[0] for row in rows]


def tenant_schema_exists(*, schema_name: str) -> bool:
    """Return whether a tenant owns this schema, whatever its state (provisioning works inside it, too)."""
    return bool(_rows(f"SELECT 1 FROM {_TENANTS} WHERE schema_name = %s", [schema_name]))  # noqa: S608


def tenant_primary_domain(*, schema_name: str) -> str:
    """Return the host name under which the tenant's people reach it."""
    rows = _rows(
        f"SELECT d.domain FROM {_DOMAINS} d JOIN {_TENANTS} t ON t.id = d.tenant_id "  # noqa: S608
        "WHERE t.schema_name = %s ORDER BY d.is_primary DESC, d.id LIMIT 1",
        [schema_name],
    )
    return str(rows[0][0])


def tenant_name(*, schema_name: str) -> str:
    """Return the company's name."""
    return str(_rows(f"SELECT name FROM {_TENANTS} WHERE schema_name = %s", [schema_name])[0][0])  # noqa: S608


def _rows(sql: str, parameters: list[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())
