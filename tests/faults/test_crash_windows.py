"""A process stops after each of its statements: nothing is there or everything, and sending again makes it good."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest
from django.db import connection, connections

from apps.common.db import fetch_all
from apps.messaging.models import DomainEvent
from apps.metering import following, partitions, selectors, services
from apps.metering.models import QuarantinedEvent, UsageAggregate, UsageEvent, UsageEventKey, UsageFollower, UsageSource
from tests.builders import customers, metering
from tests.builders import late_usage as late

pytestmark = pytest.mark.races

_STATEMENTS_MAX = 60
_PARTITIONS = """
SELECT tableoid::regclass::text, count(*) FROM metering_usageevent WHERE customer_id = %s GROUP BY 1 ORDER BY 1
"""


class Crash(BaseException):
    """A process that stops; no `except Exception` may keep it alive."""


@contextmanager
def crash_after(number: int) -> Iterator[list[str]]:
    """Raise after this statement or COPY of the connection has run; yield what ran."""
    ran: list[str] = []
    real_execute, real_copy = psycopg.Cursor.execute, psycopg.Cursor.copy

    def done(statement) -> None:
        ran.append(str(statement)[:80])
        if len(ran) == number:
            raise Crash

    def execute(self, query, *arguments, **named):
        result = real_execute(self, query, *arguments, **named)
        done(query)
        return result

    @contextmanager
    def copy(self, statement, *arguments, **named):
        with real_copy(self, statement, *arguments, **named) as copying:
            yield copying
        done(statement)

    psycopg.Cursor.execute, psycopg.Cursor.copy = execute, copy
    try:
        yield ran
    finally:
        psycopg.Cursor.execute, psycopg.Cursor.copy = real_execute, real_copy


@pytest.fixture
def world(committed_tenant):
    code = f"window-{secrets.token_hex(4)}"
    meter = metering.meter(code="window", event_type=f"{code}.call")
    return customers.customer(external_id=code), meter


def _state(customer, meter) -> tuple[int, ...]:
    totals = UsageAggregate.objects.filter(customer_id=customer.id, meter_id=meter.id)
    stored = UsageEvent.objects.filter(customer_id=customer.id)
    return (
        stored.count(),
        UsageEventKey.objects.filter(event_key__in=stored.values("event_key")).count(),
        sum(totals.values_list("event_count", flat=True)),
        QuarantinedEvent.objects.filter(raw__contains=meter.event_type).count(),
        DomainEvent.objects.filter(topic="usage.recorded").count(),
    )


@pytest.mark.parametrize("is_repeat", [False, True], ids=["all new", "some there already"])
def test_a_crash_after_every_statement_leaves_nothing_or_everything(world, at, is_repeat):
    """S049: for each k the process stops after its kth statement: no half batch; S050: the retry makes it whole."""
    customer, meter = world
    # What a process does once is done: the windows are those of every batch.
    metering.send(metering.event(customer=customer.external_id, type=meter.event_type), at=at)
    windows = 0
    for number in range(1, _STATEMENTS_MAX):
        batch = [metering.event(customer=customer.external_id, type=meter.event_type) for _ in range(4)]
        if is_repeat:
            metering.send(batch[0], at=at)
        refused = metering.event(customer="nobody", type=meter.event_type)
        before = _state(customer, meter)
        fresh = 3 if is_repeat else 4
        whole = tuple(count + more for count, more in zip(before, (fresh, fresh, fresh, 1, 1), strict=True))
        with crash_after(number) as ran:
            try:
                metering.send(*batch, refused, at=at)
                is_over = True
            except Crash:
                is_over = False
        if is_over:
            assert _state(customer, meter) == whole
            break
        windows += 1
        # The connection is gone with the process.
        connection.close()
        assert _state(customer, meter) == before, f"half a batch after statement {number}: {ran[-1]}"
        again = metering.send(*batch, refused, at=at)
        assert (again.accepted, again.duplicates, again.rejected) == (fresh, 4 - fresh, 1)
        assert _state(customer, meter) == whole
        third = metering.send(*batch, refused, at=at)
        assert (third.accepted, third.duplicates, third.rejected) == (0, 4, 1)
        assert _state(customer, meter) == whole
    else:
        raise AssertionError("the batch never ended")
    assert windows >= 4
    assert selectors.aggregates_compare(limit=1, customer_id=customer.id) == []


def test_a_crash_after_every_statement_of_the_follower_counts_every_event_once(world, at):
    """S049, S050: a run of the follower is one transaction with its cursor; stopped anywhere, it is repeated whole."""
    customer, meter = world
    source = f"{meter.event_type}-source"
    sent = 0
    for number in range(1, _STATEMENTS_MAX):
        metering.send(
            *(metering.event(customer=customer.external_id, type=meter.event_type, source=source) for _ in range(3)),
            at=at,
        )
        sent += 3
        before = UsageFollower.objects.values_list("done_snapshot", "reached_snapshot").first()
        with crash_after(number):
            try:
                following.usage_follow(at=at)
                is_over = True
            except Crash:
                is_over = False
        connection.close()
        if not is_over:
            assert UsageFollower.objects.values_list("done_snapshot", "reached_snapshot").first() == before
        late.follow(at=at)
        assert UsageSource.objects.get(source=source).event_count == sent
        if is_over:
            break
    else:
        raise AssertionError("the run never ended")
    assert number > 4


def test_a_month_that_another_process_retired_is_made_again_by_the_batch_that_needs_it(world, at):
    """What a process knows may be old: a partition that is gone costs a second try, not the batch."""
    customer, meter = world
    month = date(2025, 3, 1)
    services.usage_partitions_ensure(months=[month])
    assert ("t_gamma", month) in partitions._known
    fetch_all("ALTER TABLE metering_usageevent DETACH PARTITION metering_usageevent_202503")
    fetch_all("DROP TABLE metering_usageevent_202503")
    event = metering.event(customer=customer.external_id, type=meter.event_type, occurred_at="2025-03-31T23:59:59Z")
    assert metering.send(event, at=at).accepted == 1
    assert metering.send(event, at=at).duplicates == 1
    assert UsageEvent.objects.get(customer_id=customer.id).occurred_at.month == 3
    assert selectors.aggregates_compare(limit=1, customer_id=customer.id) == []


def test_a_clock_of_ours_that_jumps_loses_and_doubles_nothing(world, at):
    """C11: a step back, a step ahead, an event from before the step: each counts once and each is followed."""
    customer, meter = world
    source = f"{meter.event_type}-source"
    jumps = [timedelta(), timedelta(hours=3), timedelta(hours=-30), timedelta(minutes=-1), timedelta(days=2)]
    events = [
        metering.event(
            customer=customer.external_id,
            type=meter.event_type,
            source=source,
            occurred_at=(at - timedelta(days=3)).isoformat(),
        )
        for _ in jumps
    ]
    for jump, event in zip(jumps, events, strict=True):
        assert metering.send(event, at=at + jump).accepted == 1
        following.usage_follow(at=at + jump)
        assert metering.send(event, at=at - jump).duplicates == 1
    late.follow(at=at)
    assert UsageSource.objects.get(source=source).event_count == len(jumps)
    assert _state(customer, meter)[:3] == (5, 5, 5)


def test_the_last_second_of_a_month_that_comes_after_midnight_is_the_months_own(world):
    """S071: 23:59:59 arrives at 00:01:00: its month's partition, hour and window have it, and the next one does not."""
    customer, meter = world
    ends_at = datetime(2026, 2, 1, tzinfo=UTC)
    last = metering.event(customer=customer.external_id, type=meter.event_type, occurred_at="2026-01-31T23:59:59Z")
    very_last = metering.event(
        customer=customer.external_id, type=meter.event_type, occurred_at="2026-01-31T23:59:59.999999Z"
    )
    first = metering.event(customer=customer.external_id, type=meter.event_type, occurred_at="2026-02-01T00:00:00Z")
    assert metering.send(last, very_last, first, at=ends_at + timedelta(minutes=1)).accepted == 3
    assert metering.send(last, first, at=ends_at + timedelta(minutes=2)).duplicates == 2
    months = fetch_all(_PARTITIONS, [customer.id])
    assert months == [("metering_usageevent_202601", 2), ("metering_usageevent_202602", 1)]
    hours = UsageAggregate.objects.filter(customer_id=customer.id).order_by("hour").values_list("hour", "event_count")
    assert list(hours) == [(ends_at - timedelta(hours=1), 2), (ends_at, 1)]


@pytest.mark.parametrize(
    ("skew", "code"),
    [
        (timedelta(minutes=59), ""),
        (timedelta(minutes=61), "too_far_in_future"),
        (timedelta(days=-399), ""),
        (timedelta(days=-401), "too_old"),
    ],
)
def test_a_producers_clock_that_is_wrong_is_told_and_its_neighbours_are_not_hurt(world, at, skew, code):
    """C11: an hour ahead and 400 days behind are borne; beyond it the event says so itself."""
    customer, meter = world
    skewed, right = (
        metering.event(customer=customer.external_id, type=meter.event_type, occurred_at=(at + by).isoformat())
        for by in (skew, timedelta())
    )
    result = metering.send(skewed, right, at=at)
    assert result.accepted == (1 if code else 2)
    assert [verdict.code for verdict in result.results] == ([code] if code else [])
    connections.close_all()
