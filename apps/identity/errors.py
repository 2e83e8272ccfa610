"""Anticipated failures of signing in and of keys."""

from apps.common.errors import Conflict, Forbidden, Invalid, NotFound


class UserInvalid(Invalid):
    """The person cannot be taken in as described."""

    code = "user_invalid"


class UserExists(Conflict):
    """Somebody has this e-mail address already."""

    code = "user_exists"


class UserUnknown(NotFound):
    """There is no such person."""

    code = "user_unknown"


class RoleHeld(Conflict):
    """The person has the role already."""

    code = "role_held"


class RoleNotHeld(Conflict):
    """The person does not have the role."""

    code = "role_not_held"


class ApiKeyInvalid(Invalid):
    """The key cannot be issued as described."""

    code = "api_key_invalid"


class ApiKeyUnknown(NotFound):
    """There is no such key."""

    code = "api_key_unknown"


class ApiKeyRefused(Forbidden):
    """What was presented opens nothing; which part was wrong is not told."""

    code = "api_key_refused"


class SignInLinkRefused(Forbidden):
    """The link is used, too old, unknown, or was asked for in another browser."""

    code = "sign_in_link_refused"
