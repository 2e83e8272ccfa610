"""Bars 11 to 13: usage of a customer in a month of events that are there, and taking in more beside them."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

from benchmarks.metering import history as histories
from benchmarks.metering.bench import Bench
from benchmarks.metering.database_side import judged
from benchmarks.metering.ground import House
from benchmarks.metering.history import History
from benchmarks.metering.report import Figure

_PARTS = 10
_READS = 60
_EVENTS_OF = "FROM metering_usageevent e WHERE e.customer_id = %(customer_id)s AND e.type = %(type)s"
_IN_WINDOW = "AND e.occurred_at >= %(starts_at)s AND e.occurred_at < %(ends_at)s"
_NUMBER = "(e.properties ->> %(property)s)::numeric"
# What somebody would ask who has the events and nothing else.
RAW = {
    "count": f"SELECT count(*) {_EVENTS_OF} {_IN_WINDOW}",
    "sum": f"SELECT sum({_NUMBER}) {_EVENTS_OF} {_IN_WINDOW}",
    "max": f"SELECT max({_NUMBER}) {_EVENTS_OF} {_IN_WINDOW}",
    "latest": f"SELECT {_NUMBER} {_EVENTS_OF} {_IN_WINDOW} ORDER BY e.occurred_at DESC LIMIT 1",
    "unique_count": f"SELECT count(DISTINCT e.properties ->> %(property)s) {_EVENTS_OF} {_IN_WINDOW}",
    "weighted_sum": f"""
        SELECT sum({_NUMBER} * (extract(epoch FROM %(ends_at)s - e.occurred_at) * 1000000)) {_EVENTS_OF} {_IN_WINDOW}
    """,
}
_PRIMARY_KEY = "SELECT name FROM metering_meter WHERE id = %s"


def measure(bench: Bench, *, bars: Sequence[str]) -> Iterator[Figure]:
    """Load the month, then read it and add to it."""
    from apps.tenancy import context

    full, empty = bench.house("full", customers=histories.CUSTOMERS), bench.house("empty")
    meters: dict[str, dict[str, Any]] = {}
    for house in (full, empty):
        with context.tenant_context(schema_name=house.schema_name):
            meters[house.schema_name] = histories.meters_define(histories.prefix_of(house))
    events = bench.amounts.present_events
    month = histories.load(bench.ground, full, meters=meters[full.schema_name], events=events, parts=_PARTS)
    yield _growth(bench, full, month)
    if {"11", "12"} & set(bars):
        with context.tenant_context(schema_name=full.schema_name):
            yield from usage(bench, full, month)
    if "13" in bars:
        yield beside(bench, full=full, empty=empty, present=month.events)


def _growth(bench: Bench, house: House, month: History) -> Figure:
    rates = month.rates
    totals = bench.ground.ask(f"SELECT count(*) FROM {house.schema_name}.metering_usageaggregate")
    lasts = bench.ground.ask(f"SELECT count(*) FROM {house.schema_name}.metering_usagelast")
    notes = [
        f"{month.events:,} events through COPY with every trigger on in {sum(month.seconds):,.0f} s; "
        f"events/s by tenth: {', '.join(f'{rate:,.0f}' for rate in rates)}",
        f"{totals:,} running totals, {lasts:,} last readings",
    ]
    return Figure(
        bar="", what="loading the month: last tenth / second tenth", ratios=[rates[-1] / rates[1]], notes=notes
    )


def usage(bench: Bench, house: House, month: History) -> list[Figure]:
    """Read the month of the heaviest customer by each meter: beside a primary key, and beside the raw events."""
    at_key, times_faster = [], []
    for aggregation, meter in month.meters.items():
        beside_key, beside_raw = [], []
        notes: list[str] = []
        for _ in range(bench.amounts.repeats):
            figures = _one_read(house, month, aggregation, meter)
            beside_key.append(figures["read"] / figures["key"])
            beside_raw.append(figures["raw"] / figures["read"])
            notes = [
                f"a month of the heaviest customer {figures['read'] * 1000:.2f} ms (a typical one "
                f"{figures['typical'] * 1000:.2f} ms), a primary-key read {figures['key'] * 1000:.2f} ms, "
                f"raw {figures['raw'] * 1000:,.0f} ms over {figures['events']:,.0f} events"
            ]
        what = f"month of the heaviest customer, {aggregation}, from rollups / primary-key read"
        at_key.append(Figure(bar="11", what=what, ratios=beside_key, must=10, goal=5, is_less_better=True, notes=notes))
        what = f"the same, {aggregation}: times faster than the raw events, answers equal"
        times_faster.append(Figure(bar="12", what=what, ratios=beside_raw, must=70, goal=300))
    return [_live(bench, house, month), *at_key, *times_faster]


def _live(bench: Bench, house: House, month: History) -> Figure:
    """Read the running total of the window, as a limit does, and require that it is what the rollups say."""
    from apps.common.db import fetch_all
    from apps.metering import selectors, usage_counters

    meter = month.meters["sum"]
    window = {
        "meter": meter,
        "customer_id": UUID(house.customers[0].id),
        "subscription_id": None,
        "starts_at": month.starts_at,
        "ends_at": month.ends_at,
    }
    (counter_id,) = usage_counters.usage_counters_open(
        windows=[usage_counters.CounterWindow(**window)], at=datetime.now(UTC)
    )
    assert usage_counters.usage_counter_read(counter_id=counter_id) == selectors.usage_quantity(**window).raw
    ratios = [
        median_seconds(lambda: usage_counters.usage_counter_read(counter_id=counter_id), _READS * 5)
        / median_seconds(lambda: fetch_all(_PRIMARY_KEY, [meter.id]), _READS * 5)
        for _ in range(bench.amounts.repeats)
    ]
    what = "usage so far of a window with a live counter, sum / primary-key read"
    return Figure(bar="11", what=what, ratios=ratios, must=10, goal=5, is_less_better=True)


def _one_read(house: House, month: History, aggregation: str, meter: Any) -> dict[str, float]:
    from apps.common.db import fetch_all
    from apps.metering import selectors

    def window(customer: int) -> dict[str, Any]:
        return {
            "customer_id": UUID(house.customers[customer].id),
            "starts_at": month.starts_at,
            "ends_at": month.ends_at,
        }

    def read(customer: int) -> Any:
        return selectors.usage_quantity(meter=meter, subscription_id=None, **window(customer))

    kind = meter.event_type.rpartition(".")[2]
    name = next(name for known, name, _meters in histories.KINDS if known == kind)
    began = time.perf_counter()
    ((raw,),) = fetch_all(RAW[aggregation], {**window(0), "type": meter.event_type, "property": name})
    raw_seconds = time.perf_counter() - began
    answer = read(0)
    assert _equal(aggregation, answer.raw, raw, month), (aggregation, answer.raw, raw)
    return {
        "key": median_seconds(lambda: fetch_all(_PRIMARY_KEY, [meter.id]), _READS * 5),
        "read": median_seconds(lambda: read(0), _READS),
        "typical": median_seconds(lambda: read(histories.TYPICAL), _READS),
        "raw": raw_seconds,
        "events": float(answer.event_count),
    }


def _equal(aggregation: str, answer: Decimal, raw: Any, month: History) -> bool:
    if aggregation != "weighted_sum":
        return answer == Decimal(raw)
    microseconds = int((month.ends_at - month.starts_at).total_seconds()) * 1_000_000
    # The raw side is an exact fraction, the answer is kept to twelve decimals.
    return abs(Fraction(Decimal(raw)) / microseconds - Fraction(answer)) <= Fraction(1, 2 * 10**12)


def median_seconds(work: Callable[[], Any], count: int) -> float:
    """Return the middle of how long some work takes, within a second or a few tries, whichever is more."""
    taken: list[float] = []
    while len(taken) < count and (sum(taken) < 1 or len(taken) < 3):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def beside(bench: Bench, *, full: House, empty: House, present: int) -> Figure:
    """Write batches of 10,000 into a tenant with a month of events and into an empty one with the same meters."""
    from apps.metering import services
    from apps.tenancy import context

    size = bench.amounts.batch
    count = max(1, bench.amounts.events // size)
    ratios, notes = [], []
    for number in range(bench.amounts.repeats):
        rates = {}
        # In turn, so that neither is always the one that comes first.
        for slug, house in sorted({"full": full, "empty": empty}.items(), reverse=number % 2 == 0):
            at = datetime.now(UTC)
            with context.tenant_context(schema_name=house.schema_name):
                batches = judged(bench.traffic(slug).batches(size=size, count=count), at=at)
                bench.ground.checkpoint()
                began = time.perf_counter()
                for rows in batches:
                    services.usage_batch_store(rows=rows, at=at, is_repeat_expected=False)
                rates[slug] = size * count / (time.perf_counter() - began)
            house.expected += size * count
            bench.ground.verify(house)
        ratios.append(rates["full"] / rates["empty"])
        notes = [f"{rates['full']:,.0f} events/s beside {rates['empty']:,.0f} into the empty tenant, database side"]

    what = f"ingest with {present:,} events present / into an empty tenant"
    return Figure(bar="13", what=what, ratios=ratios, must=0.7, goal=0.9, notes=notes)
