"""What exactly-once costs: the same batches with every guarantee, and as plain COPY without any.

    python -m benchmarks.metering_exactly_once --url postgresql://... [--batch 10000] [--batches 5] [--repeats 5]

Makes a database of its own on that server, fills it through the product's own code, checks the totals in the database,
prints ratios, drops the database. Each repetition measures its own base, so a busy machine moves both.
"""

import argparse
import json
import os
import secrets
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

AT = datetime(2026, 1, 15, tzinfo=UTC)
CUSTOMERS = 200
_SETTINGS = {"SECRET_KEY": "benchmarks only: nothing signed with this is used", "LOCAL_DIR": ".local/benchmarks"}

BARE_TABLE = """
CREATE TABLE bare_events (event_key uuid, source text, event_id text, type text, customer_id uuid, subscription_id uuid,
    occurred_at timestamptz, received_at timestamptz, quantity numeric, properties jsonb, mapping_version smallint,
    batch_position smallint)
"""
COPY_BARE = "COPY bare_events FROM STDIN"


@contextmanager
def own_database(url: str) -> Iterator[str]:
    """Make a database on the server and yield its URL; drop it afterwards."""
    name = f"bench_{os.getpid()}_{secrets.token_hex(3)}"
    parts = {key: str(value) for key, value in conninfo_to_dict(url).items()}
    host = f"?host={parts['host']}" if parts.get("host", "").startswith("/") else ""
    address = "" if host else f"{parts.get('host', '127.0.0.1')}:{parts.get('port', '5432')}"
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        yield f"postgresql://{parts['user']}:{parts.get('password', '')}@{address}/{name}{host}"
    finally:
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def prepare() -> str:
    """Build one tenant; return its schema."""
    import django

    django.setup()
    from django.core.management import call_command

    from apps.workflows import provisioning

    call_command("migrate_schemas", shared=True, interactive=False, verbosity=0)
    tenant = provisioning.tenant_provision(slug="bench", name="Bench", timezone="UTC", domain="bench.localhost", at=AT)
    return str(tenant.schema_name)


def fill() -> None:
    """Define two meters, take in the customers, and make the table that has no guarantee at all."""
    from apps.common.db import fetch_all
    from tests.builders import customers, metering

    metering.meter(code="bench_requests", event_type="bench.call")
    metering.meter(code="bench_bytes", event_type="bench.call", aggregation="sum", value_property="bytes")
    for number in range(CUSTOMERS):
        customers.customer(external_id=f"bench-{number}")
    fetch_all(BARE_TABLE)


def batch_of(number: int, size: int) -> bytes:
    """Return the body of one batch: time-ordered ids, many customers, three hours, three properties."""
    from apps.common import ids

    events = [
        {
            "id": str(ids.new_id()),
            "source": f"gateway-{index % 4}",
            "type": "bench.call",
            "customer": f"bench-{(index * index) % CUSTOMERS}",
            "occurred_at": (AT - timedelta(minutes=(index * 7 + number) % 180)).isoformat(),
            "properties": {"bytes": str(100 + index % 9_000), "region": "eu" if index % 3 else "us", "status": "200"},
        }
        for index in range(size)
    ]
    return json.dumps({"events": events}).encode()


def seconds(work: Callable[[], None]) -> float:
    """Return how long some work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def judged(bodies: list[bytes]) -> list[list[Any]]:
    """Return the rows of each batch as the intake would write them, so that only the database is measured."""
    from apps.metering import bodies as metering_bodies
    from apps.metering import event_checks, normalisers, services
    from apps.metering.usage_rows import EventPlace, build_usage_row
    from apps.workflows import usage_parties

    batches = []
    for body in bodies:
        events = [normalisers.event_normalise(raw=raw, mapping=None) for raw in metering_bodies.batch_split(body)]
        parties = usage_parties.customers_find(references={str(event.customer) for event in events})
        rows = [
            build_usage_row(
                event=event,
                place=EventPlace(
                    customer_id=parties[str(event.customer)].id,
                    subscription_id=None,
                    occurred_at=event_checks.instant_read(str(event.occurred_at)),
                    received_at=AT,
                    quantity=None,
                ),
            )
            for event in events
        ]
        batches.append(sorted(rows, key=lambda row: row.key))
    services.usage_partitions_ensure(months=services.months_ahead(at=AT))
    return batches


def one_repeat(size: int, count: int) -> dict[str, float]:
    """Measure every mode once on fresh batches and return events a second."""
    from django.db import connection, transaction

    from apps.common.actors import OPERATOR
    from apps.metering import services
    from apps.workflows import usage_intake

    bodies = [batch_of(number, size) for number in range(count)]
    batches = judged(bodies)

    def bare() -> None:
        for rows in batches:
            with transaction.atomic(), connection.cursor() as cursor, cursor.copy(COPY_BARE) as copy:
                copy.write("".join(f"{row.key}\t{row.line}\n" for row in rows))

    def exactly_once() -> None:
        for rows in batches:
            with transaction.atomic():
                services.usage_batch_store(rows=rows, at=AT, is_repeat_expected=False)

    def repeated() -> None:
        for rows in batches:
            with transaction.atomic():
                services.usage_batch_store(rows=rows, at=AT, is_repeat_expected=True)

    whole_bodies = [batch_of(number, size) for number in range(count)]

    def whole() -> None:
        for body in whole_bodies:
            usage_intake.batch_accept(body=body, actor=OPERATOR, at=AT)

    rates = {}
    for name, work in (
        ("bare", bare), ("exactly_once", exactly_once), ("repeated", repeated), ("whole", whole), ("whole_again", whole)
    ):  # fmt: skip
        with connection.cursor() as cursor:
            cursor.execute("CHECKPOINT")
        rates[name] = size * count / seconds(work)
    return rates


def totals_verify(expected: int) -> None:
    """Require that the database holds every event once and that totals equal events."""
    from apps.common.db import fetch_all
    from apps.metering import selectors

    ((events, keys),) = fetch_all(
        "SELECT count(*), count(DISTINCT k.event_key) FROM metering_usageevent e "
        "LEFT JOIN metering_usageeventkey k USING (event_key) WHERE e.type = 'bench.call'"
    )
    assert (events, keys) == (expected, expected), (events, keys, expected)
    assert selectors.aggregates_compare(limit=1) == []


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", required=True, help="a server on which a database may be made")
    parser.add_argument("--batch", type=int, default=10_000)
    parser.add_argument("--batches", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with own_database(options.url) as url:
        os.environ.update(_SETTINGS, DATABASE_URL=url, CELERY_BROKER_URL="memory://", DEBUG="false")
        os.environ["DJANGO_SETTINGS_MODULE"] = "billing_site.settings"
        schema_name = prepare()
        from django.db import connection

        from apps.tenancy import context

        with context.tenant_context(schema_name=schema_name):
            fill()
            repeats = []
            for number in range(options.repeats):
                repeats.append(one_repeat(options.batch, options.batches))
                totals_verify((number + 1) * options.batch * options.batches * 2)
        connection.close()
    report(repeats, options.batch)


def report(repeats: list[dict[str, float]], size: int) -> None:
    """Print medians as ratios of the base that was measured beside them."""
    lines = {
        "exactly_once": "identity + totals + partitions, database side",
        "repeated": "every event a duplicate, database side",
        "whole": "whole intake in one process, JSON to commit",
        "whole_again": "whole intake, every batch a second time",
    }
    base = statistics.median(rates["bare"] for rates in repeats)
    sys.stdout.write(f"batches of {size}; plain COPY without keys = 1.00 ({base:,.0f} events/s here)\n")
    for name, meaning in lines.items():
        ratios = sorted(rates[name] / rates["bare"] for rates in repeats)
        middle = statistics.median(ratios)
        sys.stdout.write(f"{middle:5.2f}  [{ratios[0]:.2f}..{ratios[-1]:.2f}]  {meaning}\n")
    again = statistics.median(rates["whole_again"] / rates["whole"] for rates in repeats)
    sys.stdout.write(f"{again:5.2f}  a batch that was stored already, against one that is new\n")
    sys.stdout.write("totals verified in the database after every repetition\n")


if __name__ == "__main__":
    main()
