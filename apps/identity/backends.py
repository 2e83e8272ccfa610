"""Sign in with e-mail and password; let Django's admin ask for permissions, which the roles answer."""

from django.contrib.auth.backends import ModelBackend

from apps.identity import selectors
from apps.identity.models import User


class RoleBackend(ModelBackend):
    """The stock password check with our own answer to permission questions."""

    def has_perm(self, user_obj: object, perm: str, obj: object = None) -> bool:
        """Return whether one of the user's roles allows `perm`."""
        return isinstance(user_obj, User) and selectors.user_is_allowed(user=user_obj, permission=perm)

    def get_all_permissions(self, user_obj: object, obj: object = None) -> set[str]:
        """Return everything the user's roles allow."""
        return set(selectors.user_permissions(user=user_obj)) if isinstance(user_obj, User) else set()
