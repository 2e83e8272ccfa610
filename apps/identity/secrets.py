"""Secrets of keys and links: made here, kept only as keyed hashes.

A keyed hash (HMAC-SHA-256 under SECRET_KEY) and not a slow one: the secrets are 256 bits of chance, which nobody
guesses, and a key is checked on every request. A copy of the table alone proves nothing to anybody.
"""

import hmac
import secrets
from hashlib import sha256

from django.conf import settings

_PREFIX_BYTES = 5
_SECRET_BYTES = 32


def secret_new() -> str:
    """Return a fresh secret that may stand in a URL."""
    return secrets.token_urlsafe(_SECRET_BYTES)


def prefix_new() -> str:
    """Return a short public name for a key, unique by chance and held unique by the database."""
    return secrets.token_hex(_PREFIX_BYTES)


def keyed_hash(*, purpose: str, secret: str) -> str:
    """Return the hash to keep, as 64 hexadecimal digits; the purpose keeps hashes of different tables apart."""
    return hmac.new(settings.SECRET_KEY.encode(), f"{purpose}:{secret}".encode(), sha256).hexdigest()


def is_same(*, left: str, right: str) -> bool:
    """Compare in a time that tells nothing."""
    return hmac.compare_digest(left.encode(), right.encode())
