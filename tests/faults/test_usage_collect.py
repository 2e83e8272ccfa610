"""The collector and the server are both killed at random instants; what was acknowledged is counted once."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests import database
from tests.faults import judging, worlds
from tests.faults.tree import WebTree, free_port

pytestmark = pytest.mark.races


class Collector:
    """The collector as a process of its own."""

    def __init__(self, world, folder: Path, *, port: int, listen: str) -> None:
        key = folder / "key"
        key.write_text(world.key)
        self._command = [
            sys.executable, "-m", "usage_collect", "--url", f"http://127.0.0.1:{port}", "--host", world.host,
            "--key-file", str(key), "--spool", str(folder / "spool"), "--listen", listen,
            "--batch-events", "50", "--batch-seconds", "0.2",
        ]  # fmt: skip
        self._log = (folder / "collector.log").open("ab")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin, or begin again on the same spool."""
        folder = database.ROOT / "script"
        self.process = subprocess.Popen(self._command, cwd=folder, stderr=self._log)

    def kill(self) -> None:
        """Kill it where it stands."""
        self.process.kill()
        self.process.wait()


def produce(port: int, events: list[dict]) -> None:
    """Send events to the collector until it has acknowledged all: on a new connection, from the first that is not."""
    safe = 0
    deadline = time.monotonic() + 90
    while safe < len(events):
        assert time.monotonic() < deadline, "the collector did not acknowledge"
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
                begun, replies = safe, connection.makefile("rb")
                for start in range(begun, len(events), 25):
                    part = events[start : start + 25]
                    connection.sendall(b"".join(json.dumps(event).encode() + b"\n" for event in part))
                    while safe < start + len(part):
                        told = replies.readline()
                        if not told.endswith(b"\n"):
                            raise ConnectionError
                        safe = begun + int(told)
        except OSError:
            time.sleep(0.05)


def empty(spool: Path) -> bool:
    """Tell whether everything in a spool was sent: the place that is answered for is the end."""
    position = spool / "position.json"
    if not position.exists():
        return False
    number, offset = json.loads(position.read_bytes())["sent"]
    files = sorted(int(path.stem) for path in spool.glob("*.events"))
    rest = sum((spool / f"{n:012}.events").stat().st_size for n in files if n > number)
    here = spool / f"{number:012}.events"
    return rest == 0 and (not here.exists() or here.stat().st_size == offset)


def test_collector_and_server_are_killed_and_every_event_counts_once(fault_world, tmp_path, dice):
    """S039, S041, S049: metered = distinct ids, however often either side dies; nothing acknowledged is lost."""
    events = [worlds.event_make(fault_world, dice) for _ in range(1_500)]
    port = free_port()
    with WebTree(fault_world, log=tmp_path / "web.log") as web:
        collector = Collector(fault_world, tmp_path, port=web.port, listen=f"tcp:127.0.0.1:{port}")
        collector.start()
        producer = threading.Thread(target=produce, args=[port, events])
        producer.start()
        for _ in range(6):
            time.sleep(dice.uniform(0.1, 0.6))
            if dice.random() < 0.7:
                collector.kill()
                collector.start()
            else:
                web.kill_worker(dice)
        producer.join(timeout=100)
        assert not producer.is_alive()
        deadline = time.monotonic() + 60
        while not empty(tmp_path / "spool"):
            assert time.monotonic() < deadline, (tmp_path / "collector.log").read_text()[-3000:]
            time.sleep(0.1)
        collector.kill()
    judging.assert_counted_once(event_type=fault_world.event_type, ids={event["id"] for event in events})
    assert not (tmp_path / "spool" / "refused.jsonl").exists()


def test_standard_input_is_drained_and_a_mapping_reads_it(fault_world, tmp_path, dice):
    """S024, S041: raw telemetry goes through the queue on the disk before the server makes events of it."""
    from tests.builders import metering

    source = f"sensor-{fault_world.event_type}"
    metering.mapping(
        source=source, id="no", type=f"={fault_world.event_type}", customer="who", occurred_at="at", quantity="value"
    )
    events = [worlds.event_make(fault_world, dice) for _ in range(120)]
    raw = [{"no": e["id"], "who": e["customer"], "at": e["occurred_at"], "value": "1"} for e in events]
    (tmp_path / "key").write_text(fault_world.key)
    with WebTree(fault_world, log=tmp_path / "web.log", workers=1) as web:
        ran = subprocess.run(
            [
                sys.executable,
                "-m",
                "usage_collect",
                "--url",
                f"http://127.0.0.1:{web.port}",
                "--host",
                fault_world.host,
                "--key-file",
                "key",
                "--spool",
                "spool",
                "--mapping",
                source,
                "--acknowledge",
            ],  # fmt: skip
            input="".join(json.dumps(document) + "\n" for document in raw),
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(database.ROOT / "script")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (ran.returncode, ran.stdout.split()[-1]) == (0, "120"), ran.stderr
    judging.assert_counted_once(event_type=fault_world.event_type, ids={event["id"] for event in events})
