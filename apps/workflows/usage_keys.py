"""Forget the ids of events that a tenant's window has passed, in batches that hold nobody up."""

from datetime import datetime
from typing import Final

from apps.metering import intake_settings

BATCH_MAX: Final = 10_000
# An hour brings fewer than this; what is left waits for the next run.
BATCHES_MAX: Final = 1_000


def forgotten_purge(*, at: datetime) -> int:
    """Take away forgotten ids, each batch committed by itself, and return how many there were."""
    purged = 0
    for _batch in range(BATCHES_MAX):
        count = intake_settings.usage_keys_purge(at=at, limit=BATCH_MAX)
        purged += count
        if count < BATCH_MAX:
            break
    return purged
