"""Count tries at a door, per tenant and key, and say when there were too many.

Kept in the cache: with several web processes each counts its own, so a limit holds per process and the true one is
at most that many times the limit. That slows a guesser down by orders of magnitude, which is all it is for.
"""

import hashlib

from django.core.cache import cache


def attempt_allow(*, key: str, limit: int, window_seconds: int) -> bool:
    """Count one try and return whether it is among the first `limit` of its window."""
    name = _name(key)
    cache.add(name, 0, timeout=window_seconds)
    try:
        return int(cache.incr(name)) <= limit
    except ValueError:
        # The window ended between the two calls: this is the first try of the next one.
        cache.set(name, 1, timeout=window_seconds)
        return True


def attempts_forget(*, key: str) -> None:
    """Begin anew, after a try that succeeded."""
    cache.delete(_name(key))


def _name(key: str) -> str:
    # Hashed: what people type may be long, and addresses do not belong into a cache's listing.
    return f"attempts:{hashlib.sha256(key.encode()).hexdigest()}"
