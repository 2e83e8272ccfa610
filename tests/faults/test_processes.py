"""Web processes and the database die under the clients; every event counts once, and clients are told what to do."""

import json
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connections

from apps.common import clock
from apps.common.actors import OPERATOR
from apps.metering import following
from apps.metering.models import UsageCounter, UsageEvent, UsageEventKey
from apps.workflows import usage_intake, usage_limits
from tests.builders import customers, metering, plans, subscriptions
from tests.faults import judging, worlds
from tests.faults.cluster import FAST, IMMEDIATE
from tests.faults.test_intake_killed import answer_of, worker
from tests.faults.tree import Told, WebTree, send_all

pytestmark = pytest.mark.races


def while_sending(world, port, batches, break_it, *, clients: int = 3) -> Told:
    """Send all batches, breaking something again and again until all are answered."""
    told = Told()
    sending = threading.Thread(target=lambda: done.append(send_all(world, port, batches, clients=clients, told=told)))
    done: list[Told] = []
    sending.start()
    while sending.is_alive():
        break_it()
    sending.join()
    assert done, f"a client gave up; {told.statuses}, {told.unanswered} without an answer, {told.problems[:3]}"
    assert told.problems == []
    return told


def test_web_processes_are_killed_while_clients_retry(fault_world, tmp_path, dice):
    """S049, S052, S086: metered = distinct ids; nothing that was answered accepted is lost, nothing waits in memory."""
    batches = worlds.batches_make(fault_world, dice, count=40, size=40)
    kills = []
    with WebTree(fault_world, log=tmp_path / "web.log") as web:

        def break_it() -> None:
            time.sleep(dice.uniform(0.05, 0.5))
            web.revive()
            if len(kills) >= 8:
                return
            kills.append(1)
            if dice.random() < 0.3:
                web.kill()
                web.start()
            else:
                web.kill_worker(dice)

        told = while_sending(fault_world, web.port, batches, break_it)
    assert told.unanswered > 0
    judging.assert_counted_once(event_type=fault_world.event_type, ids=judging.ids_of(batches))
    judging.assert_followed(source=fault_world.event_type, ids=judging.ids_of(batches))
    # What is called accepted is called so once: an answer that was lost makes it fewer, never more.
    assert told.sums["accepted"] <= len(judging.ids_of(batches))
    assert told.sums["conflicts"] == told.sums["rejected"] == 0


@pytest.mark.parametrize("signal_number", [FAST, IMMEDIATE], ids=["fast", "immediate"])
def test_the_database_is_restarted_in_mid_batch(cluster, cluster_world, tmp_path, dice, signal_number):
    """C02: 503 or no answer, never a wrong one; afterwards all is there once, without a hand being lifted."""
    batches = worlds.batches_make(cluster_world, dice, count=30, size=60)
    connections.close_all()
    restarts = []
    with WebTree(cluster_world, log=tmp_path / "web.log") as web:

        def break_it() -> None:
            time.sleep(dice.uniform(0.2, 0.6))
            if len(restarts) < 3:
                restarts.append(1)
                cluster.restart(signal_number=signal_number)

        told = while_sending(cluster_world, web.port, batches, break_it)
    assert told.unanswered + told.statuses[503] > 0
    connections.close_all()
    judging.assert_counted_once(event_type=cluster_world.event_type, ids=judging.ids_of(batches))


def test_followers_are_killed_while_events_pour_in(fault_world, dice):
    """S049, S050: what is done beside the accepting request is done once for every event, whoever dies on the way."""
    batches = worlds.batches_make(fault_world, dice, count=24, size=25)
    deaths = 0

    def follow() -> str:
        for _ in range(200):
            following.usage_follow(at=clock.now())
        return "never that far"

    for start in range(0, len(batches), 4):
        begun = [worker(fault_world.schema_name, follow) for _ in range(2)]
        for batch in batches[start : start + 4]:
            usage_intake.batch_accept(body=json.dumps({"events": batch}).encode(), actor=OPERATOR, at=datetime.now(UTC))
        for child in begun:
            deaths += not answer_of(*child, killed_after_ms=dice.randrange(1, 150))
    assert deaths >= 3
    ids = judging.ids_of(batches)
    judging.assert_counted_once(event_type=fault_world.event_type, ids=ids)
    judging.assert_followed(source=fault_world.event_type, ids=ids)


def test_a_limit_holds_to_the_unit_while_web_processes_are_killed(fault_world, tmp_path, dice):
    """S049, S115: never above the limit by one unit, and none of it is lost to a process that died with it."""
    limit, code = 150, fault_world.event_type.replace(".", "_").replace("-", "_")
    event_type = f"{fault_world.event_type}.limited"
    metering.meter(code=code, event_type=event_type)
    features = {code: {"limit": str(limit), "meter": code, "on_exceed": "reject"}}
    plans.published_plan(code=f"plan-{code}", features=features, charges=[])
    customer = customers.customer(external_id=f"limited-{code}")
    now = datetime.now(UTC)
    subscriptions.subscription(
        customer=customer, plan_code=f"plan-{code}", starts_at=now - timedelta(minutes=5), at=now - timedelta(minutes=5)
    )
    usage_limits.usage_limits_make_due(at=now)
    facts = {"customer": customer.external_id, "type": event_type, "occurred_at": now.isoformat()}
    batches = [[worlds.event_make(fault_world, dice, **facts) for _ in range(10)] for _ in range(24)]
    kills = []
    with WebTree(fault_world, log=tmp_path / "web.log") as web:

        def break_it() -> None:
            time.sleep(dice.uniform(0.1, 0.4))
            web.revive()
            if len(kills) < 5:
                kills.append(1)
                web.kill_worker(dice)

        told = while_sending(fault_world, web.port, batches + batches[:6], break_it)
    stored = UsageEvent.objects.filter(customer_id=customer.id)
    assert stored.count() == limit
    assert UsageEventKey.objects.filter(event_key__in=stored.values("event_key")).count() == limit
    (counter,) = UsageCounter.objects.filter(customer_id=customer.id)
    assert (counter.used_units, counter.event_count) == (limit, limit)
    assert told.sums["accepted"] <= limit
    assert told.sums["rejected"] >= 240 - limit
