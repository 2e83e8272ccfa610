"""The collector alone: what its spool keeps, what it does with each answer, and what it puts together."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from script.usage_collect import receiving, sending
from script.usage_collect.__main__ import arguments_read
from script.usage_collect.aggregating import Item, aggregated, event_of
from script.usage_collect.receiving import LINE_BYTES_MAX, Peer, Receiver
from script.usage_collect.sending import Sender
from script.usage_collect.spool import Spool, SpoolFull

MEGABYTE = 1024 * 1024


def line(number: int, **more) -> bytes:
    return json.dumps({"id": f"e{number}", **more}).encode()


def spool_of(folder: Path, *, bytes_max: int = 64 * MEGABYTE) -> Spool:
    return Spool(folder / "spool", bytes_max=bytes_max)


def taken(spool: Spool, *, events_max: int = 1_000) -> list[bytes]:
    return [raw for _place, raw in spool.read(events_max=events_max)[0]]


def reopened(spool: Spool) -> Spool:
    """Open a spool again, as after a kill: nothing of the first was closed in order."""
    spool._lock.close()
    return Spool(spool.folder, bytes_max=spool._bytes_max)


def test_what_was_appended_is_there_after_a_kill_and_leaves_when_it_is_answered_for(tmp_path):
    spool = spool_of(tmp_path)
    spool.append([line(1), line(2)])
    spool.append([line(3)])
    lines, after = spool.read(events_max=2)
    assert [raw for _place, raw in lines] == [line(1), line(2)]
    again = reopened(spool)
    assert (again.pending, taken(again)) == (3, [line(1), line(2), line(3)])
    again.forget(count=2, after=after)
    third = reopened(again)
    assert (third.pending, taken(third)) == (1, [line(3)])
    assert third.read(events_max=9)[0][0][0] == after


def test_half_a_line_of_a_kill_is_cut_off_and_spoils_nothing(tmp_path):
    spool = spool_of(tmp_path)
    spool.append([line(1)])
    os.write(spool._file, b'{"id": "half')
    again = reopened(spool)
    again.append([line(2)])
    assert taken(again) == [line(1), line(2)]


def test_a_full_spool_takes_nothing_until_there_is_room(tmp_path):
    spool = spool_of(tmp_path, bytes_max=1000)
    spool.append([b"x" * 240])
    spool.append([b"x" * 240])
    spool.append([b"x" * 240])
    with pytest.raises(SpoolFull, match="1000 are the limit"):
        spool.append([b"y" * 300])
    assert spool.pending == 3
    _lines, after = spool.read(events_max=2)
    spool.forget(count=2, after=after)
    _lines, after = spool.read(events_max=2)
    spool.forget(count=1, after=after)
    spool.append([b"y" * 300])
    assert taken(spool) == [b"y" * 300]


def test_a_full_disk_takes_nothing_and_leaves_no_half_line(tmp_path, monkeypatch):
    """C21: the disk says no in the middle of a write; what was acknowledged before is whole, and it goes on after."""
    spool = spool_of(tmp_path)
    spool.append([line(1)])
    real = os.write

    def full(file: int, data: bytes) -> int:
        if file == spool._file and len(data) > 5:
            return real(file, data[:5])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(SpoolFull, match="No space left"):
        spool.append([b"0123456789"])
    monkeypatch.undo()
    spool.append([line(2)])
    assert taken(reopened(spool)) == [line(1), line(2)]


def test_one_collector_in_a_spool(tmp_path):
    first = spool_of(tmp_path)
    with pytest.raises(SystemExit, match="Another collector works in"):
        Spool(first.folder, bytes_max=MEGABYTE)


def test_a_spool_of_many_files_is_read_in_order(tmp_path):
    spool = spool_of(tmp_path, bytes_max=4_000)
    for number in range(60):
        spool.append([line(number, filler="x" * 20)])
    assert len(list(spool.folder.glob("*.events"))) > 2
    assert [json.loads(raw)["id"] for raw in taken(reopened(spool))] == [f"e{number}" for number in range(60)]


def test_lines_are_counted_cut_and_joined_over_reads():
    peer = Peer(None, None)
    assert peer.lines(b'{"id":1}\n\n{"i') == ([b'{"id":1}'], 2)
    assert peer.lines(b'd":2}\r\n') == ([b'{"id":2}'], 1)


def test_a_line_without_end_is_kept_with_its_beginning_and_refused():
    peer = Peer(None, None)
    (kept,), count = peer.lines(b'{"id":"' + b"x" * LINE_BYTES_MAX)
    assert (count, len(kept) < 1_100) == (0, True)
    with pytest.raises(ValueError, match="."):
        event_of(kept)
    assert peer.lines(b"y" * LINE_BYTES_MAX) == ([], 0)
    assert peer.lines(b'"}\n{"id":2}\n') == ([b'{"id":2}'], 2)


@pytest.mark.parametrize("bad", [b"{", b"[1]", b'{"a":NaN}', b'"x"', b"\xff", b'{"a":1},{"b":2}', b"[" * 100_000])
def test_what_is_no_json_object_is_known_before_it_can_spoil_a_body(bad):
    with pytest.raises(ValueError, match="."):
        event_of(bad)
    assert event_of(b'{"a":0.1}') == {"a": Decimal("0.1")}


Reply = Callable[[list[dict]], tuple[int, object, dict[str, str]]]


@contextmanager
def intake(reply: Reply) -> Iterator[tuple[str, list[list[str]]]]:
    """Serve one route that answers as it is told; yield its address and the ids of each body it read."""
    heard: list[list[str]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:  # noqa: N802  the name of the library
            body = self.rfile.read(int(self.headers["Content-Length"]))
            events = json.loads(body)["events"]
            heard.append([event.get("id") for event in events])
            status, answer, headers = reply(events)
            content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_arguments) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", heard
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def accepted(events: list[dict], **more) -> tuple[int, object, dict[str, str]]:
    results = more.get("results", [])
    told = [result["status"] for result in results]
    counts = {
        "accepted": len(events) - len(told),
        "duplicates": told.count("duplicate"),
        "conflicts": told.count("conflict"),
        "rejected": told.count("rejected"),
    }
    return 207 if told else 200, {**counts, "results": results}, {}


def sender_of(spool: Spool, url: str, tmp_path: Path, **options) -> Sender:
    key = tmp_path / "key"
    key.write_text("chk_x\n")
    arguments = ["--url", url, "--key-file", str(key), "--spool", str(spool.folder)]
    for name, value in options.items():
        arguments += [f"--{name.replace('_', '-')}", str(value)]
    return Sender(spool, arguments_read(arguments))


def drain(sender: Sender) -> None:
    sender.is_draining.set()
    sender.run()


def refused_in(spool: Spool) -> list[tuple[str, str]]:
    path = spool.folder / "refused.jsonl"
    if not path.exists():
        return []
    return [(record["event"], record["code"]) for record in map(json.loads, path.read_text().splitlines())]


def test_refused_events_are_kept_with_their_reason_and_the_rest_is_done(tmp_path):
    """S037, S041: raw events wait in a queue on the disk; each leaves it with an answer of its own."""

    def reply(events):
        results = [
            {"index": index, "status": "rejected", "code": "unknown_customer", "detail": "create it"}
            if event["id"] == "e2"
            else {"index": index, "status": "duplicate"}
            for index, event in enumerate(events)
            if event["id"] in ("e1", "e2")
        ]
        return accepted(events, results=results)

    spool = spool_of(tmp_path)
    spool.append([line(1), line(2), b"{bad", line(3)])
    with intake(reply) as (url, heard):
        drain(sender_of(spool, url, tmp_path))
    assert heard == [["e1", "e2", "e3"]]
    assert refused_in(spool) == [("{bad", "invalid_line"), (line(2).decode(), "unknown_customer")]
    assert spool.pending == 0
    assert reopened(spool).pending == 0


def test_an_event_that_spoils_the_body_is_found_by_halves(tmp_path):
    def reply(events):
        if any(event["id"] == "e5" for event in events):
            return 400, {"code": "batch_invalid", "detail": "The body is not JSON."}, {}
        return accepted(events)

    spool = spool_of(tmp_path)
    spool.append([line(number) for number in range(8)])
    with intake(reply) as (url, heard):
        drain(sender_of(spool, url, tmp_path))
    assert refused_in(spool) == [(line(5).decode(), "batch_invalid")]
    assert {name for body in heard if "e5" not in body for name in body} == {f"e{n}" for n in range(8)} - {"e5"}


def test_whatever_is_no_answer_is_asked_again_with_the_same_ids(tmp_path, monkeypatch):
    """S050: a proxy's page, a lost key, an overload, a short count: the batch is repeated until it is answered for."""
    monkeypatch.setattr(sending.random, "uniform", lambda _low, _high: 0.01)
    replies = iter(
        [
            (503, {"detail": "try again"}, {"Retry-After": "0"}),
            (200, b"<html>welcome to the hotel</html>", {}),
            (401, {"detail": "no such key"}, {}),
            (500, b"", {}),
            (200, {"accepted": 1, "duplicates": 0, "conflicts": 0, "rejected": 0, "results": []}, {}),
            (302, b"", {"Location": "http://127.0.0.1:9/"}),
        ]
    )
    spool = spool_of(tmp_path)
    spool.append([line(1), line(2)])
    with intake(lambda events: next(replies, None) or accepted(events)) as (url, heard):
        drain(sender_of(spool, url, tmp_path))
    assert heard == [["e1", "e2"]] * 7
    assert (spool.pending, refused_in(spool)) == (0, [])


def test_a_server_that_is_away_costs_time_only(tmp_path, monkeypatch):
    """S052: metering that is down loses nothing: events wait on the disk, and the pauses grow to a limit."""
    pauses = []

    def pause(_low: float, high: float) -> float:
        pauses.append(high)
        return 0.001

    monkeypatch.setattr(sending.random, "uniform", pause)
    spool = spool_of(tmp_path)
    spool.append([line(1)])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    sender = sender_of(spool, url, tmp_path)
    thread = threading.Thread(target=drain, args=[sender])
    thread.start()
    while len(pauses) < 12:
        time.sleep(0.01)
    sender.is_stopping.set()
    thread.join()
    assert pauses[:3] == [0.25, 0.5, 1.0]
    assert max(pauses) == 60.0
    with intake(accepted) as (url, heard):
        drain(sender_of(reopened(spool), url, tmp_path))
    assert heard == [["e1"]]


def test_a_batch_is_sent_when_it_is_full_or_has_waited(tmp_path):
    """S039, S040: a thousand events, or what has come after five seconds; these are the defaults."""
    options = arguments_read(["--url", "http://x", "--key-file", "k", "--spool", "s"])
    assert (options.batch_events, options.batch_seconds) == (1_000, 5.0)
    spool = spool_of(tmp_path)
    with intake(accepted) as (url, heard):
        sender = sender_of(spool, url, tmp_path, batch_events=3, batch_seconds=0.3)
        thread = threading.Thread(target=sender.run)
        thread.start()
        spool.append([line(number) for number in range(7)])
        began = time.monotonic()
        while len(heard) < 3 and time.monotonic() - began < 5:
            time.sleep(0.01)
        waited = time.monotonic() - began
        sender.is_stopping.set()
        thread.join()
    assert heard == [["e0", "e1", "e2"], ["e3", "e4", "e5"], ["e6"]]
    assert waited >= 0.29


def _event(number: int, **more) -> Item:
    facts = {"source": "s", "type": "t", "customer": "c", "occurred_at": "2026-01-01T10:00:00.5Z", "quantity": "0.1"}
    return Item(json.dumps({"id": f"e{number}", **facts, **more}).encode())


def test_alike_events_become_one_with_their_sum_number_and_an_id_of_theirs():
    """S039: per customer and type; off by default, because a repeat in another batch is not known again."""
    items = [_event(1), _event(2), _event(1), _event(3, customer="d"), _event(4, occurred_at="2026-01-01T10:00:01Z")]
    sent, reused = aggregated(items, precision="second", weight_name="events")
    documents = [json.loads(item.raw) for item in sent]
    assert [(d["customer"], d["quantity"], d["properties"]) for d in documents] == [
        ("c", "0.2", {"events": 2}),
        ("d", "0.1", {"events": 1}),
        ("c", "0.1", {"events": 1}),
    ]
    again, _reused = aggregated(items[::-1], precision="second", weight_name="events")
    assert {json.loads(item.raw)["id"] for item in again} == {d["id"] for d in documents}
    assert reused == []


@pytest.mark.parametrize(
    "unusual",
    [
        {"occurred_at": "2026-01-01T10:00:00+02:00"},
        {"quantity": "NaN"},
        {"quantity": True},
        {"quantity": "many"},
        {"colour": "red"},
        {"properties": {"events": 7}},
        {"properties": [1]},
        {"id": 7},
    ],
)
def test_an_unusual_event_is_sent_as_it_is(unusual):
    item = _event(1, **unusual)
    assert aggregated([item], precision="hour", weight_name="events") == ([item], [])
    exact = Item(_event(2).raw[:-1] + b', "properties": {"x": 0.10}}')
    assert aggregated([exact], precision="hour", weight_name="events") == ([exact], [])


def test_one_id_with_two_contents_in_a_batch_is_refused_and_not_put_together():
    first, second = _event(1), _event(1, quantity="5")
    sent, reused = aggregated([first, second], precision="hour", weight_name="events")
    assert (len(sent), reused) == (1, [second])


def test_an_aggregated_batch_is_the_same_after_a_kill(tmp_path):
    """S086: how far a batch goes is on the disk before it is sent, so the same events are taken together again."""
    spool = spool_of(tmp_path)
    spool.append([_event(1).raw, _event(2).raw])
    bodies = []

    def reply(events):
        bodies.append(events)
        if len(bodies) == 1:
            sender.is_stopping.set()
            return 500, b"", {}
        return accepted(events)

    with intake(reply) as (url, _heard):
        sender = sender_of(spool, url, tmp_path, aggregate="hour")
        drain(sender)
        again = reopened(spool)
        again.append([_event(3).raw])
        drain(sender_of(again, url, tmp_path, aggregate="hour"))
    assert bodies[0] == bodies[1]
    assert [event["quantity"] for body in bodies[1:] for event in body] == ["0.2", "0.1"]


def test_clients_of_a_socket_are_told_how_many_of_their_lines_are_safe(tmp_path):
    spool = spool_of(tmp_path)
    path = tmp_path / "s"
    receiver = Receiver(spool, listen=f"unix:{path}", is_acknowledged=False)
    thread = threading.Thread(target=receiver.run)
    thread.start()
    with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
        first.connect(str(path))
        second.connect(str(path))
        first.sendall(line(1) + b"\n" + line(2) + b"\n" + b'{"id": "cut')
        assert first.makefile().readline() == "2\n"
        second.sendall(line(3) + b"\n")
        assert second.makefile().readline() == "1\n"
    receiver.is_stopping = True
    thread.join()
    assert taken(reopened(spool)) == [line(1), line(2), line(3)]


def test_a_killed_collectors_socket_is_replaced_and_a_file_is_not(tmp_path):
    path = tmp_path / "s"
    socket.socket(socket.AF_UNIX).bind(str(path))
    receiving.Receiver._listener(f"unix:{path}").close()
    path.unlink()
    path.write_text("mine")
    with pytest.raises(OSError, match="in use"):
        receiving.Receiver._listener(f"unix:{path}")
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    "wrong", [["--spool-megabytes-max", "1"], ["--batch-events", "10001"], ["--batch-events", "0"]]
)
def test_settings_that_cannot_work_are_refused(wrong, capsys):
    with pytest.raises(SystemExit):
        arguments_read(["--url", "http://x", "--key-file", "k", "--spool", "s", *wrong])
    assert "--" in capsys.readouterr().err


def test_standard_library_only() -> None:
    """The folder is copied to hosts that have nothing else."""
    parent = str(Path(sending.__file__).parents[1])
    code = f"import sys; sys.path.insert(0, {parent!r}); import usage_collect.__main__"
    ran = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
