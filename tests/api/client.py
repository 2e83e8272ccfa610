"""A small client of the API inside the test process: JSON in, JSON out, one tenant's host, one key."""

import json
from typing import Any

from django.test import Client

from apps.common import clock
from apps.common.actors import OPERATOR
from apps.identity import services as identity_services
from apps.identity.models import Scope
from apps.tenancy import context


class Api:
    """Speaks to one tenant with one key."""

    def __init__(self, *, host: str, key: str) -> None:
        self.host, self.key = host, key
        self._client = Client(raise_request_exception=False)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Return the response; `response.json()` is its body."""
        data = body if isinstance(body, bytes | str) else json.dumps(body) if body is not None else ""
        if self.key:
            headers.setdefault("Authorization", f"Bearer {self.key}")
        # The middleware moves the connection to the tenant of the host; the test's own tenant comes back after it.
        with context.schema_kept():
            return self._client.generic(
                method,
                f"/api/v1/{path}",
                data=data,
                content_type="application/json",
                headers={"Host": self.host, **{name.replace("_", "-"): value for name, value in headers.items()}},
            )

    def get(self, path: str, **headers: str) -> Any:
        """Return the response to a GET."""
        return self.call("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        """Return the response to a POST."""
        return self.call("POST", path, {} if body is None else body, **headers)


def api_of(schema_name: str, *scopes: str, is_live: bool = False) -> Api:
    """Return a client with a fresh key of a tenant; everything is allowed unless scopes are named."""
    with context.tenant_context(schema_name=schema_name):
        _key, secret = identity_services.api_key_issue(
            name="tests",
            scopes=list(scopes) or [Scope.ADMIN],
            is_live=is_live,
            expires_at=None,
            actor=OPERATOR,
            at=clock.now(),
        )
    return Api(host=f"{schema_name.removeprefix('t_')}.localhost", key=secret)
