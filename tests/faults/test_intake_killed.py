"""Workers die between writing and answering; whoever got no answer sends again, and every event counts once.

A worker here is a real child process on real commits, killed by SIGKILL: nothing of it gets to clean up.
"""

import os
import random
import select
import signal
import time
from collections.abc import Callable

import pytest
from django.db import connections

from apps.messaging.models import DomainEvent
from apps.metering import selectors, services
from apps.metering.models import UsageAggregate, UsageEvent, UsageEventKey
from apps.tenancy import context as tenancy_context
from apps.workflows import usage_intake
from tests.builders import customers, metering

pytestmark = pytest.mark.races

_TRIES_MAX = 60


def worker(schema_name: str, work: Callable[[], str]) -> tuple[int, int]:
    """Start a child that does some work in a tenant and answers through a pipe; return its id and the pipe's end."""
    # A connection must not be shared with a child: its death would end ours.
    connections.close_all()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    status = 1
    try:
        with tenancy_context.tenant_context(schema_name=schema_name):
            os.write(writing, work().encode())
        status = 0
    finally:
        os._exit(status)


def answer_of(pid: int, reading: int, *, killed_after_ms: int | None) -> str:
    """Return what the child answered before it ended or was killed; empty when it got to no answer."""
    if killed_after_ms is not None:
        select.select([reading], [], [], killed_after_ms / 1_000)
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with os.fdopen(reading, "rb") as pipe:
        return pipe.read().decode()


@pytest.fixture
def world(committed_tenant, request):
    code = f"kill-{request.node.name[:80]}"
    meter = metering.meter(code="killed", event_type=f"{code}.call")
    return committed_tenant, customers.customer(external_id=code), meter


def _batch(customer, meter, count):
    return [metering.event(customer=customer.external_id, type=meter.event_type) for _ in range(count)]


def _assert_counted_once(customer, meter, count) -> None:
    totals = UsageAggregate.objects.filter(customer_id=customer.id, meter_id=meter.id)
    stored = UsageEvent.objects.filter(customer_id=customer.id)
    assert sum(totals.values_list("event_count", flat=True)) == count
    assert stored.count() == count
    assert UsageEventKey.objects.filter(event_key__in=stored.values("event_key")).count() == count
    assert selectors.aggregates_compare(limit=1, customer_id=customer.id) == []


def _die(*_arguments, **_named) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_at_copy(number: int) -> Callable[[], None]:
    """Return what makes the child die instead of its `number`th COPY."""

    def prepare() -> None:
        real, calls = services._copy, []

        def copy(statement, lines):
            calls.append(statement)
            if len(calls) == number:
                _die()
            real(statement, lines)

        services._copy = copy

    return prepare


def _die_at_news() -> None:
    usage_intake.messaging_services.first_events_publish = _die


def _nothing() -> None:
    """Change nothing: the child lives until it has committed."""


@pytest.mark.parametrize(
    ("prepare", "is_committed"),
    [(_die_at_copy(1), False), (_die_at_copy(2), False), (_die_at_news, False), (_nothing, True)],
    ids=["before the keys", "between keys and events", "before the news", "after commit, before the answer"],
)
def test_a_worker_that_dies_at_each_step_is_made_good_by_sending_again(world, at, prepare, is_committed):
    """S049: killed between write and answer, the retry finds what was written, or nothing, and never half of it."""
    schema_name, customer, meter = world
    batch = _batch(customer, meter, 20)

    def work() -> str:
        prepare()
        metering.send(*batch, at=at)
        _die()
        return "never answered"

    assert answer_of(*worker(schema_name, work), killed_after_ms=None) == ""
    _assert_counted_once(customer, meter, 20 if is_committed else 0)
    again = metering.send(*batch, at=at)
    assert (again.accepted, again.duplicates) == ((0, 20) if is_committed else (20, 0))
    _assert_counted_once(customer, meter, 20)
    news = DomainEvent.objects.filter(topic="usage.recorded", payload__accepted=20).order_by("id").last()
    assert news is not None


def test_workers_killed_at_random_instants_lose_and_double_nothing(world, at):
    """S047, S049, S050: a client that retries until it is answered, and workers that keep dying under it."""
    schema_name, customer, meter = world
    events = _batch(customer, meter, 240)
    dice = random.Random(49)
    dice.shuffle(events)
    batches = [events[start : start + 40] + dice.sample(events, k=15) for start in range(0, 240, 40)]
    metering.send(at=at)
    # The shortest of some lives: instants drawn from a longer one would mostly come when a worker has answered.
    lived_ms = []
    for _ in range(3):
        started = time.monotonic()
        assert _send_until_answered(schema_name, batches[0], at, killed_after_ms=[None]) == 0
        lived_ms.append(int((time.monotonic() - started) * 1_000) + 1)
    life_ms = min(lived_ms)
    deaths = 0
    for batch in batches * 2:
        # Workers are killed at some instant of their lives, one to four of them; then one gets to answer.
        lives = [dice.randrange(life_ms) for _ in range(dice.choice((1, 2, 4)))]
        deaths += _send_until_answered(schema_name, batch, at, killed_after_ms=[*lives, None])
    # How many die unheard depends on the machine's mood; that some do is what makes this a test.
    assert deaths >= 1
    _assert_counted_once(customer, meter, 240)


def _send_until_answered(schema_name, batch, at, *, killed_after_ms) -> int:
    """Send a batch until it is answered, killing each worker at its appointed time; return how many died unheard."""
    for deaths, life in enumerate([*killed_after_ms, *[None] * _TRIES_MAX]):
        started = worker(schema_name, lambda: str(metering.send(*batch, at=at).is_clean))
        if answer_of(*started, killed_after_ms=life):
            return deaths
    raise AssertionError("the worker never answered")
