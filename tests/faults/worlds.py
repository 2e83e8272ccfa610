"""Tenants to break things in, and batches to send there."""

import itertools
import random
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.builders import customers, identity, metering
from tests.faults.tree import World

_numbers = itertools.count(1)


def world_make(*, database_url: str, schema_name: str, host: str, customer_count: int = 5) -> World:
    """Make customers, a meter that sums and a key in the tenant that is entered; everything is new."""
    name = f"fault-{secrets.token_hex(4)}"
    event_type = f"{name}.call"
    codes = tuple(f"{name}-{number}" for number in range(customer_count))
    for code in codes:
        customers.customer(external_id=code)
    metering.meter(code=name.replace("-", "_"), event_type=event_type, aggregation="sum", value_property="units")
    _key, secret = identity.api_key("events:write")
    return World(
        database_url=database_url,
        schema_name=schema_name,
        host=host,
        key=secret,
        customers=codes,
        event_type=event_type,
    )


def event_make(world: World, dice: random.Random, **overrides: Any) -> dict[str, Any]:
    """Return an event of some customer at some instant of the last days, of one unit."""
    occurred_at = datetime.now(UTC) - timedelta(seconds=dice.randrange(5 * 24 * 3600))
    return {
        "id": f"{world.event_type}-{next(_numbers)}",
        "source": world.event_type,
        "type": world.event_type,
        "customer": dice.choice(world.customers),
        "occurred_at": occurred_at.isoformat(),
        "quantity": "1",
        **overrides,
    }


def batches_make(world: World, dice: random.Random, *, count: int, size: int) -> list[list[dict[str, Any]]]:
    """Return batches that overlap: each also repeats some events of those before it."""
    batches: list[list[dict[str, Any]]] = []
    for _ in range(count):
        batch = [event_make(world, dice) for _ in range(size)]
        if batches:
            earlier = dice.choice(batches[-20:])
            batch += dice.sample(earlier, k=min(len(earlier), size // 4))
        dice.shuffle(batch)
        batches.append(batch)
    return batches
