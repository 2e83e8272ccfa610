"""The servers of a measurement: a PostgreSQL that is made and thrown away, and the web server of `script/server`."""

import functools
import http.client
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from script.lib import processes
from script.lib import server as product_server
from script.lib.embedded_postgres import EmbeddedPostgres

WEB_WORKERS = 2
_WEB_SECONDS_MAX = 90
_GIB = 1024**3

# Durable in every respect. Memory and distance of checkpoints are those of a server that takes its work seriously;
# a checkpoint comes before each case, so that no case pays for another's.
DURABLE = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "wal_compression": "off",
    "max_wal_size": "16GB",
    "checkpoint_timeout": "1h",
}


@dataclass(frozen=True, kw_only=True)
class Web:
    """A running web server."""

    port: int
    process_id: int

    def worker_kilobytes(self) -> list[int]:
        """Return the resident memory of each worker process."""
        children = Path(f"/proc/{self.process_id}/task/{self.process_id}/children").read_text().split()
        return sorted(_resident_kilobytes(int(child)) for child in children)


def _resident_kilobytes(process_id: int) -> int:
    for line in Path(f"/proc/{process_id}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def shared_buffers() -> str:
    """Return 4 GB, or a quarter of a smaller machine."""
    quarter = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4
    return f"{min(4 * _GIB, quarter) // 1024**2}MB"


@contextmanager
def postgres_running(directory: Path) -> Iterator[EmbeddedPostgres]:
    """Make a durable cluster in a folder, run it, and throw both away."""
    settings = {**DURABLE, "shared_buffers": shared_buffers()}
    directory.mkdir(parents=True, exist_ok=True)
    postgres = EmbeddedPostgres(directory, durable=True, log=directory / "postgres.log", settings=settings)
    try:
        postgres.start(bound=True)
        postgres.ensure_database(product_server.DATABASE)
        yield postgres
    finally:
        postgres.stop()
        shutil.rmtree(directory, ignore_errors=True)
        if postgres.home != postgres.directory:
            shutil.rmtree(postgres.home, ignore_errors=True)


def product_settings(local_dir: Path, *, port: int = 8000) -> product_server.Settings:
    """Return what `script/server` would be told, without demo data."""
    return product_server.Settings(
        local_dir=local_dir,
        host="127.0.0.1",
        port=port,
        web_workers=WEB_WORKERS,
        worker_processes=1,
        is_database_ours=True,
        is_broker_ours=True,
        is_demo=False,
    )


def product_environment(local_dir: Path, postgres: EmbeddedPostgres) -> dict[str, str]:
    """Return the environment in which `script/server` runs the product, as in production: no debugging."""
    environ = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "CELERY_BROKER_URL")}
    found = product_server.child_environment(product_settings(local_dir), environ, postgres)
    return {**found, "DEBUG": "false", "LOG_LEVEL": "WARNING"}


@contextmanager
def web_running(*, local_dir: Path, environ: Mapping[str, str]) -> Iterator[Web]:
    """Run the web server by the very command of `script/server`, on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = product_settings(local_dir, port=port)
    settings.log_dir.mkdir(parents=True, exist_ok=True)
    service = product_server.web_service(settings, functools.partial(_launch, environ=dict(environ)))
    process = service.start()
    try:
        deadline = time.monotonic() + _WEB_SECONDS_MAX
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"The web server does not answer:\n{service.log.read_text()[-3000:]}")
            time.sleep(0.1)
        yield Web(port=port, process_id=process.pid)
    finally:
        process.terminate()
        process.wait(timeout=30)


def _launch(command: list[str], *, log: Path, environ: dict[str, str]) -> "subprocess.Popen[bytes]":
    with log.open("ab") as file:
        tie = processes.die_with_parent()  # started from the main thread, before there is any other
        return subprocess.Popen(command, env=environ, stdout=file, stderr=file, preexec_fn=tie)  # noqa: PLW1509


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/healthz", headers={"Host": "localhost"})
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def machine() -> str:
    """Return what the figures were measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, Python {sys.version.split()[0]}"
