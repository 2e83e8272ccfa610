"""Users and keys as the actors of changes."""

from apps.common.actors import Actor, ActorKind
from apps.identity.models import ApiKey, User


def actor_of_user(user: User) -> Actor:
    """Return a person as an actor: staff as a user, everybody else as somebody of a customer."""
    kind = ActorKind.USER if user.is_staff else ActorKind.CUSTOMER
    return Actor(kind=kind, id=user.id, label=user.email)


def actor_of_api_key(key: ApiKey) -> Actor:
    """Return a service key as an actor."""
    return Actor(kind=ActorKind.API_KEY, id=key.id, label=f"{key.name} ({key.prefix})")
