"""The product's web processes as `script/server` starts them, and clients that do not give up."""

import contextlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from script.lib import processes
from tests import database

_START_SECONDS = 60
_ANSWER_SECONDS = 30


@dataclass(frozen=True, kw_only=True)
class World:
    """Where events go: a tenant on some database, its key, and customers and a meter that are there."""

    database_url: str
    schema_name: str
    host: str
    key: str
    customers: tuple[str, ...]
    event_type: str


def free_port() -> int:
    """Return a port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class WebTree:
    """A web server with its worker processes: killed by chance, begun anew on the same port."""

    def __init__(self, world: World, *, log: Path, workers: int = 2, **environ: str) -> None:
        self.port = free_port()
        self._log, self._workers = log, workers
        self._environment = {
            **os.environ,
            "DATABASE_URL": world.database_url,
            "DJANGO_SETTINGS_MODULE": "billing_site.settings",
            "PUBLIC_PORT": str(self.port),
            **environ,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "WebTree":
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start and wait until it accepts connections."""
        command = [
            sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(self.port),
            "--workers", str(self._workers), "--blocking-threads", "16", "--no-ws", "--log-level", "warning",
            "--respawn-failed-workers", "--workers-kill-timeout", "5", "billing_site.wsgi:application",
        ]  # fmt: skip
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, env=self._environment, cwd=database.ROOT, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"The web server did not start: {self._log.read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End the whole tree in order, by force if it dawdles."""
        if self._process is None:
            return
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=10)
        processes.group_signal(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def kill(self) -> None:
        """Kill the server and all its workers at one instant, so that nothing gets to clean up."""
        assert self._process is not None
        processes.group_signal(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def revive(self) -> None:
        """Start the server again if it has ended, as its supervisor does: it gives up when workers die too early."""
        if self._process is not None and self._process.poll() is not None:
            self.kill()
            self.start()

    def kill_worker(self, dice: random.Random) -> None:
        """Kill one worker; the server begins another one."""
        self.revive()
        workers = self.workers()
        if workers:
            try:
                os.kill(dice.choice(workers), signal.SIGKILL)
            except ProcessLookupError:
                return

    def workers(self) -> list[int]:
        """Return the process ids of the server's children."""
        assert self._process is not None
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == self._process.pid and fields[0] != "Z":
                found.append(int(stat.parent.name))
        return found

    def _listens(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
        except OSError:
            return False


class WorkerTree:
    """Celery's worker and beat on the queue in the database; killed by chance, begun anew."""

    def __init__(self, world: World, *, folder: Path) -> None:
        self._folder = folder
        self._environment = {
            **os.environ,
            "DATABASE_URL": world.database_url,
            "CELERY_BROKER_URL": "pgmq://",
            "DJANGO_SETTINGS_MODULE": "billing_site.settings",
        }
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start both, each in a group of its own."""
        celery = [sys.executable, "-m", "celery", "-A", "billing_site"]
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=WARNING"]
        beat = ["beat", "--loglevel=WARNING", "--pidfile=", "--schedule", str(self._folder / "beat-schedule")]
        with (self._folder / "worker.log").open("ab") as log:
            self._processes = [
                subprocess.Popen(
                    [*celery, *arguments],
                    env=self._environment,
                    cwd=database.ROOT,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
                for arguments in (["worker", "--concurrency=1", *quiet], beat)
            ]

    def kill(self) -> None:
        """Kill worker, its children and beat at one instant."""
        for process in self._processes:
            processes.group_signal(process.pid, signal.SIGKILL)
            process.wait()
        self._processes = []


@dataclass
class Told:
    """What clients heard: how often each status, and the sums of all answers that counted."""

    statuses: Counter[int] = field(default_factory=Counter)
    sums: Counter[str] = field(default_factory=Counter)
    unanswered: int = 0
    problems: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Sender:
    """A client of the intake that repeats a batch until it is answered."""

    def __init__(self, world: World, port: int, told: Told, *, seconds_max: int = 120) -> None:
        self._world, self._port, self._told, self._seconds_max = world, port, told, seconds_max
        self._connection: http.client.HTTPConnection | None = None

    def send(self, batch: Iterable[dict[str, Any]]) -> dict[str, Any]:
        """
        Send a batch until it is answered, and return the answer.

        A 503 and no answer at all are what the protocol says to repeat; any other failure is a finding.
        """
        body = json.dumps({"events": list(batch)}).encode()
        deadline = time.monotonic() + self._seconds_max
        while time.monotonic() < deadline:
            try:
                status, headers, content = self._post(body)
            except (OSError, http.client.HTTPException):
                self._disconnect()
                with self._told.lock:
                    self._told.unanswered += 1
                time.sleep(0.02)
                continue
            answer = json.loads(content)
            with self._told.lock:
                self._told.statuses[status] += 1
                if status in (200, 207):
                    for name in ("accepted", "duplicates", "conflicts", "rejected"):
                        self._told.sums[name] += answer[name]
                elif status not in (429, 503):
                    self._told.problems.append(f"{status}: {content[:300]!r}")
            if status in (200, 207):
                return answer
            time.sleep(min(int(headers.get("Retry-After") or 0), 1) / 10 + 0.02)
        raise AssertionError(f"a batch was not answered in {self._seconds_max} seconds")

    def _post(self, body: bytes) -> tuple[int, http.client.HTTPMessage, bytes]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_ANSWER_SECONDS)
        headers = {
            "Host": self._world.host,
            "Authorization": f"Bearer {self._world.key}",
            "Content-Type": "application/json",
        }
        self._connection.request("POST", "/api/v1/events/batch", body, headers)
        response = self._connection.getresponse()
        return response.status, response.headers, response.read()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def send_all(
    world: World, port: int, batches: Sequence[Sequence[dict[str, Any]]], *, clients: int = 4, told: Told | None = None
) -> Told:
    """Send all batches from some clients at once, each until it is answered; return what they heard."""
    told = told or Told()
    waiting = list(reversed(batches))
    failures: list[BaseException] = []

    def work() -> None:
        sender = Sender(world, port, told)
        try:
            while True:
                with told.lock:
                    if not waiting or failures:
                        return
                    batch = waiting.pop()
                sender.send(batch)
        except BaseException as error:  # noqa: BLE001  raised again below
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return told
