"""A service that calls the API: a key of tenant alpha, its host, JSON in and out."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test import Client

from tests.builders import identity


class Api:
    """Calls with one key; whatever a request does to the connection's schema, the test keeps its own."""

    def __init__(self, *, key: str | None, host: str) -> None:
        self.key, self.host = key, host

    def get(self, path: str, **headers: str) -> HttpResponse:
        """Read."""
        return self.send("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> HttpResponse:
        """Send a body as JSON."""
        return self.send("POST", path, {} if body is None else body, **headers)

    def patch(self, path: str, body: Any, **headers: str) -> HttpResponse:
        """Send changes as JSON."""
        return self.send("PATCH", path, body, **headers)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> HttpResponse:
        """Send anything; bytes go out as they are. Header names as Python spells them: idempotency_key="..."."""
        from apps.tenancy import context

        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.key is not None:
            sent["authorization"] = f"Bearer {self.key}"
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        with context.tenant_context(schema_name=connection.schema_name):
            return Client(HTTP_HOST=self.host).generic(
                method, f"/api/v1/{path}", body or b"", content_type="application/json", headers=sent
            )


ApiMaker = Callable[..., Api]


@pytest.fixture
def api_for(tenant) -> ApiMaker:
    """Make callers: `api_for("invoices:read")` has a new key of alpha with just these scopes."""

    def make(*scopes: str, host: str = "alpha.localhost") -> Api:
        return Api(key=identity.api_key(*scopes)[1], host=host)

    return make


@pytest.fixture
def api(api_for) -> Api:
    """Call with a key that may do everything in alpha."""
    return api_for("admin")


@pytest.fixture
def anonymous(tenant) -> Api:
    """Call without a key."""
    return Api(key=None, host="alpha.localhost")


@pytest.fixture
def neighbour(tenant, other_tenant) -> Api:
    """Call beta with a key that may do everything there."""
    from apps.tenancy import context

    with context.tenant_context(schema_name=other_tenant):
        return Api(key=identity.api_key()[1], host="beta.localhost")
