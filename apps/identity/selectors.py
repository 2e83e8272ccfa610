"""Reads about people and keys."""

from uuid import UUID

from apps.identity.models import ApiKey, PortalMembership, User
from apps.identity.roles import permissions_of


def user_permissions(*, user: User) -> frozenset[str]:
    """Return what the user's roles allow; read once per request and user object."""
    cached: frozenset[str] | None = getattr(user, "_permissions", None)
    if cached is None:
        cached = permissions_of(set(user.role_grants.values_list("role", flat=True))) if user.is_staff else frozenset()
        user._permissions = cached  # type: ignore[attr-defined]
    return cached


def user_is_allowed(*, user: User, permission: str) -> bool:
    """Return whether the user's roles allow this; model permissions of the admin map to `records.view`."""
    allowed = user_permissions(user=user)
    if permission in allowed:
        return True
    # The admin asks for "<app>.view_<model>"; nobody may add, change or delete rows behind the services' back.
    return ".view_" in permission and "records.view" in allowed


def user_customer_ids(*, user: User) -> list[UUID]:
    """Return the customers whose portal pages the user may see."""
    return list(PortalMembership.objects.filter(user=user).order_by("id").values_list("customer_id", flat=True))


def api_key_by_prefix(*, prefix: str) -> ApiKey | None:
    """Return the key with this prefix, revoked and expired ones included."""
    return ApiKey.objects.filter(prefix=prefix).first()
