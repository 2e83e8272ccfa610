"""Rollups and counters while several write at once, on real commits."""

import threading
from datetime import timedelta
from functools import partial

import pytest
from django.db import transaction

from apps.common import ids
from apps.metering import corrected_events, corrections, event_identity, selectors, usage_counters
from apps.metering.models import UsageCounter, UsageEvent
from tests.apps.metering.readings import DAY
from tests.builders import customers, metering
from tests.races import race

pytestmark = pytest.mark.races


def test_cancelling_while_events_pour_in_loses_and_doubles_nothing(committed_tenant, at):
    """S050: the totals of the hour are made anew under the lock that the intake of the same hour needs."""
    code = f"pour-{ids.new_id()}"
    customer = customers.customer(external_id=code)
    meter = metering.meter(code="pour", event_type=f"{code}.call")
    largest = metering.meter(code="pour-max", event_type=f"{code}.call", aggregation="max", value_property="n")
    latest = metering.meter(code="pour-last", event_type=f"{code}.call", aggregation="latest", value_property="n")
    window = (DAY, DAY + timedelta(days=1))
    usage_counters.usage_counters_open(windows=metering.counter_windows([meter, largest], customer, window), at=at)

    def batch(writer: int, size: int) -> list[dict]:
        return [
            metering.event(
                customer=code,
                id=f"{code}-{writer}-{number}",
                type=f"{code}.call",
                occurred_at=(DAY + timedelta(minutes=number)).isoformat(),
                properties={"n": str(writer * 1000 + number)},
            )
            for number in range(size)
        ]

    assert metering.send(*batch(9, 60), at=at).accepted == 60
    wrong = list(UsageEvent.objects.filter(customer_id=customer.id))

    def pour(writer: int) -> int:
        return sum(metering.send(*batch(writer, 60)[n : n + 10], at=at).accepted for n in range(0, 60, 10))

    answers = race(
        committed_tenant,
        [
            partial(pour, 1),
            partial(pour, 2),
            partial(metering.cancel, wrong[:30], at),
            partial(metering.cancel, wrong[30:], at),
        ],
    )
    assert answers == [60, 60, None, None]
    scope = {"customer_id": customer.id, "subscription_id": None, "starts_at": window[0], "ends_at": window[1]}
    assert selectors.usage_quantity(meter=meter, **scope).raw == 120
    assert selectors.usage_quantity(meter=largest, **scope).raw == 2059
    # Both writers have an event of the last minute; whichever came later is the latest.
    assert selectors.usage_quantity(meter=latest, **scope).raw in (1059, 2059)
    assert sorted(UsageCounter.objects.filter(customer_id=customer.id).values_list("used_units", flat=True)) == [
        120,
        2059,
    ]
    assert selectors.aggregates_compare(limit=3, customer_id=customer.id) == []


def test_a_reader_with_an_earlier_snapshot_goes_on_seeing_what_was_cancelled_later(committed_tenant, at):
    """S082: a line that was billed is proven by what was there then; what was cancelled since is a difference."""
    code = f"then-{ids.new_id()}"
    customer = customers.customer(external_id=code)
    meter = metering.meter(code="then", event_type=f"{code}.call")
    events = [metering.event(customer=code, type=f"{code}.call", occurred_at=DAY.isoformat()) for _ in range(3)]
    assert metering.send(*events, at=at).accepted == 3
    scope = {
        "meter": meter,
        "customer_id": customer.id,
        "subscription_id": None,
        "starts_at": DAY,
        "ends_at": DAY + timedelta(minutes=5),
    }
    before = selectors.usage_quantity(**scope)
    metering.cancel(UsageEvent.objects.filter(customer_id=customer.id, event_id=events[0]["id"]), at)
    after = selectors.usage_quantity(**scope)
    assert (before.raw, after.raw) == (3, 2)
    assert selectors.usage_quantity_from_events(**scope, snapshot=before.snapshot).raw == 3
    assert selectors.usage_quantity_from_events(**scope, snapshot=after.snapshot).raw == 2


def test_a_counter_opened_while_events_pour_in_is_exact(committed_tenant, at):
    """S056: opening and intake exclude each other, so that no event is half-way in when the counter begins."""
    code = f"open-{ids.new_id()}"
    customer = customers.customer(external_id=code)
    meter = metering.meter(code="open", event_type=f"{code}.call")

    def pour(writer: int) -> int:
        return sum(
            metering.send(
                *(
                    metering.event(
                        customer=code,
                        id=f"{code}-{writer}-{number}-{n}",
                        type=f"{code}.call",
                        occurred_at=(DAY + timedelta(minutes=n)).isoformat(),
                    )
                    for n in range(20)
                ),
                at=at,
            ).accepted
            for number in range(10)
        )

    windows = metering.counter_windows([meter], customer, (DAY + timedelta(minutes=5), DAY + timedelta(minutes=15)))
    opened = partial(usage_counters.usage_counters_open, windows=windows, at=at)
    answers = race(committed_tenant, [*(partial(pour, writer) for writer in range(4)), opened, opened])
    assert answers[:4] == [200] * 4
    assert answers[4] == answers[5]
    assert usage_counters.usage_counter_read(counter_id=answers[4][0]) == 400


def _opened_beside(schema_name, *, write, opened) -> None:
    """Open counters while a transaction has written and not committed; the counter must know of it."""
    has_written = threading.Event()

    def hold() -> None:
        with transaction.atomic():
            write()
            has_written.set()
            # Long enough for the other to begin; it waits for our commit, or misses what we wrote.
            threading.Event().wait(0.5)

    def open_() -> list:
        assert has_written.wait(timeout=10)
        return opened()

    answers = race(schema_name, [hold, open_])
    assert [answer for answer in answers if isinstance(answer, Exception)] == []


def test_a_counter_far_ahead_waits_for_events_of_customers_on_a_test_clock(committed_tenant, at):
    """S056: by their clock the window has begun, so it is not empty for being far ahead of ours."""
    code = f"clock-{ids.new_id()}"
    clock = customers.test_clock(now_at=at + timedelta(days=60), name=code)
    customer = customers.customer(external_id=code, test_clock=clock)
    meter = metering.meter(code="clocked", event_type=f"{code}.call")
    event = partial(metering.event, customer=code, type=f"{code}.call", occurred_at=clock.now_at.isoformat())
    assert metering.send(event(), at=at).accepted == 1
    window = (clock.now_at - timedelta(hours=1), clock.now_at + timedelta(hours=1))
    windows = metering.counter_windows([meter], customer, window)
    _opened_beside(
        committed_tenant,
        write=lambda: metering.send(event(), at=at),
        opened=partial(usage_counters.usage_counters_open, windows=windows, at=at),
    )
    assert UsageCounter.objects.get(customer_id=customer.id).used_units == 2


def test_a_counter_opened_while_an_event_is_cancelled_leaves_it_out(committed_tenant, at):
    """S050, S056: a cancellation is half-way in, like an event, when neither has seen the other."""
    code = f"undo-{ids.new_id()}"
    customer = customers.customer(external_id=code)
    meter = metering.meter(code="undo", event_type=f"{code}.call")
    events = [metering.event(customer=code, type=f"{code}.call", occurred_at=DAY.isoformat()) for _ in range(3)]
    assert metering.send(*events, at=at).accepted == 3
    keys = {event_identity.event_key(source=event["source"], event_id=event["id"]) for event in events[:1]}
    stored = list(corrected_events.stored_events(keys=keys).values())
    windows = metering.counter_windows([meter], customer, (DAY, DAY + timedelta(days=1)))
    _opened_beside(
        committed_tenant,
        write=partial(corrections.events_cancel, correction_id=ids.new_id(), events=stored, at=at),
        opened=partial(usage_counters.usage_counters_open, windows=windows, at=at),
    )
    assert UsageCounter.objects.get(customer_id=customer.id).used_units == 2
