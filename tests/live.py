"""The product as its users meet it: a web server process on the suite's own database, and a small HTTP client."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests import database

_START_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class Client:
    """Speaks JSON to one tenant's API."""

    port: int
    host: str
    key: str

    def call(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """Return the status and the parsed answer (None when it is empty)."""
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(  # noqa: S310  http to this machine
            f"http://127.0.0.1:{self.port}{path}",
            data=data,
            method=method,
            headers={
                "Host": self.host,
                "Authorization": f"Bearer {self.key}",
                "Content-Type": "application/json",
                **(headers or {}),
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=300) as response:  # noqa: S310
                text = response.read()
                return response.status, json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            text = error.read()
            return error.code, json.loads(text) if text else None

    def post(self, path: str, body: Any, *, key: str = "") -> Any:
        """Return the answer of a POST that must succeed."""
        status, answer = self.call("POST", path, body, {"Idempotency-Key": key} if key else None)
        assert status < 300, (path, status, answer)
        return answer

    def get(self, path: str) -> Any:
        """Return the answer of a GET that must succeed."""
        status, answer = self.call("GET", path)
        assert status == 200, (path, status, answer)
        return answer

    def all(self, path: str) -> list[Any]:
        """Return every item of a list, following its cursor."""
        separator = "&" if "?" in path else "?"
        items, cursor = [], ""
        while True:
            page = self.get(f"{path}{separator}limit=100{f'&cursor={cursor}' if cursor else ''}")
            items += page["data"]
            cursor = page["next_cursor"]
            if not cursor:
                return items


@contextmanager
def web_server(*, database_name: str, workers: int = 1) -> Iterator[int]:
    """Serve the product on a free port against a database of the suite's server; yield the port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "DATABASE_URL": database.url_of(database_name),
        "DJANGO_SETTINGS_MODULE": "billing_site.settings",
        "PUBLIC_PORT": str(port),
    }
    command = [
        sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port),
        "--workers", str(workers), "--blocking-threads", "16", "--no-ws", "--log-level", "warning",
        "billing_site.wsgi:application",
    ]  # fmt: skip
    process = subprocess.Popen(command, env=environment, cwd=database.ROOT, start_new_session=True)
    try:
        _await_answer(process, port)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_answer(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"The web server ended with {process.returncode} before it answered.")
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("The web server did not answer in time.")
