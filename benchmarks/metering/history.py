"""A month of events that is there already: 1,025 customers, one of them with a fifth of it, six meters."""

import multiprocessing
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks.metering.ground import Ground, House, meter_define
from benchmarks.metering.traffic import uuid7_text

CUSTOMERS = 1_025
HOURS = 720
HEAVY_SHARE = 0.2
TYPICAL = 7  # any customer but the first, who is the heavy one
BATCH = 50_000
_CHUNKS_AHEAD = 4
_REGIONS = ("eu-central", "eu-west", "us-east", "us-west")
_USERS = 2_000

_COPY_KEYS = "COPY metering_usageeventkey (event_key, payload_hash, received_at) FROM STDIN"
_COPY_EVENTS = """
COPY metering_usageevent (event_key, source, event_id, type, customer_id, occurred_at, received_at, properties,
                          batch_position) FROM STDIN
"""
# What a quarter of the events each carries: the type, its property, and the meters that read it.
KINDS: tuple[tuple[str, str, tuple[dict[str, Any], ...]], ...] = (
    (
        "call",
        "bytes",
        (
            {"aggregation": "count"},
            {"aggregation": "sum", "value_property": "bytes", "group_by": ("region",)},
        ),
    ),
    ("peak", "megabytes", ({"aggregation": "max", "value_property": "megabytes"},)),
    ("visit", "user", ({"aggregation": "unique_count", "value_property": "user"},)),
    (
        "level",
        "change",
        (
            {"aggregation": "latest", "value_property": "change"},
            {"aggregation": "weighted_sum", "value_property": "change"},
        ),
    ),
)


@dataclass(kw_only=True)
class History:
    """What was loaded: the window, the meters by aggregation, and how fast each tenth of it went in."""

    starts_at: datetime
    ends_at: datetime
    meters: dict[str, Any]
    events: int
    seconds: list[float] = field(default_factory=list)

    @property
    def rates(self) -> list[float]:
        """Return events a second of each part."""
        return [self.events / len(self.seconds) / seconds for seconds in self.seconds]


def meters_define(prefix: str) -> dict[str, Any]:
    """Define the six meters in the tenant that is entered, by aggregation."""
    return {
        terms["aggregation"]: meter_define(
            code=f"{prefix}_{terms['aggregation']}", event_type=f"{prefix}.{kind}", **terms
        )
        for kind, _name, meters in KINDS
        for terms in meters
    }


def prefix_of(house: House) -> str:
    """Return what the codes of a tenant's six meters begin with."""
    return f"month_{house.event_type.rpartition('.')[2]}"


def load(ground: Ground, house: House, *, meters: dict[str, Any], events: int, parts: int) -> History:
    """Write a month of events into the tenant's own tables, every trigger on, and verify what the totals say."""
    from apps.metering import services
    from apps.tenancy import context

    ends_at = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=4)
    starts_at = ends_at - timedelta(hours=HOURS)
    with context.tenant_context(schema_name=house.schema_name):
        services.usage_partitions_ensure(months={day.date().replace(day=1) for day in (starts_at, ends_at)})
    prefix = prefix_of(house)
    history = History(starts_at=starts_at, ends_at=ends_at, meters=meters, events=events)
    size = min(BATCH, events // parts)
    count = events // parts // size
    assert size * count * parts == events, "the events must come out even"
    chunks = _made_beside(house=house, history=history, prefix=prefix, size=size, count=count * parts)
    with ground.connected() as connection:
        connection.execute(f"SET search_path = {house.schema_name}")
        for _ in range(parts):
            seconds = 0.0
            for _ in range(count):
                keys, rows = next(chunks)  # made beside: waiting for it is not what is measured
                began = time.perf_counter()
                with connection.transaction():
                    for statement, text in ((_COPY_KEYS, keys), (_COPY_EVENTS, rows)):
                        with connection.cursor().copy(statement) as copy:
                            copy.write(text)
                seconds += time.perf_counter() - began
            history.seconds.append(seconds)
        connection.execute("VACUUM (ANALYZE)")
        (counted,) = connection.execute(
            "SELECT coalesce(sum(a.event_count), 0)::bigint FROM metering_usageaggregate a "
            "JOIN metering_meter m ON m.id = a.meter_id WHERE m.code = ANY(%s)",
            [[f"{prefix}_{name}" for name in ("count", "max", "unique_count", "weighted_sum")]],
        ).fetchone() or (0,)
        assert counted == events, (counted, events)
    return history


def _made_beside(*, house: House, history: History, prefix: str, size: int, count: int) -> Iterator[tuple[str, str]]:
    """Make the text of COPY in a process of its own, a few chunks ahead."""
    context = multiprocessing.get_context("fork")
    queue: Any = context.Queue(maxsize=_CHUNKS_AHEAD)
    arguments = ([customer.id for customer in house.customers], history, prefix, size, count, queue)
    maker = context.Process(target=_make, args=arguments, daemon=True)
    maker.start()
    for _ in range(count):
        yield queue.get(timeout=120)
    maker.join()


def _make(  # noqa: PLR0917  the process takes them in order
    customers: list[str], history: History, prefix: str, size: int, count: int, queue: Any
) -> None:
    chance = random.Random(10)  # noqa: S311  nothing is kept secret by it
    first = int(history.starts_at.timestamp() * 1000)
    span = HOURS * 60 * 60 * 1000 - 1
    weights = [HEAVY_SHARE] + [(1 - HEAVY_SHARE) / (len(customers) - 1)] * (len(customers) - 1)
    for number in range(count):
        keys, rows = [], []
        whose = chance.choices(customers, weights, k=size)
        hashes = chance.randbytes(32 * size).hex()
        for position in range(size):
            index = number * size + position
            millisecond = first + index * span // (size * count)
            seconds, rest = divmod(millisecond, 1000)
            occurred_at = f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(seconds))}.{rest:03d}+00"
            key = uuid7_text(millisecond, chance.getrandbits(74))
            kind, name, _meters = KINDS[chance.randrange(4)]
            region = _REGIONS[chance.randrange(4)]
            value = _value(kind, chance)
            keys.append(f"{key}\t\\\\x{hashes[64 * position : 64 * position + 64]}\t{occurred_at}\n")
            rows.append(
                f"{key}\tgateway-1\t{key}\t{prefix}.{kind}\t{whose[position]}\t{occurred_at}\t{occurred_at}\t"
                f'{{"{name}":"{value}","region":"{region}","status":"200"}}\t{position % 10_000}\n'
            )
        queue.put(("".join(keys), "".join(rows)))


def _value(kind: str, chance: random.Random) -> str:
    if kind == "visit":
        return f"user-{chance.randrange(_USERS)}"
    return str(chance.randrange(100, 9_100))
