"""Several senders at once, on real commits: every event ends up counted once, whoever came first."""

import random
import threading
from collections.abc import Callable
from datetime import date
from functools import partial

import pytest
from django.db import OperationalError, connection, transaction

from apps.common.db import fetch_all
from apps.metering import partitions, selectors, services
from apps.metering.models import QuarantinedEvent, UsageAggregate, UsageEvent
from apps.tenancy import context as tenancy_context
from apps.workflows import usage_parties
from tests.builders import customers, metering

pytestmark = pytest.mark.races


def at_once(schema_name: str, *works: Callable[[], object]) -> list[object]:
    """Run each work in a thread with a connection of its own, all released at one moment; return their answers."""
    answers: list[object] = [None] * len(works)
    barrier = threading.Barrier(len(works))

    def run(index: int, work: Callable[[], object]) -> None:
        try:
            with tenancy_context.tenant_context(schema_name=schema_name):
                connection.ensure_connection()
                barrier.wait(timeout=30)
                answers[index] = work()
        except Exception as error:  # noqa: BLE001  the test looks at it
            answers[index] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(index, work)) for index, work in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    failures = [answer for answer in answers if isinstance(answer, Exception)]
    assert failures == []
    return answers


def _counted(customer, meter) -> int:
    return sum(
        UsageAggregate.objects.filter(customer_id=customer.id, meter_id=meter.id).values_list("event_count", flat=True)
    )


@pytest.fixture
def world(committed_tenant, request):
    code = f"race-{request.node.name[:60]}"
    type_ = f"{code}.call"
    return committed_tenant, customers.customer(external_id=code), metering.meter(code="race", event_type=type_), type_


def _events(customer, type_, count, **overrides):
    return [
        metering.event(
            customer=customer.external_id, type=type_, occurred_at=f"2026-01-10T{n % 24:02}:00:00Z", **overrides
        )
        for n in range(count)
    ]


def test_the_same_batch_twice_at_the_same_time_counts_once(world, at):
    """S028, S245, S255: check and write are one step, so two senders of one batch cannot both pass the check."""
    schema_name, customer, meter, type_ = world
    for _round in range(5):
        batch = _events(customer, type_, 40)
        before = _counted(customer, meter)
        answers = at_once(schema_name, *(partial(metering.send, *batch, at=at),) * 3)
        assert sum(answer.accepted for answer in answers) == 40
        assert sum(answer.duplicates for answer in answers) == 80
        assert _counted(customer, meter) == before + 40
    assert selectors.aggregates_compare(limit=1, customer_id=customer.id) == []


def test_overlapping_shuffled_batches_end_right_without_deadlock(world, at):
    """S047, S050: shuffled, overlapping, repeated, at the same time; the effect is once per id."""
    schema_name, customer, meter, type_ = world
    events = _events(customer, type_, 400)
    dice = random.Random(7)

    def sender(seed: int) -> Callable[[], int]:
        mine = dice.sample(events, k=300)

        def send() -> int:
            return sum(metering.send(*mine[start : start + 50], at=at).accepted for start in range(0, 300, 50))

        return send

    accepted = sum(at_once(schema_name, *(sender(seed) for seed in range(4))))
    accepted += metering.send(*events, at=at).accepted
    assert accepted == 400
    assert UsageEvent.objects.filter(customer_id=customer.id).count() == 400
    assert _counted(customer, meter) == 400
    assert selectors.aggregates_compare(limit=1, customer_id=customer.id) == []


def test_one_id_with_two_contents_at_the_same_time_is_one_event_and_one_conflict(world, at):
    """S033: who commits first is stored, the other is told of a conflict; neither is dropped in silence."""
    schema_name, customer, meter, type_ = world
    (event,) = _events(customer, type_, 1)
    answers = at_once(
        schema_name, lambda: metering.send(event, at=at), lambda: metering.send({**event, "quantity": "2"}, at=at)
    )
    assert sorted((answer.accepted, answer.conflicts) for answer in answers) == [(0, 1), (1, 0)]
    assert _counted(customer, meter) == 1
    held = QuarantinedEvent.objects.get(event_id=event["id"])
    assert held.code == "id_reused"


def test_events_that_arrive_while_others_are_written_are_all_kept(world, at):
    """S257: nothing waits in a buffer that a flush could clear: sixteen senders of single events lose none."""
    schema_name, customer, meter, type_ = world
    works = [lambda event=event: metering.send(event, at=at).accepted for event in _events(customer, type_, 16)]
    assert at_once(schema_name, *works) == [1] * 16
    assert _counted(customer, meter) == 16


def test_many_writers_of_one_customer_wait_in_line(world, at):
    """S249, S258: the total is a projection updated in the event's own transaction, locked in one order."""
    schema_name, customer, meter, type_ = world

    def sender() -> int:
        return sum(metering.send(*_events(customer, type_, 60), at=at).accepted for _ in range(5))

    assert sum(at_once(schema_name, *(sender,) * 6)) == 1_800
    assert _counted(customer, meter) == 1_800


def test_a_meter_defined_while_events_pour_in_counts_the_same_in_totals_and_raw(world, at):
    schema_name, customer, meter, type_ = world

    def sender() -> None:
        for _ in range(15):
            metering.send(*_events(customer, type_, 10, properties={"v": "1"}), at=at)

    def definer() -> None:
        for number in range(8):
            metering.meter(
                code=f"late-{number}", event_type=type_, aggregation="sum", value_property="v", filters={"v": "1"}
            )

    at_once(schema_name, sender, sender, definer)
    assert _counted(customer, meter) == 300
    assert selectors.aggregates_compare(limit=3, customer_id=customer.id) == []


def test_a_month_is_made_once_however_many_ask(world, at):
    schema_name, _customer, _meter, _type = world
    month = date(2019, 7, 1)
    at_once(schema_name, *(lambda: services.usage_partitions_ensure(months=[month]),) * 4)
    assert (schema_name, month) in partitions._known
    assert fetch_all("SELECT to_regclass('metering_usageevent_201907') IS NOT NULL") == [(True,)]


def test_the_same_refused_events_at_the_same_time_are_kept_once(world, at):
    schema_name, _customer, _meter, type_ = world
    refused = [metering.event(customer="nobody", type=type_) for _ in range(20)]
    at_once(schema_name, lambda: metering.send(*refused, at=at), lambda: metering.send(*refused[::-1], at=at))
    ids = [event["id"] for event in refused]
    assert QuarantinedEvent.objects.filter(event_id__in=ids).count() == 20


def test_event_identity_total_and_news_carry_one_transaction_id(world, at):
    """S027, S258: what the database itself says: all rows of an accepted batch were written by one transaction."""
    _schema, customer, meter, type_ = world
    (event,) = _events(customer, type_, 1)
    assert metering.send(event, metering.event(customer="nobody", type=type_), at=at).accepted == 1
    writers = fetch_all(
        """
        SELECT e.xmin::text, k.xmin::text, a.xmin::text, d.xmin::text, q.xmin::text, e.recorded_xid::text
        FROM metering_usageevent e
        JOIN metering_usageeventkey k USING (event_key)
        JOIN metering_usageaggregate a ON a.customer_id = e.customer_id AND a.meter_id = %s
        JOIN messaging_domainevent d ON d.topic = 'usage.recorded' AND d.xmin = e.xmin
        JOIN metering_quarantinedevent q ON q.xmin = e.xmin
        WHERE e.event_id = %s
        """,
        [meter.id, event["id"]],
    )
    assert len(writers) == 1
    assert len(set(writers[0])) == 1


def test_memory_is_a_fast_path_and_the_database_decides(world, at):
    """S035: what a process remembers only saves look-ups; with its memory gone the answers are the same."""
    schema_name, customer, meter, type_ = world
    batch = _events(customer, type_, 3)
    assert metering.send(*batch, at=at).accepted == 3
    assert (schema_name, customer.external_id) in usage_parties._customers
    assert metering.send(*batch, at=at).duplicates == 3
    usage_parties._customers.clear()
    partitions._known.clear()
    assert metering.send(*batch, at=at).duplicates == 3
    assert _counted(customer, meter) == 3


def test_who_was_unknown_a_moment_ago_is_asked_for_again(world, at):
    """S035: only what was found is remembered; a customer that is created is known to the very next batch."""
    _schema, _customer, _meter, type_ = world
    event = metering.event(customer="born later", type=type_)
    assert metering.send(event, at=at).rejected == 1
    newcomer = customers.customer(external_id="born later")
    assert metering.send(event, at=at).accepted == 1
    by_id = metering.event(customer=newcomer.public_id, type=type_)
    assert metering.send(by_id, {**by_id, "customer": "born later"}, at=at).duplicates == 1


def test_memory_is_bounded_and_kept_per_tenant(world, at, monkeypatch):
    schema_name, customer, _meter, type_ = world
    monkeypatch.setattr(usage_parties, "_ENTRIES_MAX", 2)
    for number in range(4):
        customers.customer(external_id=f"{type_}-{number}")
        metering.send(metering.event(customer=f"{type_}-{number}", type=type_), at=at)
    assert len(usage_parties._customers) <= 2
    with tenancy_context.tenant_context(schema_name="t_beta"):
        assert usage_parties.customers_find(references={customer.external_id}) == {}


def test_a_definition_that_does_not_end_costs_a_batch_its_wait_and_not_the_worker(world, at, monkeypatch):
    """Whoever holds the meters for too long makes intake answer "try again", not wait for ever."""
    schema_name, customer, meter, type_ = world
    monkeypatch.setattr(services.locks, "LOCK_WAIT_MS_MAX", 200)
    is_asked = threading.Event()

    def send() -> str:
        with pytest.raises(OperationalError) as caught:
            metering.send(*_events(customer, type_, 1), at=at)
        is_asked.set()
        return str(getattr(caught.value.__cause__, "sqlstate", ""))

    def hold() -> bool:
        return is_asked.wait(timeout=20)

    metering.send(at=at)
    with transaction.atomic():
        services.locks.advisory_lock("metering:meters")
        assert at_once(schema_name, send, hold) == ["55P03", True]
    assert _counted(customer, meter) == 0
