"""Bars 7 and 8: what a check costs beside a primary key, and how many decisions an exact limit takes a second."""

import json
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from benchmarks.metering.bench import Bench
from benchmarks.metering.ground import House
from benchmarks.metering.report import Figure
from benchmarks.metering.traffic import Customer

WRITERS = 8
_BATCH = 1_000
_PRIMARY_KEY = "SELECT version FROM entitlements_accessterms WHERE customer_id = %s"
# One durable decision of somebody who has a table and no batches.
_CONDITIONAL = """
UPDATE public.bench_quota SET used = used + 1 WHERE id = 1 AND used + 1 <= 1000000000
"""


@dataclass(frozen=True, kw_only=True)
class Limited:
    """A customer with a limit on a meter of its own."""

    customer: Customer
    feature: str
    event_type: str


def measure(bench: Bench, *, bars: Sequence[str]) -> list[Figure]:
    """Measure the check, the writers, or both."""
    from apps.tenancy import context

    house, found = bench.house(), []
    with context.tenant_context(schema_name=house.schema_name):
        if "7" in bars:
            found += checks(bench, house)
        if "8" in bars:
            found += writers(bench, house)
    return found


def checks(bench: Bench, house: House) -> list[Figure]:
    """Measure the library call beside a bare read by primary key, in turns, on the same connection."""
    from apps.common.db import fetch_all
    from apps.workflows import access_checks

    limited = _limited(house, limit=10**9, number=1)
    customer_id, at = UUID(limited.customer.id), datetime.now(UTC)

    def check() -> None:
        access_checks.entitlement_check(customer_id=customer_id, feature_code=limited.feature, units=Decimal(1), at=at)

    def key() -> None:
        fetch_all(_PRIMARY_KEY, [customer_id])

    medians, slow, notes = [], [], []
    for _ in range(bench.amounts.repeats):
        asked, base = _in_turns(check, key, times=bench.amounts.singles * 2)
        medians.append(_share(asked, 50) / _share(base, 50))
        slow.append(_share(asked, 99) / _share(base, 99))
        notes = [f"{_share(asked, 50):,.0f} us p50, {_share(asked, 99):,.0f} us p99; one read in both cases"]
    what = "limit check (library call) / primary-key SELECT"
    return [
        Figure(bar="7", what=f"{what}, p50", ratios=medians, must=1.5, goal=1.15, is_less_better=True, notes=notes),
        Figure(bar="7", what=f"{what}, p99", ratios=slow, must=2, goal=1.5, is_less_better=True),
    ]


def writers(bench: Bench, house: House) -> list[Figure]:
    """Let eight writers of batches meet a hard limit through the whole intake; as many decide by one UPDATE each."""
    ratios, notes = [], []
    count = max(WRITERS * 2, bench.amounts.small_events // _BATCH // WRITERS * WRITERS)
    for number in range(bench.amounts.repeats):
        limited = _limited(house, limit=count * _BATCH - _BATCH // 2, number=number + 10)
        batches = [_bodies(limited) for _ in range(count)]
        bench.ground.checkpoint()
        seconds, accepted = _at_once(house, [batches[i::WRITERS] for i in range(WRITERS)])
        admitted_above = accepted - (count * _BATCH - _BATCH // 2)
        assert admitted_above == 0, admitted_above
        _used_verify(bench, house, limited, accepted)
        base = _conditional_rate(bench, decisions=max(200, bench.amounts.singles))
        ratios.append(count * _BATCH / seconds / base)
        notes = [
            f"{count * _BATCH / seconds:,.0f} decisions a second through the whole intake, {base:,.0f} by UPDATE",
            "admitted - limit = 0 in each repetition; counter and events agree",
        ]
    what = f"hard limit, {WRITERS} writers, batches of {_BATCH:,}: decisions / one durable conditional UPDATE each"
    return [Figure(bar="8", what=what, ratios=ratios, must=20, goal=200, notes=notes)]


def _limited(house: House, *, limit: int, number: int) -> Limited:
    """Sell a customer of its own a plan whose limit refuses."""
    from apps.common.actors import OPERATOR
    from apps.customers import services as customer_services
    from apps.customers.inputs import CustomerInput
    from apps.plans import services as plan_services
    from apps.subscriptions import services as subscription_services
    from benchmarks.metering.ground import meter_define

    at = datetime.now(UTC)
    feature = f"limited-{number}-{at:%H%M%S%f}"
    meter_define(code=feature, event_type=feature, aggregation="count")
    document = {
        "plan": feature,
        "name": "Limited",
        "currency": "USD",
        "interval": {"unit": "month", "count": 1},
        "effective_at": "2020-01-01T00:00:00Z",
        "base_fee": None,
        "charges": [],
        "features": {feature: {"limit": str(limit), "meter": feature, "on_exceed": "reject"}},
        "examples": [{"usage": {}, "total": "0.00"}],
    }
    plan_services.plan_document_apply(document=document, actor=OPERATOR, at=at)
    plan_services.plan_version_publish(plan_code=feature, version=1, actor=OPERATOR, at=at)
    customer = customer_services.customer_create(
        data=CustomerInput(external_id=feature, name="Limited", country="US"), actor=OPERATOR, at=at
    )
    subscription_services.subscription_create(
        customer=customer, plan_code=feature, starts_at=at - timedelta(minutes=5), actor=OPERATOR, at=at
    )
    return Limited(customer=Customer(code=feature, id=str(customer.id)), feature=feature, event_type=feature)


def _bodies(limited: Limited) -> bytes:
    from apps.common import ids

    now = datetime.now(UTC).isoformat()
    events = [
        {
            "id": str(ids.new_id()),
            "source": "bench",
            "type": limited.event_type,
            "customer": limited.customer.code,
            "occurred_at": now,
            "properties": {"bytes": "512", "region": "eu"},
        }
        for _ in range(_BATCH)
    ]
    return json.dumps({"events": events}).encode()


def _at_once(house: House, shares: Sequence[Sequence[bytes]]) -> tuple[float, int]:
    """Send each share from a thread with a connection of its own; return the seconds and what was accepted."""
    from django.db import connection, connections

    from apps.common.actors import OPERATOR
    from apps.tenancy import context
    from apps.workflows import usage_intake

    ready = threading.Barrier(len(shares) + 1)

    def work(share: Sequence[bytes]) -> int:
        try:
            with context.tenant_context(schema_name=house.schema_name):
                connection.ensure_connection()
                ready.wait(timeout=60)
                at = datetime.now(UTC)
                return sum(usage_intake.batch_accept(body=body, actor=OPERATOR, at=at).accepted for body in share)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(max_workers=len(shares)) as pool:
        working = [pool.submit(work, share) for share in shares]
        ready.wait(timeout=60)
        began = time.perf_counter()
        accepted = sum(one.result() for one in working)
        return time.perf_counter() - began, accepted


def _used_verify(bench: Bench, house: House, limited: Limited, accepted: int) -> None:
    with bench.ground.connected() as connection:
        connection.execute(f"SET search_path = {house.schema_name}")
        found = connection.execute(
            "SELECT c.used_units, (SELECT count(*) FROM metering_usageevent e WHERE e.customer_id = c.customer_id) "
            "FROM metering_usagecounter c WHERE c.customer_id = %s AND c.ends_at > now() AND c.starts_at <= now()",
            [limited.customer.id],
        ).fetchone()
    assert found == (accepted, accepted), (found, accepted)


def _conditional_rate(bench: Bench, *, decisions: int) -> float:
    """Return decisions a second of eight connections, each a durable conditional UPDATE of one row."""
    with bench.ground.connected() as connection:
        connection.execute("DROP TABLE IF EXISTS public.bench_quota")
        connection.execute("CREATE TABLE public.bench_quota (id int PRIMARY KEY, used bigint NOT NULL)")
        connection.execute("INSERT INTO public.bench_quota VALUES (1, 0)")

    def work(_number: int) -> None:
        with bench.ground.connected() as connection:
            for _ in range(decisions // WRITERS):
                connection.execute(_CONDITIONAL)

    began = time.perf_counter()
    with ThreadPoolExecutor(max_workers=WRITERS) as pool:
        list(pool.map(work, range(WRITERS)))
    seconds = time.perf_counter() - began
    assert bench.ground.ask("SELECT used FROM public.bench_quota") == decisions // WRITERS * WRITERS
    return decisions // WRITERS * WRITERS / seconds


def _in_turns(first: Callable[[], Any], second: Callable[[], Any], *, times: int) -> tuple[list[int], list[int]]:
    """Return the nanoseconds of both, one after the other, so that both live through the same moments."""
    took: tuple[list[int], list[int]] = ([], [])
    for number in range(times + 50):
        for place, work in enumerate((first, second)):
            began = time.perf_counter_ns()
            work()
            if number >= 50:  # caches and plans are warm by then
                took[place].append(time.perf_counter_ns() - began)
    return took


def _share(took: list[int], percent: int) -> float:
    """Return a percentile in microseconds."""
    return statistics.quantiles(took, n=100)[percent - 1] / 1_000
