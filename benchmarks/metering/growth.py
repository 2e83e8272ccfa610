"""Bar 14 and what must not grow: many tenants beside one, the memory of the web process, the cost of the next batch."""

import os
import re
import statistics
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime

from benchmarks.metering.bench import Bench
from benchmarks.metering.ground import House
from benchmarks.metering.report import Figure, medians
from benchmarks.metering.sender import Sent, send
from benchmarks.metering.servers import Web
from benchmarks.metering.traffic import Traffic

_BATCH = 1_000
_CONNECTIONS = 8
_TEMPLATE = "template"
_CUSTOMERS = 20
_PARTS = 5


def tenants(bench: Bench) -> list[Figure]:
    """Send the same number of events to one tenant and to many, in turn, over HTTP."""
    template = bench.house(_TEMPLATE, customers=_CUSTOMERS)
    most = max(bench.amounts.tenants)
    houses = [template, *cloned(bench, template, count=most - 1)]
    streams = [
        Traffic(customers=house.customers, event_type=house.event_type, seed=number)
        for number, house in enumerate(houses)
    ]
    rates: dict[int, list[float]] = {count: [] for count in sorted({1, *bench.amounts.tenants})}
    with bench.web(_TEMPLATE) as web:
        for _ in range(bench.amounts.repeats):
            for count, taken in rates.items():
                # Each web process meets each tenant before it is measured: what is remembered is remembered by then.
                spread(bench, web, houses[:count], streams, size=1, rounds=8)
                batches = max(count, bench.amounts.events // _BATCH)
                rounds = -(-batches // count)
                size = min(_BATCH, bench.amounts.batch)
                sent = spread(bench, web, houses[:count], streams, size=size, rounds=rounds)
                taken.append(sent.accepted / sent.seconds)
    for house in houses:
        bench.ground.verify(house)
    return [
        Figure(
            bar="14",
            what=f"HTTP, batches of 1,000, into {count:,} tenants in turn / into one",
            ratios=[many / one for many, one in zip(taken, rates[1], strict=True)],
            must=0.8,
            goal=0.95,
            notes=[f"{medians(taken)} events/s beside {medians(rates[1])}; {_CUSTOMERS} customers a tenant"],
        )
        for count, taken in rates.items()
        if count > 1
    ]


def spread(
    bench: Bench, web: Web, houses: Sequence[House], streams: Sequence[Traffic], *, size: int, rounds: int
) -> Sent:
    """Send a number of batches to each of some tenants, one tenant after the other."""
    requests = [
        house.door(web).request(stream.batch(size).body)
        for _ in range(rounds)
        for house, stream in zip(houses, streams, strict=False)
    ]
    bench.ground.checkpoint()
    sent = send(port=web.port, requests=requests, connections=_CONNECTIONS)
    assert sent.accepted == size * rounds * len(houses), (sent.accepted, sent.refused)
    for house in houses:
        house.expected += size * rounds
    return sent


def cloned(bench: Bench, template: House, *, count: int) -> list[House]:
    """
    Copy a tenant, schema and rows, a number of times, and register each copy.

    Building one through migrations takes seconds; what is measured is the same tables, triggers and rows.
    """
    from apps.tenancy import services as tenancy_services
    from apps.tenancy.models import TenantState

    if count == 0:
        return []
    script, made, at = _dumped(bench, template), [], datetime.now(UTC)
    for number in range(count):
        slug = f"copy-{number}"
        schema_name = f"t_copy_{number}"
        with bench.ground.connected() as connection, connection.transaction():
            connection.execute(re.sub(rf"\b{template.schema_name}\b", schema_name, script).encode())
        tenant = tenancy_services.tenant_register(
            slug=slug, name=slug, domain=f"{slug}.localhost", timezone="UTC", at=at
        )
        tenancy_services.tenant_state_set(schema_name=str(tenant.schema_name), state=TenantState.READY, at=at)
        made.append(
            House(
                slug=slug,
                schema_name=schema_name,
                host=f"{slug}.localhost",
                secret=template.secret,
                event_type=template.event_type,
                customers=template.customers,
                expected=template.expected,
            )
        )
    return made


def _dumped(bench: Bench, house: House) -> str:
    from script.lib import postgres_binaries

    program = postgres_binaries.locate(home=bench.ground.local_dir / "postgres").bin_dir / "pg_dump"
    command = [str(program), "--schema", house.schema_name, "--inserts", "--rows-per-insert=500", bench.ground.url]
    said = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
    # Lines of a backslash are for psql alone.
    return re.sub(r"^\\.*$", "", said.stdout, flags=re.MULTILINE)


def memory(bench: Bench) -> list[Figure]:
    """Send a million events in five parts: memory of the web processes and cost of a batch must stay as they were."""
    house, stream = bench.house(), bench.traffic()
    size = min(_BATCH, bench.amounts.batch)
    count = max(_CONNECTIONS, bench.amounts.memory_events // size // _PARTS)
    kilobytes, rates = [], []
    with bench.web() as web:
        for _ in range(_PARTS):
            sent = bench.ground.post(house, web, stream.batches(size=size, count=count), connections=_CONNECTIONS)
            rates.append(sent.accepted / sent.seconds)
            kilobytes.append(sum(web.worker_kilobytes()))
    bench.ground.verify(house, is_deep=True)
    events = size * count
    return [
        Figure(
            bar="mem",
            what=f"memory of the web processes after {events * _PARTS:,} events / after {events:,}",
            ratios=[kilobytes[-1] / kilobytes[0]],
            must=1.1,
            goal=1.02,
            is_less_better=True,
            notes=[f"both workers together, MB: {', '.join(f'{value / 1024:.0f}' for value in kilobytes)}"],
        ),
        Figure(
            bar="lin",
            what=f"HTTP, batches of 1,000: the last fifth of {events * _PARTS:,} events / the first",
            ratios=[rates[-1] / rates[0]],
            must=0.9,
            goal=1.0,
            notes=[f"events/s: {', '.join(f'{rate:,.0f}' for rate in rates)} (median {statistics.median(rates):,.0f})"],
        ),
    ]
