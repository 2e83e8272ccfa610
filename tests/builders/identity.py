"""Reach people and keys through the services."""

import itertools
from datetime import UTC, datetime

from apps.common.actors import OPERATOR
from apps.identity import services
from apps.identity.models import ApiKey, Role, Scope, User

JOINED = datetime(2026, 1, 1, tzinfo=UTC)
PASSWORD = "correct horse battery staple"
_numbers = itertools.count(1)


def user(*, roles: tuple[Role, ...] = (), at: datetime = JOINED, **overrides) -> User:
    """Take in a member of staff with these roles; `is_staff=False, password=None` makes a portal user."""
    number = next(_numbers)
    person = {
        "email": f"person-{number}@house.example",
        "name": f"Person {number}",
        "password": PASSWORD,
        "is_staff": True,
    }
    made = services.user_create(**(person | overrides), actor=OPERATOR, at=at)
    for role in roles:
        services.role_grant(user=made, role=role, actor=OPERATOR, at=at)
    return made


def api_key(*scopes: Scope | str, at: datetime = JOINED, **overrides) -> tuple[ApiKey, str]:
    """Issue a live key with these scopes (all of them without any) and return it with its secret text."""
    facts = {
        "name": f"service {next(_numbers)}",
        "scopes": [str(scope) for scope in scopes] or [Scope.ADMIN.value],
        "is_live": True,
        "expires_at": None,
    }
    return services.api_key_issue(**(facts | overrides), actor=OPERATOR, at=at)
