"""How much one key may ask for: a fixed window per minute, told in headers before it is felt.

Counted in the process's cache: with several web processes the true limit is at most that many times as high. The
limit protects the house from a runaway loop; it is not a price.
"""

from datetime import UTC, datetime, timedelta

from django.core.cache import cache
from rest_framework.exceptions import Throttled

from apps.common import clock
from apps.identity.models import ApiKey

WINDOW_SECONDS = 60
UNITS_PER_WINDOW = 6_000
EVENTS_PER_WINDOW = 6_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class RateLimited(Throttled):
    """The window of this key is used up."""

    def __init__(self, *, wait: int, headers: dict[str, str]) -> None:
        super().__init__(wait=wait)
        self.headers = headers


def take(*, key: ApiKey, units: int, kind: str = "requests", limit: int = UNITS_PER_WINDOW) -> dict[str, str]:
    """
    Count what a key asks for and return the RateLimit headers.

    :raises RateLimited: when the window is used up, with the seconds until the next one
    """
    second = (clock.now() - _EPOCH) // timedelta(seconds=1)
    window, remaining_seconds = second // WINDOW_SECONDS, WINDOW_SECONDS - second % WINDOW_SECONDS
    name = f"rate:{kind}:{key.id}:{window}"
    cache.add(name, 0, timeout=WINDOW_SECONDS * 2)
    try:
        used = int(cache.incr(name, units))
    except ValueError:
        used = units
    headers = {
        "RateLimit-Policy": f'"{kind}";q={limit};w={WINDOW_SECONDS}',
        "RateLimit": f'"{kind}";r={max(limit - used, 0)};t={remaining_seconds}',
    }
    if used > limit:
        raise RateLimited(wait=remaining_seconds, headers=headers)
    return headers
