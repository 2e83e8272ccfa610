"""The ground that is measured on: the product installed on a throwaway server, tenants in it, and the bare base."""

import os
import secrets
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from benchmarks.metering import servers
from benchmarks.metering.sender import Door, Sent, send
from benchmarks.metering.servers import Web
from benchmarks.metering.traffic import BARE_COLUMNS, Batch, Customer, rows_in_blocks
from script.lib import server as product_server

CUSTOMERS = 1_000

_HOURS_WRONG = """
SELECT * FROM (
    SELECT customer_id, date_trunc('hour', occurred_at, 'UTC') AS hour,
           count(*) AS requests, sum((properties ->> 'bytes')::numeric) AS bytes
    FROM metering_usageevent WHERE type = %(event_type)s GROUP BY 1, 2
) made FULL JOIN (
    SELECT a.customer_id, a.hour, max(a.event_count) AS n, min(a.event_count) AS least,
           sum(a.value_sum) FILTER (WHERE m.aggregation = 'count') AS requests,
           sum(a.value_sum) FILTER (WHERE m.aggregation = 'sum') AS bytes
    FROM metering_usageaggregate a JOIN metering_meter m ON m.id = a.meter_id
    WHERE m.event_type = %(event_type)s GROUP BY 1, 2
) kept USING (customer_id, hour)
WHERE (made.requests, made.requests, made.requests, made.bytes)
      IS DISTINCT FROM (kept.n, kept.least, kept.requests, kept.bytes) LIMIT 3
"""
_COUNTERS_WRONG = """
SELECT c.* FROM metering_usagecounter c
JOIN metering_meter m ON m.id = c.meter_id AND m.event_type = %(event_type)s
LEFT JOIN (
    SELECT e.customer_id, c.starts_at, count(*) AS requests, sum((e.properties ->> 'bytes')::numeric) AS bytes
    FROM metering_usageevent e
    JOIN (SELECT DISTINCT starts_at, ends_at FROM metering_usagecounter) c
      ON e.occurred_at >= c.starts_at AND e.occurred_at < c.ends_at
    WHERE e.type = %(event_type)s GROUP BY 1, 2
) made USING (customer_id, starts_at)
WHERE (c.event_count, c.used_units) IS DISTINCT FROM (
    coalesce(made.requests, 0),
    coalesce(CASE m.aggregation WHEN 'count' THEN made.requests ELSE made.bytes END, 0)) LIMIT 3
"""

# Events, events with a key of their own, what the totals count of them; and keys that no event has.
_TOTALS = """
SELECT (SELECT count(*) FROM metering_usageevent WHERE type = %(event_type)s),
       (SELECT count(DISTINCT k.event_key) FROM metering_usageevent e JOIN metering_usageeventkey k USING (event_key)
        WHERE e.type = %(event_type)s),
       (SELECT coalesce(sum(a.event_count), 0)::bigint FROM metering_usageaggregate a
        JOIN metering_meter m ON m.id = a.meter_id
        WHERE m.event_type = %(event_type)s AND m.aggregation = 'count'),
       (SELECT count(*) FROM metering_usageeventkey) - (SELECT count(*) FROM metering_usageevent)
"""


@dataclass(kw_only=True)
class House:
    """One tenant: its schema, its door, its customers, and how many events it was sent so far."""

    slug: str
    schema_name: str
    host: str
    secret: str
    event_type: str
    customers: list[Customer]
    expected: int = 0

    def door(self, web: Web) -> Door:
        """Return where its events go in."""
        return Door(port=web.port, host=self.host, secret=self.secret)


@dataclass(kw_only=True)
class Ground:
    """A server with the product on it."""

    url: str
    local_dir: Path
    environ: dict[str, str]
    notes: list[str] = field(default_factory=list)

    @contextmanager
    def connected(self) -> Iterator[psycopg.Connection[Any]]:
        """Open a connection of our own, beside the product's."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            yield connection

    def ask(self, statement: str, *arguments: Any) -> Any:
        """Return the first value that a statement gives."""
        with self.connected() as connection:
            row = connection.execute(statement, arguments).fetchone()
        assert row is not None
        return row[0]

    def checkpoint(self) -> None:
        """Write out what earlier cases left, so that none pays for another's."""
        with self.connected() as connection:
            connection.execute("CHECKPOINT")

    def deadlocks(self) -> int:
        """Return how many deadlocks the database has broken so far."""
        return int(self.ask("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"))

    def bare_rate(self, batches: Sequence[Batch]) -> float:
        """Return events a second of plain COPY of the same rows, 10,000 a transaction, without index or constraint."""
        blocks = rows_in_blocks(batches)
        with self.connected() as connection:
            connection.execute("DROP TABLE IF EXISTS public.bare_events")
            connection.execute(f"CREATE TABLE public.bare_events ({BARE_COLUMNS})")
            connection.execute("CHECKPOINT")
            began = time.perf_counter()
            for block in blocks:
                with connection.transaction(), connection.cursor().copy("COPY public.bare_events FROM STDIN") as copy:
                    copy.write(block)
            seconds = time.perf_counter() - began
            (count,) = connection.execute("SELECT count(*) FROM public.bare_events").fetchone() or (0,)
            connection.execute("DROP TABLE public.bare_events")
        size = sum(batch.size for batch in batches)
        assert count == size, (count, size)
        return size / seconds

    def post(self, house: House, web: Web, batches: Sequence[Batch], *, connections: int, path: str = "") -> Sent:
        """Send batches over HTTP after a checkpoint and require that each event was stored or was there."""
        door = house.door(web)
        given = {"path": path} if path else {}
        requests = [door.request(batch.body, **given) for batch in batches]
        self.checkpoint()
        sent = send(port=door.port, requests=requests, connections=connections)
        size = sum(batch.size for batch in batches)
        assert (sent.refused, sent.accepted + sent.duplicates) == (0, size), (sent.refused, sent.accepted, size)
        house.expected += sent.accepted
        return sent

    def verify(self, house: House, *, is_deep: bool = False) -> None:
        """
        Require in the database: each event there once, under a key of its own, and totals that add up to them.

        Deep means each hour of each customer and each counter, rebuilt from the events by statements of our own.
        """
        with self.connected() as connection:
            connection.execute(f"SET search_path = {house.schema_name}")
            found = connection.execute(_TOTALS, {"event_type": house.event_type}).fetchone()
            assert found == (house.expected, house.expected, house.expected, 0), (found, house.expected)
            for statement in (_HOURS_WRONG, _COUNTERS_WRONG) if is_deep else ():
                wrong = connection.execute(statement, {"event_type": house.event_type}).fetchall()
                assert wrong == [], wrong


@contextmanager
def throwaway_ground() -> Iterator[Ground]:
    """Install the product on a PostgreSQL that exists for this measurement only."""
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=_scratch()) as folder:
        local_dir = Path(folder)
        with servers.postgres_running(local_dir / "postgres") as postgres:
            environ = servers.product_environment(local_dir, postgres)
            product_open(environ)
            from django.core.management import call_command
            from django.db import connections

            call_command("migrate_schemas", shared=True, interactive=False, verbosity=0)
            try:
                yield Ground(url=postgres.dsn(database=product_server.DATABASE), local_dir=local_dir, environ=environ)
            finally:
                connections.close_all()


def _scratch() -> Path:
    folder = product_server.ROOT / ".local"
    folder.mkdir(exist_ok=True)
    return folder


def product_open(environ: dict[str, str]) -> None:
    """Set the product up in this process, with the settings its web server has."""
    os.environ.update(environ)
    import django

    django.setup()


def house_build(*, slug: str, customers: int = CUSTOMERS) -> House:
    """Build a tenant through the product's own code: schema, key, customers, and two meters that read each event."""
    from apps.tenancy import context
    from apps.workflows import provisioning

    at = datetime.now(UTC)
    tenant = provisioning.tenant_provision(
        slug=slug, name=slug.title(), timezone="UTC", domain=f"{slug}.localhost", at=at
    )
    schema_name = str(tenant.schema_name)
    with context.tenant_context(schema_name=schema_name):
        return house_furnish(slug=slug, schema_name=schema_name, customers=customers)


def house_furnish(*, slug: str, schema_name: str, customers: int) -> House:
    """Give the tenant that is entered a key, customers, meters, and counters of this month for each of both."""
    from apps.common.actors import OPERATOR
    from apps.customers import services as customer_services
    from apps.customers.inputs import CustomerInput
    from apps.identity import services as identity_services
    from apps.identity.models import Scope

    at = datetime.now(UTC)
    _key, secret = identity_services.api_key_issue(
        name="benchmark", scopes=[Scope.EVENTS_WRITE.value], is_live=True, expires_at=None, actor=OPERATOR, at=at
    )
    token = secrets.token_hex(3)
    event_type = f"bench.{token}"
    meters = [
        meter_define(code=f"requests_{token}", event_type=event_type, aggregation="count"),
        meter_define(code=f"bytes_{token}", event_type=event_type, aggregation="sum", value_property="bytes"),
    ]
    made = []
    for number in range(customers):
        code = f"c{token}-{number}"
        data = CustomerInput(
            external_id=code,
            name=f"Customer {number}",
            email=f"billing@{code}.example",
            address_line1="1 Main Street",
            city="Springfield",
            postal_code="12345",
            country="US",
        )
        made.append(Customer(code=code, id=str(customer_services.customer_create(data=data, actor=OPERATOR, at=at).id)))
    counters_open(meters=meters, customers=made, at=at)
    host = f"{slug}.localhost"
    return House(slug=slug, schema_name=schema_name, host=host, secret=secret, event_type=event_type, customers=made)


def counters_open(*, meters: Sequence[Any], customers: Sequence[Customer], at: datetime) -> None:
    """Count this month's usage of each customer and meter live, as a limit on each of them would have it."""
    from apps.metering import usage_counters

    starts_at = at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    ends_at = (starts_at + timedelta(days=32)).replace(day=1)
    windows = [
        usage_counters.CounterWindow(
            meter=meter, customer_id=UUID(customer.id), subscription_id=None, starts_at=starts_at, ends_at=ends_at
        )
        for customer in customers
        for meter in meters
    ]
    usage_counters.usage_counters_open(windows=windows, at=at)


def meter_define(**terms: Any) -> Any:
    """Define a meter in the tenant that is entered."""
    from apps.common.actors import OPERATOR
    from apps.metering import services
    from apps.metering.inputs import MeterInput

    return services.meter_define(data=MeterInput(name=terms["code"], **terms), actor=OPERATOR, at=datetime.now(UTC))
