"""
Break the intake for a long time: `python -m tests.faults --batches 10000`.

A PostgreSQL of its own in a folder that is thrown away, web processes, worker and beat as `script/server` starts them,
and clients that repeat overlapping batches until they are answered. Meanwhile web workers, the whole web server, worker
and beat, and the database (fast and immediate) are killed at random instants. At the end: metered = distinct ids, none
lost that was answered accepted, totals = raw events, followed once, invariants hold. Exit status 0 only if all is so.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

# How often each kind of fault comes.
_WEIGHTS = {"web worker": 5, "web": 2, "workers": 3, "database fast": 1, "database crash": 1}


def main() -> int:
    """Set up, break, judge."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--batches", type=int, default=1_000)
    parser.add_argument("--events", type=int, default=50, help="new events in each batch")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--seed", type=int, default=int(time.monotonic()) % 100_000, help="repeats the kinds of faults")
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between two faults, on average")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ch-faults-"))
    print(f"seed {options.seed}, in {folder}", flush=True)
    from tests.faults.cluster import DATABASE, Cluster

    cluster = Cluster(folder)
    cluster.start()
    try:
        cluster.postgres.ensure_database(DATABASE)
        os.environ |= {
            "DATABASE_URL": cluster.url,
            "SECRET_KEY": "only-for-faults-" + "x" * 40,
            "CELERY_BROKER_URL": "pgmq://",
            "LOCAL_DIR": str(folder / "local"),
            "DEBUG": "true",
            "DJANGO_SETTINGS_MODULE": "billing_site.settings",
        }
        for command in (["migrate", "--noinput"], ["broker_install"], ["tenant_provision", "faults", "Faults Ltd"]):
            print(f"manage.py {command[0]} ...", flush=True)
            subprocess.run([sys.executable, "manage.py", *command], check=True, stdout=subprocess.DEVNULL)
        return _break(cluster, folder, options)
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _break(cluster: Any, folder: Path, options: argparse.Namespace) -> int:
    import django

    django.setup()
    from django.db import connections

    from apps.tenancy import context
    from tests.faults import worlds
    from tests.faults.tree import Told, WebTree, WorkerTree, send_all

    dice = random.Random(options.seed)
    with context.tenant_context(schema_name="t_faults"):
        world = worlds.world_make(
            database_url=cluster.url, schema_name="t_faults", host="faults.localhost", customer_count=20
        )
        batches = worlds.batches_make(world, dice, count=options.batches, size=options.events)
    connections.close_all()
    told, faults, began = Told(), Counter[str](), time.monotonic()
    failed: list[BaseException] = []
    workers = WorkerTree(world, folder=folder)
    workers.start()
    try:
        with WebTree(world, log=folder / "web.log") as web:

            def send() -> None:
                try:
                    send_all(world, web.port, batches, clients=options.clients, told=told)
                except BaseException as error:  # noqa: BLE001  judged below
                    failed.append(error)

            sending = threading.Thread(target=send)
            sending.start()
            while sending.is_alive():
                time.sleep(dice.uniform(0, 2 * options.pause))
                fault = dice.choices(
                    ["web worker", "web", "workers", "database fast", "database crash"], [5, 2, 3, 1, 1]
                )[0]
                _fault(fault, cluster=cluster, web=web, workers=workers, dice=dice)
                faults[fault] += 1
                answered = told.statuses[200] + told.statuses[207]
                print(
                    f"\r{answered:,} of {len(batches):,} batches, {faults.total():,} faults ", end="", file=sys.stderr
                )
    finally:
        workers.kill()
    print(file=sys.stderr)
    print(f"{len(batches):,} batches of {options.events} new events, {options.clients} clients, "
          f"{time.monotonic() - began:.0f} s; faults: {dict(faults)}")  # fmt: skip
    print(f"heard: statuses {dict(told.statuses)}, no answer {told.unanswered}, sums {dict(told.sums)}")
    return _judge(world, batches, told, failed)


def _fault(fault: str, *, cluster: Any, web: Any, workers: Any, dice: random.Random) -> None:
    from tests.faults.cluster import FAST, IMMEDIATE

    if fault == "web worker":
        web.kill_worker(dice)
    elif fault == "web":
        web.kill()
        web.start()
    elif fault == "workers":
        workers.kill()
        workers.start()
    else:
        cluster.restart(signal_number=FAST if fault == "database fast" else IMMEDIATE)


def _judge(world: Any, batches: list[list[dict[str, Any]]], told: Any, failed: list[BaseException]) -> int:
    from apps.common import clock
    from apps.tenancy import context
    from apps.workflows import invariants
    from tests.faults import judging

    ids = judging.ids_of(batches)
    with context.tenant_context(schema_name=world.schema_name):
        try:
            assert not failed, f"a client gave up: {failed[0]!r}"
            assert not told.problems, f"answers that the protocol does not know: {told.problems[:3]}"
            assert told.sums["accepted"] <= len(ids), "an event was called accepted twice"
            judging.assert_counted_once(event_type=world.event_type, ids=ids)
            judging.assert_followed(source=world.event_type, ids=ids)
            findings = invariants.invariants_check(at=clock.now())
            assert not findings, findings[:3]
        except AssertionError as finding:
            print(f"FINDING: {finding}")
            return 1
    print(f"{len(ids):,} distinct ids, all metered once; identities, totals, followed sources and invariants agree.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
