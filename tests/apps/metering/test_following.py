"""The follower: every event once, whatever ends beside it. Only real commits show that."""

import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from django.db import OperationalError, connection, connections, transaction

from apps.common.db import fetch_all
from apps.metering import following, following_sql
from apps.metering.following import FollowStep
from apps.metering.models import UsageFollower
from apps.tenancy import context
from tests.builders import customers, metering
from tests.races import race

pytestmark = pytest.mark.races

DAY = datetime(2026, 1, 10, tzinfo=UTC)
PATIENCE_SECONDS = 60

# What a step sees, written down where the test can read it: one row per event and run.
_SEEN = "CREATE TABLE IF NOT EXISTS seen_by_follower (run bigint, event_key uuid)"
_LOOK = FollowStep(
    "look",
    f"""
    INSERT INTO seen_by_follower SELECT pg_current_xact_id()::text::bigint, e.event_key FROM metering_usageevent e
    WHERE {following_sql.is_new("e")}
    """,
)


def follow_all(*, at: datetime) -> None:
    """Let the follower come up to now; transactions elsewhere on the server may hold it up for a while."""
    until = time.monotonic() + PATIENCE_SECONDS
    ((target,),) = fetch_all(following_sql.CURRENT)
    while time.monotonic() < until:
        following.usage_follow(at=at)
        done = UsageFollower.objects.get().done_snapshot
        ((is_there,),) = fetch_all(
            "SELECT pg_snapshot_xmax(%s::pg_snapshot) >= pg_snapshot_xmax(%s::pg_snapshot)", [done, target]
        )
        if is_there:
            return
        time.sleep(0.05)
    raise AssertionError("the follower did not come up to now")


@pytest.fixture
def looked(committed_tenant, monkeypatch):
    """Follow with one step that writes down what it sees; return how often each event of a customer was seen."""
    with connection.cursor() as cursor:
        cursor.execute(_SEEN)
    monkeypatch.setattr(following, "STEPS", (_LOOK,))

    def counts(customer) -> list[int]:
        rows = fetch_all(
            "SELECT count(s.run) FROM metering_usageevent e LEFT JOIN seen_by_follower s USING (event_key) "
            "WHERE e.customer_id = %s GROUP BY e.event_key",
            [customer.id],
        )
        return [count for (count,) in rows]

    return counts


@contextmanager
def another_connection(schema_name):
    """Work inside a transaction of another connection, and let the test say when it ends."""
    opened, may_end, failed = threading.Event(), threading.Event(), []

    def run(work):
        try:
            with context.tenant_context(schema_name=schema_name), transaction.atomic():
                work()
                opened.set()
                may_end.wait(timeout=30)
        except Exception as error:  # noqa: BLE001  the test judges
            failed.append(error)
        finally:
            opened.set()
            connections.close_all()

    threads = []

    def start(work):
        thread = threading.Thread(target=run, args=(work,))
        threads.append(thread)
        thread.start()
        assert opened.wait(timeout=30)

    def end():
        may_end.set()
        for thread in threads:
            thread.join(timeout=30)
        assert not failed, failed

    try:
        yield start, end
    finally:
        may_end.set()


def test_each_event_is_seen_once_however_often_the_follower_runs(looked, at):
    customer = customers.customer(external_id="f-once")
    for number in range(3):
        metering.send(metering.event(customer="f-once"), metering.event(customer="f-once"), at=at)
        follow_all(at=at + timedelta(seconds=number))
    follow_all(at=at)
    assert looked(customer) == [1] * 6
    assert UsageFollower.objects.get().moved_at == at


def test_an_event_whose_time_of_arrival_lies_far_back_is_seen_all_the_same(looked, at):
    """A web server's clock may be wrong by any amount: what is new is told by transactions, never by a clock."""
    customer = customers.customer(external_id="f-clock")
    metering.send(metering.event(customer="f-clock"), at=at)
    follow_all(at=at)
    metering.send(metering.event(customer="f-clock"), at=at - timedelta(days=3))
    metering.send(metering.event(customer="f-clock", occurred_at="2025-06-10T12:00:00Z"), at=at)
    follow_all(at=at)
    assert looked(customer) == [1, 1, 1]


def test_an_event_that_is_not_committed_yet_is_seen_later_and_once(looked, committed_tenant, at):
    customer = customers.customer(external_id="f-open")
    metering.send(metering.event(customer="f-open"), at=at)
    with another_connection(committed_tenant) as (start, end):
        start(lambda: metering.send(metering.event(customer="f-open"), at=at))
        for _tick in range(3):
            following.usage_follow(at=at)
        assert [count for count in looked(customer) if count > 1] == []
        end()
    follow_all(at=at)
    assert looked(customer) == [1, 1]


def test_nothing_is_processed_beside_a_transaction_that_could_have_overlooked_it(looked, committed_tenant, at):
    """A document is made final beside the event: the event is processed when that document is there, not before."""
    customer = customers.customer(external_id="f-beside")
    follow_all(at=at)
    with another_connection(committed_tenant) as (start, end):
        # It has read, and what it writes nobody sees yet.
        start(lambda: customers.customer(external_id="f-finalising"))
        metering.send(metering.event(customer="f-beside"), at=at)
        following.usage_follow(at=at)
        outcome = following.usage_follow(at=at)
        assert (outcome.has_moved, looked(customer)) == (False, [0])
        end()
    follow_all(at=at)
    assert looked(customer) == [1]


def test_a_run_that_is_killed_between_its_steps_leaves_nothing_and_is_repeated(looked, monkeypatch, at):
    customer = customers.customer(external_id="f-killed")
    metering.send(metering.event(customer="f-killed"), at=at)
    before = None
    die = FollowStep("die", "SELECT pg_terminate_backend(pg_backend_pid())")
    for _tick in range(200):
        before = UsageFollower.objects.values_list("done_snapshot", "reached_snapshot").first()
        monkeypatch.setattr(following, "STEPS", (_LOOK, die))
        try:
            outcome = following.usage_follow(at=at)
        except OperationalError:
            break
        assert not outcome.has_moved
        time.sleep(0.05)
    connection.close()
    assert UsageFollower.objects.values_list("done_snapshot", "reached_snapshot").first() == before
    assert looked(customer) == [0]
    monkeypatch.setattr(following, "STEPS", (_LOOK,))
    follow_all(at=at)
    assert looked(customer) == [1]


def test_two_followers_at_once_process_nothing_twice(looked, committed_tenant, at):
    customer = customers.customer(external_id="f-two")
    for _round in range(5):
        metering.send(*(metering.event(customer="f-two") for _event in range(4)), at=at)
        results = race(committed_tenant, [lambda: following.usage_follow(at=at)] * 4)
        assert not [result for result in results if isinstance(result, Exception)], results
    follow_all(at=at)
    assert looked(customer) == [1] * 20


def test_the_index_finds_what_is_new_without_reading_what_is_old(committed_tenant, at):
    metering.send(metering.event(customer=customers.customer(external_id="f-index").external_id), at=at)
    follow_all(at=at)
    follower = UsageFollower.objects.get()
    parameters = {"done": follower.done_snapshot, "reached": follower.reached_snapshot, "at": at}
    with transaction.atomic():
        fetch_all("SET LOCAL enable_seqscan = off")
        statement = f"EXPLAIN SELECT count(*) FROM metering_usageevent e WHERE {following_sql.is_new('e')}"
        plan = "\n".join(row[0] for row in fetch_all(statement, parameters))
    assert "Bitmap Index Scan" in plan, plan
    assert "Index Cond: (((recorded_xid)::text)::bigint >=" in plan, plan
