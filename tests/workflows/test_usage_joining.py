"""Work that waits at the same moment is written together, and each of it is answered as if it had come alone."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from apps.common import context, ids
from apps.common.db import fetch_all
from apps.messaging.models import DomainEvent
from apps.metering import selectors
from apps.metering.models import QuarantinedEvent
from apps.workflows import usage_intake
from apps.workflows.usage_joining import Joining, _Line, _Seat
from tests.builders import customers, metering
from tests.races import race


class _Writer:
    """Writes slowly, so that others come meanwhile, and remembers what it was given in one go."""

    def __init__(self) -> None:
        self.written: list[list[int]] = []
        self.has_begun, self.may_end = threading.Event(), threading.Event()

    def write(self, items: Sequence[int]) -> list[str] | None:
        self.written.append(list(items))
        self.has_begun.set()
        assert self.may_end.wait(timeout=10)
        if 13 in items and len(items) > 1:
            raise ValueError("thirteen goes by itself")
        return [f"wrote {item}" for item in items] if items != [99] else None


def _joined(items: Sequence[int], *, size_max: int) -> tuple[_Writer, dict[int, str | None]]:
    """Let the first item be written while all others come and stand in line, in their order."""
    writer = _Writer()
    joining = Joining(write=writer.write, size=lambda item: item, size_max=size_max)
    with ThreadPoolExecutor(max_workers=len(items)) as pool:
        coming = {items[0]: pool.submit(joining.join, line="a", item=items[0])}
        assert writer.has_begun.wait(timeout=10)
        line = joining._lines["a"]
        for number, item in enumerate(items[1:], 1):
            coming[item] = pool.submit(joining.join, line="a", item=item)
            while len(line.waiting) < number:
                pass
        writer.may_end.set()
        return writer, {item: future.result(timeout=10) for item, future in coming.items()}


def test_who_comes_while_another_writes_is_written_with_all_that_wait():
    writer, answers = _joined([5, 1, 2, 3], size_max=100)
    assert writer.written == [[5], [1, 2, 3]]
    assert answers == {item: f"wrote {item}" for item in (5, 1, 2, 3)}


def test_no_more_is_taken_than_there_is_room_for():
    writer, answers = _joined([5, 40, 30, 31, 200], size_max=100)
    assert writer.written == [[5], [40, 30], [31], [200]]
    assert all(answers.values())


def test_who_gets_the_pen_before_its_turn_writes_for_those_before_it():
    """Else its item stays in the line, and is written once more by whoever comes next."""
    writer = _Writer()
    writer.may_end.set()
    joining = Joining(write=writer.write, size=lambda item: item, size_max=100)
    first = _Seat(90)
    joining._lines["a"] = _Line(waiting=[first])
    assert joining.join(line="a", item=50) == "wrote 50"
    assert (first.answer, first.is_served) == ("wrote 90", True)
    assert writer.written == [[90], [50]]
    assert joining._lines["a"].waiting == []


def test_what_cannot_be_written_together_is_handed_back_to_each():
    writer, answers = _joined([5, 12, 13, 14], size_max=100)
    assert writer.written == [[5], [12, 13, 14]]
    assert answers == {5: "wrote 5", 12: None, 13: None, 14: None}


def test_lines_of_other_names_do_not_wait():
    writer = _Writer()
    joining = Joining(write=writer.write, size=lambda item: item, size_max=100)
    with ThreadPoolExecutor(max_workers=2) as pool:
        first = pool.submit(joining.join, line="a", item=1)
        assert writer.has_begun.wait(timeout=10)
        second = pool.submit(joining.join, line="b", item=2)
        while len(writer.written) < 2:
            pass
        writer.may_end.set()
        assert (first.result(timeout=10), second.result(timeout=10)) == ("wrote 1", "wrote 2")


@pytest.fixture
def world(committed_tenant, at):
    code = f"join-{ids.new_id()}"
    customer = customers.customer(external_id=code)
    meter = metering.meter(code="join", event_type=f"{code}.call")

    def events(number: int, count: int, **overrides):
        return [
            metering.event(
                customer=code,
                id=f"{code}-{number}-{n}",
                type=f"{code}.call",
                occurred_at="2026-01-10T10:00:00Z",
                **overrides,
            )
            for n in range(count)
        ]

    # What this process remembers of the tenant's terms is proven by a batch, and brought up to date.
    assert metering.send(*events(99, 1), at=at).accepted == 1
    return committed_tenant, customer, meter, events


def _has(number: int):
    return lambda waiting: len(waiting) >= number


def _sent_while_waiting(schema_name, works, *, until):
    """Let everybody wait in the tenant's line, and let them go once `until` says so of those who wait."""
    line = usage_intake._joining._lines.setdefault(schema_name, _Line())

    def release() -> None:
        try:
            for _ in range(3_000):
                if until(line.waiting):
                    return
                threading.Event().wait(0.01)
        finally:
            line.writing.release()

    line.writing.acquire()
    releasing = threading.Thread(target=release)
    releasing.start()
    answers = race(schema_name, works)
    releasing.join(timeout=60)
    return answers


@pytest.mark.races
def test_batches_that_wait_share_a_commit_and_keep_their_own_answers(world, at):
    """S037, S047: one transaction for eight requests; each has its own verdicts, its own news and its request's id."""
    schema_name, customer, meter, events = world

    def send(number: int):
        batch = events(number, 3)
        if number == 0:
            batch.append({**batch[0], "id": "nobody", "customer": "nobody"})
        if number == 1:
            batch.append(batch[0])
        with context.request_scope(f"req-{customer.id}-{number}"):
            return metering.send(*batch, at=at)

    answers = _sent_while_waiting(schema_name, [partial(send, number) for number in range(8)], until=_has(8))
    assert [answer.accepted for answer in answers] == [3] * 8
    assert [(answer.rejected, answer.duplicates) for answer in answers] == [(1, 0), (0, 1), *[(0, 0)] * 6]
    writers = fetch_all(
        "SELECT count(DISTINCT recorded_xid), count(*) FROM metering_usageevent WHERE customer_id = %s "
        "AND event_id NOT LIKE '%%-99-0'",
        [customer.id],
    )
    assert writers == [(1, 24)]
    news = DomainEvent.objects.filter(topic="usage.recorded", request_id__startswith=f"req-{customer.id}")
    assert sorted(news.values_list("request_id", flat=True)) == [f"req-{customer.id}-{n}" for n in range(8)]
    assert QuarantinedEvent.objects.filter(code="unknown_customer", event_id="nobody").exists()
    assert selectors.aggregates_compare(limit=1, customer_id=customer.id) == []


@pytest.mark.races
def test_a_repeat_among_those_that_wait_sends_each_its_own_way(world, at):
    """S036: what one request brings and another brings, too, is one event; the others lose nothing by it."""
    schema_name, customer, meter, events = world
    same, other = events(0, 2), events(1, 2)
    works = [partial(metering.send, *batch, at=at) for batch in (same, same, other, [*same, *events(2, 1)])]
    answers = _sent_while_waiting(schema_name, works, until=_has(4))
    assert sum(answer.accepted for answer in answers) == 5
    assert sum(answer.duplicates for answer in answers) == 4
    assert answers[2].accepted == 2
    ((count,),) = fetch_all("SELECT count(*) FROM metering_usageevent WHERE customer_id = %s", [customer.id])
    assert count == 6


@pytest.mark.races
def test_a_meter_defined_while_batches_wait_is_asked_by_all_of_them(world, at):
    """What was judged by terms that have moved is judged again, by each batch itself."""
    schema_name, customer, meter, events = world
    defined = threading.Event()

    def send(number: int):
        # Judged by the terms that were there before, because the line is held.
        return metering.send(*events(number, 2), at=at)

    def define() -> None:
        for _ in range(3_000):
            if len(usage_intake._joining._lines[schema_name].waiting) == 3:
                break
            threading.Event().wait(0.01)
        metering.meter(code="strict", event_type=meter.event_type, aggregation="sum", value_property="needed")
        defined.set()

    works = [*(partial(send, number) for number in range(3)), define]
    answers = _sent_while_waiting(schema_name, works, until=lambda waiting: defined.is_set())
    assert [answer.rejected for answer in answers[:3]] == [2, 2, 2]
    assert {result.code for answer in answers[:3] for result in answer.results} == {"missing_property"}
