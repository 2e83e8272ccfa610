"""A tenant for one scenario alone, in which commits are real."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.conftest import NOW


@dataclass(frozen=True)
class TenantOfItsOwn:
    """A freshly provisioned tenant and a key that may do everything in it."""

    schema_name: str
    host: str
    key: str


@pytest.fixture
def tenant_of_its_own(django_db_setup, django_db_blocker) -> Iterator[TenantOfItsOwn]:
    """Provision a tenant that no other test has and enter it."""
    from django.db import connections

    from apps.common.actors import OPERATOR
    from apps.identity import services as identity_services
    from apps.identity.models import Scope
    from apps.tenancy import context
    from apps.workflows import provisioning

    slug = f"own-{secrets.token_hex(4)}"
    with django_db_blocker.unblock():
        tenant = provisioning.tenant_provision(
            slug=slug, name="Own", timezone="UTC", domain=f"{slug}.localhost", at=NOW
        )
        with context.tenant_context(schema_name=tenant.schema_name):
            _key, secret = identity_services.api_key_issue(
                name="scenario", scopes=[Scope.ADMIN], is_live=False, expires_at=None, actor=OPERATOR, at=NOW
            )
            yield TenantOfItsOwn(schema_name=tenant.schema_name, host=f"{slug}.localhost", key=secret)
        connections.close_all()
