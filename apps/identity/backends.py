"""Let Django's admin ask for permissions; the roles answer."""

from django.contrib.auth.backends import BaseBackend

from apps.identity import selectors
from apps.identity.models import User


class RoleBackend(BaseBackend):
    """Answer permission questions from the user's roles; signing in is the stock backend's business."""

    def has_perm(self, user_obj: object, perm: str, obj: object = None) -> bool:
        """Return whether one of the user's roles allows `perm`."""
        return isinstance(user_obj, User) and user_obj.is_active and selectors.user_is_allowed(
            user=user_obj, permission=perm
        )
