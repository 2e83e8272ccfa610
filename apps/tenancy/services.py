"""Writes about tenants, each in the shared schema. The order of the steps is `workflows.provisioning`'s business."""

import re
from datetime import datetime

from django.conf import settings
from django.core.management import call_command
from django.db import connection, transaction

from apps.tenancy import context
from apps.tenancy.errors import TenantDomainForeign, TenantSlugInvalid, TenantSlugTaken
from apps.tenancy.models import Domain, Tenant, TenantState

_SLUG = re.compile(r"^[a-z][a-z0-9-]{1,38}[a-z0-9]$")


def tenant_register(*, slug: str, name: str, domain: str, timezone: str, at: datetime) -> Tenant:
    """
    Record that a tenant is wanted; nothing is built yet.

    :raises TenantSlugInvalid: if the slug cannot be a host name
    :raises TenantSlugTaken: if another tenant has it
    :raises TenantDomainForeign: if the host name lies outside the base domain
    """
    if not _SLUG.match(slug):
        raise TenantSlugInvalid(f"'{slug}': use 3 to 40 characters a-z, 0-9 and -, beginning with a letter.")
    if not domain.endswith(f".{settings.BASE_DOMAIN}"):
        raise TenantDomainForeign(f"'{domain}' must end in '.{settings.BASE_DOMAIN}', the base domain served here.")
    with context.shared_context(), transaction.atomic():
        if Tenant.objects.filter(slug=slug).exists():
            raise TenantSlugTaken(f"There is a tenant '{slug}' already.")
        tenant: Tenant = Tenant.objects.create(
            slug=slug, schema_name=f"t_{slug.replace('-', '_')}", name=name, timezone=timezone, requested_at=at
        )
        Domain.objects.create(tenant=tenant, domain=domain, is_primary=True)
    return tenant


def tenant_schema_build(*, schema_name: str) -> None:
    """Create the tenant's schema if it is missing and bring its tables up to date; safe to repeat."""
    with context.shared_context():
        with connection.cursor() as cursor:
            cursor.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema_name}"')
        call_command("migrate_schemas", schema_name=schema_name, interactive=False, verbosity=0)


def tenant_state_set(*, schema_name: str, state: TenantState, at: datetime, reason: str = "") -> None:
    """Record how far provisioning has come; `reason` says why it stopped."""
    with context.shared_context():
        Tenant.objects.filter(schema_name=schema_name).update(
            state=state, state_reason=reason, ready_at=at if state == TenantState.READY else None
        )
