"""Who asks, and whether they may: a service key and its scopes. Deny by default."""

from typing import TYPE_CHECKING, Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework import authentication, exceptions, permissions
from rest_framework.request import Request

from apps.common import clock
from apps.common.db import require_tenant
from apps.identity import services as identity_services
from apps.identity.errors import ApiKeyRefused
from apps.identity.models import ApiKey, Scope
from apps.tenancy.context import current_schema

if TYPE_CHECKING:
    # The framework imports this module while it makes its views.
    from rest_framework.views import APIView

_KEYWORD = "Bearer "


class ApiPrincipal:
    """What the framework calls the user: the key that was presented."""

    is_authenticated = True

    def __init__(self, key: ApiKey) -> None:
        self.key = key


class ApiKeyAuthentication(authentication.BaseAuthentication):
    """Take `Authorization: Bearer chk_...`; the host decides the tenant, so a foreign tenant's key proves nothing."""

    def authenticate(self, request: Request) -> tuple[ApiPrincipal, ApiKey] | None:
        """
        Return the principal of the key, or nothing when none was sent.

        :raises AuthenticationFailed: if a key was sent that is not valid here
        """
        header = request.headers.get("Authorization", "")
        if not header:
            return None
        if not header.startswith(_KEYWORD):
            raise exceptions.AuthenticationFailed("Send 'Authorization: Bearer chk_...'.")
        require_tenant()
        try:
            key = identity_services.api_key_authenticate(presented=header[len(_KEYWORD) :].strip(), at=clock.now())
        except ApiKeyRefused as error:
            raise exceptions.AuthenticationFailed(error.detail) from error
        return ApiPrincipal(key), key

    def authenticate_header(self, request: Request) -> str:
        """Name the scheme, so that a missing key is 401 and not 403."""
        return f'Bearer realm="{current_schema()}"'


class HasScope(permissions.BasePermission):
    """Allow what the view's table of scopes asks for; a view or method without an entry is closed."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        """Return whether the key has the scope of this method, or may do everything."""
        if not isinstance(request.user, ApiPrincipal):
            return False
        table: dict[str, str] = getattr(view, "scopes", {})
        method = str(request.method)
        if method not in table:
            return False
        if {table[method], Scope.ADMIN.value} & set(request.user.key.scopes):
            return True
        self.message = f"This needs the scope '{table[method]}'; the key has: {', '.join(request.user.key.scopes)}."
        return False


class ApiKeyScheme(OpenApiAuthenticationExtension):
    """How the OpenAPI document describes the key."""

    target_class = "apps.api.authentication.ApiKeyAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """Return a bearer scheme."""
        return {"type": "http", "scheme": "bearer", "description": "An API key: chk_live_... or chk_test_..."}
