"""A tenant for one scenario alone, in which commits are real."""

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
    """Provision tenant delta and enter it."""
    from django.db import connections

    from apps.common.actors import OPERATOR
    from apps.identity import services as identity_services
    from apps.identity.models import Scope
    from apps.tenancy import context
    from apps.workflows import provisioning

    with django_db_blocker.unblock():
        provisioning.tenant_provision(slug="delta", name="Delta", timezone="UTC", domain="delta.localhost", at=NOW)
        with context.tenant_context(schema_name="t_delta"):
            _key, secret = identity_services.api_key_issue(
                name="scenario", scopes=[Scope.ADMIN], is_live=False, expires_at=None, actor=OPERATOR, at=NOW
            )
            yield TenantOfItsOwn(schema_name="t_delta", host="delta.localhost", key=secret)
        connections.close_all()
