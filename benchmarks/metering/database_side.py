"""Bars 1 and 1b: what exactly-once costs in the database itself, one connection, batches of 10,000.

The rows are judged beforehand; `usage_batch_store` writes them as it does for a request. Bar 1 has identity, events and
running totals: the same service and trigger on copies of the tables without partitions, found first in the search path.
No counter is open there. Bar 1b is the tenant as it is: monthly partitions, guards, and a live counter of the running
month for each customer and meter, which every event has to move. Refused events go to quarantine on both ways; there
are none. There is no guard of closed periods to pay for: late usage is found afterwards, by transaction snapshots.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from benchmarks.metering.bench import Bench
from benchmarks.metering.ground import Ground, House
from benchmarks.metering.report import Figure, medians
from benchmarks.metering.traffic import Batch

_FLAT = "bench_flat"
# The tables the trigger writes, without the month between: as many as the product has, whatever they are called.
_WRITTEN = """
SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace AND relkind = 'r' AND NOT relispartition
AND relname LIKE 'metering\\_usage%%'
"""
# What is done once for each statement that writes events.
_TRIGGERS_OF = """
SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = %s::regclass AND tgnewtable IS NOT NULL
"""
_KEYS_OF = """
SELECT conname, conkey::text FROM pg_constraint WHERE conrelid = %s::regclass AND contype IN ('p', 'u') ORDER BY 2
"""


def measure(bench: Bench) -> list[Figure]:
    """Measure the database's side, and the whole intake in one process beside it."""
    from apps.tenancy import context

    house, size = bench.house(), bench.amounts.batch
    flat_make(bench.ground, house)
    repeats = []
    with context.tenant_context(schema_name=house.schema_name):
        for _ in range(bench.amounts.repeats):
            repeats.append(one_repeat(bench, house, size=size, count=max(1, bench.amounts.events // size)))
            bench.ground.verify(house, is_deep=True)
    return figures(repeats)


def figures(repeats: Sequence[dict[str, float]]) -> list[Figure]:
    """Return the ratios of all repetitions to the bare COPY of each."""

    def figure(bar: str, name: str, what: str, must: float | None = None, goal: float | None = None) -> Figure:
        ratios = [rates[name] / rates["bare"] for rates in repeats]
        notes = [f"{medians([rates[name] for rates in repeats])} events/s"]
        return Figure(bar=bar, what=what, ratios=ratios, must=must, goal=goal, notes=notes)

    base = medians([rates["bare"] for rates in repeats])
    first = figure("1", "flat", "database side: identity + events + rollups / bare COPY", 0.45, 0.65)
    first.notes.append(f"bare COPY = 1.00: {base} events/s; two meters read each event; one connection")
    again = [rates["whole_again"] / rates["whole"] for rates in repeats]
    return [
        first,
        figure("1b", "exactly_once", "the same with partitions and two counters an event / bare COPY", 0.33, 0.5),
        figure("", "repeated", "the way that tells keys apart, every event new / bare COPY"),
        figure("", "whole", "whole intake in one process, JSON to commit / bare COPY"),
        Figure(bar="", what="a batch that was stored already / one that is new", ratios=again),
    ]


def one_repeat(bench: Bench, house: House, *, size: int, count: int) -> dict[str, float]:
    """Measure every way once on fresh batches and return events a second; the tenant is entered."""
    from django.db import transaction

    from apps.common.actors import OPERATOR
    from apps.metering import services
    from apps.workflows import usage_intake

    ground, stream = bench.ground, bench.traffic()
    at = datetime.now(UTC)

    def store(batches: Sequence[Any], *, is_repeat_expected: bool) -> Callable[[], None]:
        def work() -> None:
            for rows in batches:
                with transaction.atomic():
                    services.usage_batch_store(rows=rows, at=at, is_repeat_expected=is_repeat_expected)

        return work

    def accept(batches: Sequence[Batch]) -> Callable[[], None]:
        def work() -> None:
            for batch in batches:
                usage_intake.batch_accept(body=batch.body, actor=OPERATOR, at=at)

        return work

    def rate(work: Callable[[], None]) -> float:
        ground.checkpoint()
        began = time.perf_counter()
        work()
        return size * count / (time.perf_counter() - began)

    first = stream.batches(size=size, count=count)
    rows = judged(first, at=at)
    rates = {"bare": ground.bare_rate(first)}
    with flat_entered(house):
        rates["flat"] = rate(store(rows, is_repeat_expected=False))
        flat_verify(ground, expected=size * count)
    rates["exactly_once"] = rate(store(rows, is_repeat_expected=False))
    second = judged(stream.batches(size=size, count=count), at=at)
    rates["repeated"] = rate(store(second, is_repeat_expected=True))
    third = stream.batches(size=size, count=count)
    rates["whole"] = rate(accept(third))
    rates["whole_again"] = rate(accept(third))
    house.expected += 3 * size * count
    return rates


def judged(batches: Sequence[Batch], *, at: datetime) -> list[list[Any]]:
    """Return the rows of each batch as the intake would write them, so that only the database is measured."""
    from apps.metering import bodies as metering_bodies
    from apps.metering import services
    from apps.workflows import usage_judging

    services.usage_partitions_ensure(months=services.months_ahead(at=at))
    made = []
    for batch in batches:
        read = usage_judging.batch_read(raws=metering_bodies.batch_split(batch.body), mapping=None)
        rows = usage_judging.batch_judge(batch=read, terms=services.intake_terms_known(), at=at).rows
        made.append(sorted(rows, key=lambda row: row.key))
    return made


def flat_make(ground: Ground, house: House) -> None:
    """Copy the tables of usage without rows and without months, with the same trigger on the events."""
    with ground.connected() as connection:
        connection.execute(f"DROP SCHEMA IF EXISTS {_FLAT} CASCADE")
        connection.execute(f"CREATE SCHEMA {_FLAT}")
        for (table,) in connection.execute(_WRITTEN, [house.schema_name]).fetchall():
            theirs, ours = f"{house.schema_name}.{table}", f"{_FLAT}.{table}"
            connection.execute(f"CREATE TABLE {ours} (LIKE {theirs} INCLUDING ALL)")
            pairs = zip(
                connection.execute(_KEYS_OF, [ours]).fetchall(),
                connection.execute(_KEYS_OF, [theirs]).fetchall(),
                strict=True,
            )
            for (made, made_of), (wanted, wanted_of) in pairs:
                assert made_of == wanted_of, (made_of, wanted_of)
                if made != wanted:
                    connection.execute(f"ALTER TABLE {ours} RENAME CONSTRAINT {made} TO {wanted}")
        events = f"{_FLAT}.metering_usageevent"
        connection.execute(f"CREATE TABLE {events} (LIKE {house.schema_name}.metering_usageevent INCLUDING ALL)")
        theirs = f"{house.schema_name}.metering_usageevent"
        for (trigger,) in connection.execute(_TRIGGERS_OF, [theirs]).fetchall():
            assert f" ON {theirs} " in trigger, trigger
            connection.execute(trigger.replace(f" ON {theirs} ", f" ON {events} "))


@contextmanager
def flat_entered(house: House) -> Iterator[None]:
    """Let the product's own statements find the flat tables before the tenant's."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SHOW search_path")
        (before,) = cursor.fetchone()
        cursor.execute(f"SET search_path = {_FLAT}, {house.schema_name}, public")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('search_path', %s, false)", [before])


def flat_verify(ground: Ground, *, expected: int) -> None:
    """Require that the flat tables hold what was written, then empty them for the next repetition."""
    with ground.connected() as connection:
        row = connection.execute(
            f"SELECT (SELECT count(*) FROM {_FLAT}.metering_usageevent e"
            f"  JOIN {_FLAT}.metering_usageeventkey k USING (event_key)),"
            f" (SELECT sum(event_count)::bigint FROM {_FLAT}.metering_usageaggregate)"
        ).fetchone()
        assert row == (expected, 2 * expected), (row, expected)
        for (table,) in connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace AND relkind = 'r'", [_FLAT]
        ).fetchall():
            connection.execute(f"TRUNCATE {_FLAT}.{table}")
