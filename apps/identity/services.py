"""Write people, roles, keys and sign-in links. In a tenant's schema its own, in the shared one the operators'."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from apps.common import locks
from apps.common.actors import Actor
from apps.common.errors import FieldProblem
from apps.identity import secrets, selectors
from apps.identity.errors import (
    ApiKeyInvalid,
    ApiKeyRefused,
    ApiKeyUnknown,
    RoleHeld,
    RoleNotHeld,
    SignInLinkRefused,
    UserExists,
    UserInvalid,
)
from apps.identity.models import ApiKey, PortalMembership, Role, RoleGrant, Scope, SignInLink, User

LINK_LIFETIME = timedelta(minutes=15)
# Writing "last used" on every request would be a row lock on every request.
LAST_USED_PRECISION = timedelta(minutes=1)


@transaction.atomic
def user_create(*, email: str, name: str, password: str | None, is_staff: bool, actor: Actor, at: datetime) -> User:
    """
    Take in a person; without a password they sign in by mailed link only.

    :raises UserInvalid: if the address is none, or the password is too easy
    :raises UserExists: if somebody has the address already
    """
    email = email.strip().lower()
    problems = []
    try:
        validate_email(email)
    except ValidationError:
        problems.append(FieldProblem("/email", "email_invalid", "must be an e-mail address such as ada@acme.example"))
    user = User(email=email, name=name.strip()[:150], is_staff=is_staff)
    if password is None:
        user.set_unusable_password()
    else:
        problems += _password_problems(password, user)
        user.set_password(password)
    if problems:
        raise UserInvalid("The person cannot be taken in: see errors.", problems=tuple(problems))
    if User.objects.filter(email=email).exists():
        raise UserExists(f"There is somebody with the address {email} already.")
    user.save()
    return user


@transaction.atomic
def user_password_set(*, user: User, password: str, actor: Actor, at: datetime) -> User:
    """
    Give a person another password.

    :raises UserInvalid: if it is too easy
    """
    problems = _password_problems(password, user)
    if problems:
        raise UserInvalid("The password cannot be taken: see errors.", problems=tuple(problems))
    user.set_password(password)
    user.save(update_fields=["password"])
    return user


@transaction.atomic
def role_grant(*, user: User, role: Role, actor: Actor, at: datetime) -> RoleGrant:
    """
    Trust a member of staff with a role.

    :raises RoleHeld: if they have it already
    """
    grant, is_new = RoleGrant.objects.get_or_create(
        user=user, role=Role(role).value, defaults={"granted_at": at, "granted_by": actor.label[:200]}
    )
    if not is_new:
        raise RoleHeld(f"{user} is {Role(role).value} already.")
    return grant


@transaction.atomic
def role_withdraw(*, user: User, role: Role, actor: Actor, at: datetime) -> None:
    """
    Take a role back.

    :raises RoleNotHeld: if they do not have it
    """
    deleted, _ = RoleGrant.objects.filter(user=user, role=Role(role).value).delete()
    if not deleted:
        raise RoleNotHeld(f"{user} is not {Role(role).value}.")


@transaction.atomic
def api_key_issue(
    *,
    name: str,
    scopes: Sequence[str],
    is_live: bool,
    expires_at: datetime | None,
    actor: Actor,
    at: datetime,
) -> tuple[ApiKey, str]:
    """
    Issue a service key and return it with its secret text, which is shown this once and not kept.

    :raises ApiKeyInvalid: if it has no name, no known scope, or expires in the past
    """
    problems = []
    if not name.strip():
        problems.append(FieldProblem("/name", "required", "say which service will use the key"))
    unknown = sorted(set(scopes) - set(Scope.values))
    if unknown or not scopes:
        detail = f"choose from {', '.join(Scope.values)}" + (f"; unknown: {', '.join(unknown)}" if unknown else "")
        problems.append(FieldProblem("/scopes", "scopes_invalid", detail))
    if expires_at is not None and expires_at <= at:
        problems.append(FieldProblem("/expires_at", "expired", "must lie in the future"))
    if problems:
        raise ApiKeyInvalid("The key cannot be issued: see errors.", problems=tuple(problems))
    prefix, secret = secrets.prefix_new(), secrets.secret_new()
    key = ApiKey.objects.create(
        name=name.strip()[:100],
        prefix=prefix,
        secret_hash=secrets.keyed_hash(purpose="api-key", secret=secret),
        is_live=is_live,
        scopes=sorted(set(scopes)),
        issued_at=at,
        expires_at=expires_at,
    )
    return key, f"chk_{'live' if is_live else 'test'}_{prefix}_{secret}"


@transaction.atomic
def api_key_revoke(*, api_key_id: UUID, actor: Actor, at: datetime) -> ApiKey:
    """
    Make a key open nothing any more; revoking it again changes nothing.

    :raises ApiKeyUnknown: if there is no such key
    """
    keys = locks.get_many_for_update(ApiKey, [api_key_id])
    if not keys:
        raise ApiKeyUnknown(f"There is no API key {api_key_id}.")
    key = keys[0]
    if key.revoked_at is None:
        key.revoked_at = at
        key.save(update_fields=["revoked_at"])
    return key


def api_key_authenticate(*, presented: str, at: datetime) -> ApiKey:
    """
    Return the key that this text proves, and note that it was used.

    :raises ApiKeyRefused: if it is malformed, unknown, wrong, revoked or expired; which one is not told
    """
    key = _key_proved(presented)
    if key is None or key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= at):
        raise ApiKeyRefused("The API key is not valid here. Send 'Authorization: Bearer chk_...' with a key in force.")
    if key.last_used_at is None or at - key.last_used_at >= LAST_USED_PRECISION:
        ApiKey.objects.filter(id=key.id).update(last_used_at=at)
        key.last_used_at = at
    return key


@transaction.atomic
def portal_membership_grant(*, user: User, customer_id: UUID, actor: Actor, at: datetime) -> PortalMembership:
    """Open a customer's portal pages to a person; repeating it changes nothing."""
    membership, _ = PortalMembership.objects.get_or_create(user=user, customer_id=customer_id)
    return membership


@transaction.atomic
def sign_in_link_issue(*, email: str, browser_nonce: str, at: datetime) -> str | None:
    """
    Return the token of a new sign-in link for a portal user, or nothing when nobody may enter by this address.

    The caller answers the same either way, so that nobody learns who is a customer.
    """
    # No address holds a NUL, and the database takes none; an error here would tell it from an unknown address.
    address = "" if "\x00" in email else email.strip().lower()
    user = User.objects.filter(email=address, is_active=True).first()
    if user is None or not selectors.user_customer_ids(user=user):
        return None
    token = secrets.secret_new()
    SignInLink.objects.create(
        user=user,
        token_hash=secrets.keyed_hash(purpose="sign-in", secret=token),
        browser_hash=secrets.keyed_hash(purpose="browser", secret=browser_nonce),
        requested_at=at,
        expires_at=at + LINK_LIFETIME,
    )
    return token


@transaction.atomic
def sign_in_link_redeem(*, token: str, browser_nonce: str, at: datetime) -> User:
    """
    Use up a link and return who may enter by it.

    :raises SignInLinkRefused: if it is unknown, used, too old, or was asked for in another browser
    """
    token_hash = secrets.keyed_hash(purpose="sign-in", secret=token)
    link_id = SignInLink.objects.filter(token_hash=token_hash).values_list("id", flat=True).first()
    link = locks.get_for_update(SignInLink, link_id) if link_id else None
    is_good = (
        link is not None
        and link.used_at is None
        and link.requested_at <= at < link.expires_at
        and secrets.is_same(left=link.browser_hash, right=secrets.keyed_hash(purpose="browser", secret=browser_nonce))
        and link.user.is_active
    )
    if link is None or not is_good:
        raise SignInLinkRefused(
            "This link does not work: it was used, is older than 15 minutes, or was asked for in another browser. "
            "Ask for a new one in the browser in which you want to sign in."
        )
    link.used_at = at
    link.save(update_fields=["used_at"])
    return link.user


def _password_problems(password: str, user: User) -> list[FieldProblem]:
    try:
        validate_password(password, user)
    except ValidationError as error:
        return [FieldProblem("/password", "password_invalid", message) for message in error.messages]
    return []


def _key_proved(presented: str) -> ApiKey | None:
    parts = presented.split("_", 3)
    if len(parts) != 4 or parts[0] != "chk" or parts[1] not in ("live", "test"):  # noqa: PLR2004
        return None
    if "\x00" in parts[2]:  # no prefix of ours, and nothing that can be looked up
        return None
    key = selectors.api_key_by_prefix(prefix=parts[2][:16])
    kept = key.secret_hash if key else "0" * 64
    # Hash and compare even when there is no such key, so that the answer takes as long.
    is_same = secrets.is_same(left=kept, right=secrets.keyed_hash(purpose="api-key", secret=parts[3]))
    if key is None or not is_same or key.is_live != (parts[1] == "live"):
        return None
    return key
