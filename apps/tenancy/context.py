"""Enter and leave a tenant: context outside, transaction inside.

Never `with tenant:`: its restore stack is shared by all threads of the process, so two threads end up in each
other's schema.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import structlog
from django.conf import settings
from django.db import connection
from django_tenants.utils import schema_context

from apps.tenancy import selectors


class TenantUnknown(LookupError):
    """No ready tenant has this schema; django-tenants alone would answer from `public`."""


@contextmanager
def tenant_context(*, schema_name: str) -> Iterator[None]:
    """
    Run a block inside one tenant's schema.

    :raises TenantUnknown: if there is no tenant with that schema
    """
    if schema_name == settings.PUBLIC_SCHEMA_NAME or not selectors.tenant_schema_exists(schema_name=schema_name):
        raise TenantUnknown(f"There is no tenant with the schema '{schema_name}'.")
    with schema_context(schema_name), structlog.contextvars.bound_contextvars(tenant=schema_name):
        yield


@contextmanager
def shared_context() -> Iterator[None]:
    """Run a block in the shared schema, for tenants and platform operators only."""
    with schema_context(settings.PUBLIC_SCHEMA_NAME):
        yield


def current_schema() -> str:
    """Return the schema that this thread's connection works in."""
    # The tenant backend adds the attribute; the framework's types do not know it.
    return str(cast(Any, connection).schema_name)
