"""Clients that crawl, crowd or send poison, and a database without room: each event has an outcome of its own."""

import http.client
import json
import resource
import socket
import time
from pathlib import Path

import psycopg
import pytest
from django.db import connections

from apps.common.db import fetch_all
from apps.metering import bodies
from apps.metering.errors import BatchInvalid
from apps.metering.models import QuarantinedEvent, UsageEvent
from script.lib import embedded_postgres
from tests.faults import judging, worlds
from tests.faults.cluster import Cluster
from tests.faults.test_intake_killed import answer_of, worker
from tests.faults.tree import Sender, Told, WebTree, World, send_all

pytestmark = pytest.mark.races


def test_one_batch_from_sixteen_processes_at_once_counts_once(fault_world, tmp_path, dice):
    """S028, S047: who wins is chance, that one wins is not: accepted once for all, duplicates for the others."""
    (batch,) = worlds.batches_make(fault_world, dice, count=1, size=200)
    with WebTree(fault_world, log=tmp_path / "web.log") as web:

        def work() -> str:
            return json.dumps(Sender(fault_world, web.port, Told()).send(batch))

        # The first ones wait for the last, so that they press at once.
        begun = [worker(fault_world.schema_name, work) for _ in range(16)]
        answers = [json.loads(answer_of(*child, killed_after_ms=None)) for child in begun]
    assert sum(answer["accepted"] for answer in answers) == 200
    assert sum(answer["duplicates"] for answer in answers) == 15 * 200
    judging.assert_counted_once(event_type=fault_world.event_type, ids=judging.ids_of([batch]))


def _poisons(world: World, good: dict) -> list[tuple[str, str]]:
    """Return (JSON text, code) of events that must be refused, each by itself."""

    def text(**changes) -> str:
        return json.dumps({**good, "id": f"poison-{len(made)}-{world.event_type}", **changes})

    made: list[tuple[str, str]] = []
    for changes, code in (
        ({"id": 7}, "invalid_type"),
        ({"customer": None}, "missing_field"),
        ({"customer": ["a"]}, "invalid_type"),
        ({"properties": "x"}, "invalid_type"),
        ({"occurred_at": 1_700_000_000}, "invalid_type"),
        ({"occurred_at": "yesterday"}, "invalid_time"),
        ({"quantity": "NaN"}, "invalid_quantity"),
        ({"quantity": True}, "invalid_quantity"),
        ({"quantity": "1e3"}, "invalid_quantity"),
        ({"source": "a\0b"}, "invalid_text"),
        ({"properties": {"units": "x" * 1024 * 1024}}, "too_large"),
    ):
        made.append((text(**changes), code))
    deep = "[" * 3_000 + "]" * 3_000
    for tail, code in (
        ('"quantity": NaN', "invalid_text"),
        ('"quantity": -Infinity', "invalid_text"),
        ('"quantity": 1e400', "invalid_type"),
        ('"quantity": 01', "invalid_text"),
        ('"quantity": None', "invalid_text"),
        ('"properties": {"x": "\x00"}', "invalid_text"),
        ('"properties": {"x": "\\ud800"}', "invalid_text"),
        ('"properties": {"x": "\\q"}', "invalid_text"),
        (f'"properties": {{"x": {deep}}}', "too_deep"),
    ):
        made.append((text()[:-1] + ", " + tail + "}", code))
    made.append(("[1, 2]", "invalid_type"))
    made.append(("null", "invalid_type"))
    return made


def test_poison_inside_of_a_good_batch_costs_only_itself(fault_world, tmp_path, dice):
    """S037: C12: bad literals, NaN, 1e400, NUL, half characters, deep nesting, a megabyte: neighbours are accepted."""
    good = [worlds.event_make(fault_world, dice) for _ in range(60)]
    poisons = _poisons(fault_world, good[0])
    with WebTree(fault_world, log=tmp_path / "web.log", workers=1) as web:
        for number, (poison, code) in enumerate(poisons):
            neighbours = good[2 * number : 2 * number + 2]
            before, after = (json.dumps(event) for event in neighbours)
            body = f'{{"events": [{before}, {poison}, {after}]}}'.encode()
            status, answer = _post(fault_world, web.port, body)
            assert status == 207, (poison[-80:], status, answer)
            assert (answer["accepted"], answer["rejected"]) == (2, 1)
            assert [(r["index"], r["status"], r["code"]) for r in answer["results"]] == [(1, "rejected", code)], poison[
                -80:
            ]
            assert answer["results"][0]["detail"]
        sent = {event["id"] for event in good[: 2 * len(poisons)]}
        # The last of two equal keys is what JSON readers take; it is one event, whatever it says.
        twice = json.dumps(good[-1])[:-1] + ', "quantity": "1"}'
        assert _post(fault_world, web.port, f"[{twice}]".encode())[1]["accepted"] == 1
    judging.assert_counted_once(event_type=fault_world.event_type, ids=sent | {good[-1]["id"]})
    held = QuarantinedEvent.objects.filter(raw__contains=fault_world.event_type)
    assert held.count() == len(poisons) - 2


@pytest.mark.parametrize(
    "broken", ['{"id": "x', '{"id": "a"} {"id": "b"}', '{"id": "a",}', '{"id": "1, "x": "2"}', "}{"]
)
def test_what_has_no_certain_end_is_refused_whole(fault_world, tmp_path, dice, broken):
    """Where an event ends decides which one an answer is about; when that is not certain, nothing is stored."""
    good = json.dumps(worlds.event_make(fault_world, dice))

    with pytest.raises(BatchInvalid, match="Nothing of it was stored|array of events"):
        bodies.batch_split(f'{{"events": [{good}, {broken}, {good}]}}'.encode())


def _post(world: World, port: int, body: bytes) -> tuple[int, dict]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Host": world.host, "Authorization": f"Bearer {world.key}"}
    connection.request("POST", "/api/v1/events/batch", body, headers)
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    return response.status, answer


def test_clients_that_crawl_hold_up_nobody_but_their_thread(fault_world, tmp_path, dice):
    """
    A body that trickles in takes no connection to the database and no lock, and counts once at last.

    It does hold one of the server's threads, so that the others must be enough; see docs/how-to/run.md.
    """
    batches = worlds.batches_make(fault_world, dice, count=12, size=30)
    slow = [worlds.event_make(fault_world, dice) for _ in range(3)]
    with WebTree(fault_world, log=tmp_path / "web.log", workers=1) as web:
        send_all(fault_world, web.port, batches[:1])
        bodies_ = [json.dumps({"events": [event]}).encode() for event in slow]
        crawlers = [socket.create_connection(("127.0.0.1", web.port)) for _ in slow]
        for crawler, body in zip(crawlers, bodies_, strict=True):
            head = (
                f"POST /api/v1/events/batch HTTP/1.1\r\nHost: {fault_world.host}\r\nAuthorization: Bearer "
                f"{fault_world.key}\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            crawler.sendall(head.encode() + body[:1])
        began = time.monotonic()
        told = send_all(fault_world, web.port, batches[1:], clients=1)
        assert time.monotonic() - began < 20
        assert told.unanswered == 0
        for byte in bodies_[0][1:]:
            crawlers[0].sendall(bytes([byte]))
            time.sleep(0.002)
        assert crawlers[0].recv(65_536).startswith(b"HTTP/1.1 200")
        # The second gives up in the middle, the third was cut off: nothing of theirs is there.
        crawlers[1].sendall(bodies_[1][1:40])
        for crawler in crawlers:
            crawler.close()
        assert send_all(fault_world, web.port, batches[:2]).sums["duplicates"] > 0
    judging.assert_counted_once(event_type=fault_world.event_type, ids=judging.ids_of(batches) | {slow[0]["id"]})


@pytest.fixture
def narrow(monkeypatch):
    """Let servers that begin in this test have few connections."""
    monkeypatch.setitem(embedded_postgres._SETTINGS, "max_connections", "12")


def test_no_connection_to_be_had_is_try_again_and_not_a_failure(narrow, cluster, cluster_world, tmp_path, dice):
    """C04: with every connection taken the door says 503 and when to come back; with room again all goes in."""
    batches = worlds.batches_make(cluster_world, dice, count=6, size=20)
    connections.close_all()
    with WebTree(cluster_world, log=tmp_path / "web.log") as web:
        taken = []
        with pytest.raises(psycopg.OperationalError):
            while True:
                taken.append(psycopg.connect(cluster.url))
        body = json.dumps({"events": batches[0]}).encode()
        connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=30)
        headers = {"Host": cluster_world.host, "Authorization": f"Bearer {cluster_world.key}"}
        connection.request("POST", "/api/v1/events/batch", body, headers)
        response = connection.getresponse()
        assert (response.status, response.headers["Content-Type"]) == (503, "application/problem+json"), response.read()
        assert int(response.headers["Retry-After"]) > 0
        for held in taken:
            held.close()
        told = send_all(cluster_world, web.port, batches, clients=4)
        assert told.problems == []
    judging.assert_counted_once(event_type=cluster_world.event_type, ids=judging.ids_of(batches))


_FILL = """
INSERT INTO metering_usageeventkey SELECT gen_random_uuid(), sha256('filler'), %s FROM generate_series(1, 260000)
"""


def _file_limit(cluster: Cluster, size: int) -> None:
    """Let no file of the server grow above a size, as a disk that is full: it and its sessions get an error."""
    postmaster = cluster.postmaster()
    for pid in [postmaster, *_children(postmaster)]:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_disk_without_room_refuses_cleanly_and_needs_no_repair(cluster, cluster_world, tmp_path, dice):
    """C21: nothing is called accepted that is not there; with room again the same batches go in, without a repair."""
    batches = worlds.batches_make(cluster_world, dice, count=4, size=3_000)
    with WebTree(cluster_world, log=tmp_path / "web.log", workers=1) as web:
        send_all(cluster_world, web.port, batches[:1], clients=1)
        # The log of changes is written in files of sixteen megabytes: below that nothing works at all.
        limit = 16 * 1024 * 1024
        fetch_all(_FILL, ["2020-01-01T00:00:00Z"])
        assert fetch_all("SELECT pg_relation_size('metering_usageeventkey') > %s", [limit]) == [(True,)]
        _file_limit(cluster, limit)
        body = json.dumps({"events": batches[1]}).encode()
        refused = [_post(cluster_world, web.port, body) for _ in range(3)]
        assert {status for status, _answer in refused} <= {500, 503, 507}, refused
        _file_limit(cluster, resource.RLIM_INFINITY)
        told = send_all(cluster_world, web.port, batches[1:], clients=1)
        assert told.problems == []
    stored = UsageEvent.objects.filter(type=cluster_world.event_type)
    assert stored.count() == len(judging.ids_of(batches))
