"""Run the whole product on this machine: `script/server` ends up here.

PostgreSQL, then schemas and demo data, then web, worker and beat; all of it ends with this process. The same code runs
against real servers when `DATABASE_URL` or `CELERY_BROKER_URL` name them.
"""

import contextlib
import functools
import http.client
import importlib.util
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from script.lib import processes
from script.lib.embedded_postgres import EmbeddedPostgres
from script.lib.postgres_binaries import PostgresUnavailable
from script.lib.supervisor import Interrupted, Service, ServiceGaveUp, Supervisor

ROOT = Path(__file__).resolve().parents[2]
DATABASE = "countinghouse"
_MODULES = ("django", "django_tenants", "celery", "pgmq", "granian", "psycopg", "msgspec", "typst")
_WEB_SECONDS_MAX = 90.0
_FOREIGN_PREFIXES = ("PYTHON", "VIRTUAL_ENV", "CELERY_APP")

Launch = Callable[..., "subprocess.Popen[bytes]"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the environment asks of this command."""

    local_dir: Path
    host: str
    port: int
    web_workers: int
    worker_processes: int
    is_database_ours: bool
    is_broker_ours: bool
    is_demo: bool

    @property
    def log_dir(self) -> Path:
        """The folder all processes write their logs to."""
        return self.local_dir / "log"


def say(text: str) -> None:
    """Print a line at once; a reader who has gone away is no reason to fail."""
    with contextlib.suppress(OSError):
        print(text, flush=True)


def settings_read(environ: Mapping[str, str]) -> Settings:
    """
    Read the settings of this command.

    :raises ServiceGaveUp: naming a variable that makes no sense
    """

    def number(name: str, default: int) -> int:
        text = environ.get(name) or str(default)
        if not text.isdigit() or not 0 < int(text) < 65536:
            raise ServiceGaveUp(f"{name}={text} is not a number between 1 and 65535; for example {name}={default}.")
        return int(text)

    is_database_ours = not environ.get("DATABASE_URL")
    return Settings(
        local_dir=(ROOT / (environ.get("LOCAL_DIR") or ".local")).resolve(),
        host=environ.get("HOST") or "127.0.0.1",
        port=number("PORT", 8000),
        web_workers=number("WEB_WORKERS", min(2, os.cpu_count() or 1)),
        worker_processes=number("WORKER_PROCESSES", 2),
        is_database_ours=is_database_ours,
        is_broker_ours=is_database_ours and not environ.get("CELERY_BROKER_URL"),
        # Somebody else's database is not filled with invented customers unless that is asked for.
        is_demo=environ.get("DEMO", "1" if is_database_ours else "0") not in ("0", "no", "false", ""),
    )


def ensure_modules_present() -> None:
    """
    Look for the packages the product cannot start without.

    :raises ServiceGaveUp: naming those that are missing
    """
    missing = [name for name in _MODULES if importlib.util.find_spec(name) is None]
    if missing:
        raise ServiceGaveUp(
            f"Missing from .venv: {', '.join(missing)}. Remove the folder .venv and start again; it is then made anew."
        )


def ensure_port_free(*, host: str, port: int) -> None:
    """
    Try the port before anything is started, because the web server would share it silently.

    :raises ServiceGaveUp: if another program listens there
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ServiceGaveUp(
                f"Port {port} on {host} cannot be used ({error.strerror}); choose another one, for example: "
                f"PORT={port + 1} script/server"
            ) from error


def ensure_database_answers(url: str) -> None:
    """
    Connect once to a database that is not ours.

    :raises ServiceGaveUp: if it refuses or is too old
    """
    import psycopg

    try:
        with psycopg.connect(url, connect_timeout=10) as connection:
            version = connection.info.server_version
    except psycopg.Error as error:
        reason = " ".join(str(error).split())
        raise ServiceGaveUp(
            f"The database of DATABASE_URL does not answer: {reason}. Check that it runs and that host, port, user, "
            "password and name are right, or unset DATABASE_URL to use the embedded one."
        ) from error
    if version < 150000:
        raise ServiceGaveUp(f"DATABASE_URL leads to PostgreSQL {version // 10000}; 15 or newer is needed.")


def secret_key(local_dir: Path) -> str:
    """Return this machine's secret, made on first use and kept where only the owner can read it."""
    path = local_dir / "secret_key"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(48))
    return path.read_text().strip()


def child_environment(
    settings: Settings, environ: Mapping[str, str], postgres: EmbeddedPostgres | None
) -> dict[str, str]:
    """Return the environment of every process of the product."""
    foreign: tuple[str, ...] = _FOREIGN_PREFIXES
    if postgres is not None:
        # libpq would take a port or service from here and look for our server somewhere else.
        foreign += ("PG",)
    env = {name: value for name, value in environ.items() if not name.startswith(foreign)}
    env |= {
        "PYTHONUNBUFFERED": "1",
        "PYTHONNOUSERSITE": "1",
        "DJANGO_SETTINGS_MODULE": "billing_site.settings",
        "LOCAL_DIR": str(settings.local_dir),
        "SECRET_KEY": environ.get("SECRET_KEY") or secret_key(settings.local_dir),
        "PUBLIC_PORT": environ.get("PUBLIC_PORT") or str(settings.port),
        "PROMETHEUS_MULTIPROC_DIR": environ.get("PROMETHEUS_MULTIPROC_DIR") or str(settings.local_dir / "metrics"),
    }
    if postgres is not None:
        env["DATABASE_URL"] = postgres.url(database=DATABASE)
        if settings.is_broker_ours:
            env |= {"CELERY_BROKER_URL": "pgmq://", "CELERY_BROKER_DSN": postgres.dsn(database=DATABASE)}
    return env


def run(settings: Settings, supervisor: Supervisor, environ: Mapping[str, str]) -> None:
    """
    Bring everything up, print how to use it, and watch over it until told to end.

    :raises ServiceGaveUp: if something cannot be started or kept running
    :raises Interrupted: when told to end
    """
    began = time.monotonic()
    postgres = None
    if settings.is_database_ours:
        postgres = EmbeddedPostgres(
            settings.local_dir / "postgres", durable=True, log=settings.log_dir / "postgres.log"
        )
        say(f"Starting PostgreSQL (data in {settings.local_dir / 'postgres'}) ...")
        supervisor.add(postgres_service(postgres))
        postgres.ensure_database(DATABASE)
    else:
        ensure_database_answers(environ["DATABASE_URL"])
    env = child_environment(settings, environ, postgres)
    # Counts of processes that have ended long ago would be added to those of today.
    for counted in Path(env["PROMETHEUS_MULTIPROC_DIR"]).glob("*.db"):
        counted.unlink(missing_ok=True)

    def manage(what: str, *arguments: str, show_output: bool = False) -> None:
        say(f"{what} ...")
        command = [sys.executable, "manage.py", *arguments]
        try:
            seconds = supervisor.run_step(
                what, command, env=env, log=settings.log_dir / "setup.log", show_output=show_output
            )
        except ServiceGaveUp as error:
            raise ServiceGaveUp(f"{error}{remedy_for(str(error))}") from error
        if seconds > 1:
            say(f"  done in {seconds:.0f} s")

    if postgres is None:
        # Somebody else's server: a pooler in transaction mode would show tenants each other's rows.
        manage("Checking the database", "check", "--database", "default")
    manage("Bringing the schemas up to date", "migrate", "--noinput")
    if env.get("CELERY_BROKER_URL", "pgmq://").startswith("pgmq://"):
        manage("Preparing the queue", "broker_install")
    if settings.is_demo:
        manage("Provisioning and filling the demo tenants", "demo_provision", show_output=True)

    launch = functools.partial(supervisor.launch, env=env)
    say("Starting web, worker and beat ...")
    supervisor.add(worker_service(settings, launch, postgres if settings.is_broker_ours else None))
    supervisor.add(web_service(settings, launch))
    supervisor.add(beat_service(settings, launch))
    host = env.get("BASE_DOMAIN") or "localhost"
    if not supervisor.watch(until=lambda: web_answers(settings, host), seconds=_WEB_SECONDS_MAX):
        raise ServiceGaveUp(f"The web server did not answer within {_WEB_SECONDS_MAX:.0f} s; see {settings.log_dir}.")
    if settings.is_demo:
        manage("Ready", "demo_summary", show_output=True)
    say(f"Up after {time.monotonic() - began:.0f} s: http://{host}:{settings.port}/  Logs: {settings.log_dir}")
    say("Ctrl-C stops everything; the data stays.")
    supervisor.watch()


def remedy_for(said: str) -> str:
    """Return what to do about a failed step, when its last words tell; otherwise nothing."""
    if missing := re.search(r"No module named '([^']+)'", said):
        return (
            f"\nThe module {missing[1]} is missing. If it belongs to a package, remove the folder .venv and start "
            "again; if it is the product's own, the working copy is incomplete."
        )
    if "InconsistentMigrationHistory" in said or "already exists" in said:
        return (
            "\nThe data was made by another version of the product. Go back to that version, or start with an empty "
            "folder: LOCAL_DIR=.local/fresh script/server"
        )
    return ""


def postgres_service(postgres: EmbeddedPostgres) -> Service:
    """Return PostgreSQL as a service; an orphaned one stops at once and recovers on the next start."""

    def start() -> "subprocess.Popen[bytes]":
        if not postgres.start(bound=True):
            # Left running by hand: it has to become a child, or it would outlive this process.
            postgres.stop()
            postgres.start(bound=True)
        assert postgres.process is not None  # noqa: S101  for the type checker: start has just set it
        return postgres.process

    return Service(
        name="PostgreSQL",
        start=start,
        log=postgres.log,
        stop_signal=signal.SIGINT,
        stop_seconds=30.0,
        orphan_signal=signal.SIGQUIT,
    )


def worker_service(settings: Settings, launch: Launch, postgres: EmbeddedPostgres | None) -> Service:
    """Return the Celery worker as a service."""
    log = settings.log_dir / "worker.log"
    command = [sys.executable, "-m", "celery", "-A", "billing_site", "worker"]
    command += [f"--concurrency={settings.worker_processes}", "--loglevel=INFO", "--without-gossip", "--without-mingle"]
    # Heartbeats are events for a monitor that is not there, sent by a call that the queue does not have.
    command += ["--without-heartbeat"]

    def start() -> "subprocess.Popen[bytes]":
        if postgres is not None:
            release_held_messages(postgres)
        return launch(command, log=log)

    return Service(name="worker", start=start, log=log, stop_seconds=30.0)


def release_held_messages(postgres: EmbeddedPostgres) -> None:
    """
    Give back what a fallen worker had taken, instead of waiting for its visibility timeout.

    Safe here and only here: the one worker of this queue is not running. Messages never read keep their delay.
    """
    tables = postgres.query(
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
        " WHERE schemaname = 'pgmq' AND tablename LIKE 'q\\_%'",
        database=DATABASE,
    ).stdout.split()
    for table in tables:
        postgres.query(
            f"UPDATE {table} SET vt = clock_timestamp() WHERE read_ct > 0 AND vt > clock_timestamp()",  # noqa: S608
            database=DATABASE,
        )


def web_service(settings: Settings, launch: Launch) -> Service:
    """Return the web server as a service."""
    log = settings.log_dir / "web.log"
    command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--host", settings.host]
    command += ["--port", str(settings.port), "--workers", str(settings.web_workers), "--blocking-threads", "16"]
    command += ["--no-ws", "--respawn-failed-workers", "--workers-kill-timeout", "5", "billing_site.wsgi:application"]
    return Service(name="web", start=lambda: launch(command, log=log), log=log, stop_seconds=10.0)


def beat_service(settings: Settings, launch: Launch) -> Service:
    """Return the scheduler as a service; its memory of past ticks is disposable."""
    log = settings.log_dir / "beat.log"
    command = [sys.executable, "-m", "celery", "-A", "billing_site", "beat", "--loglevel=INFO", "--pidfile="]
    command += ["--schedule", str(settings.local_dir / "beat-schedule")]
    return Service(name="beat", start=lambda: launch(command, log=log), log=log, stop_seconds=5.0)


def web_answers(settings: Settings, host_name: str) -> bool:
    """Tell whether the web server gives any answer of its own."""
    address = "127.0.0.1" if settings.host == "0.0.0.0" else settings.host  # noqa: S104
    connection = http.client.HTTPConnection(address, settings.port, timeout=5)
    try:
        connection.request("GET", "/healthz", headers={"Host": host_name})
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def main(environ: Mapping[str, str]) -> int:
    """Run until told to end; return the exit status."""
    os.chdir(ROOT)
    os.umask(0o077)
    try:
        settings = settings_read(environ)
        settings.log_dir.mkdir(parents=True, exist_ok=True)
        with processes.lock_open(settings.local_dir / "server.lock") as lock:
            if not processes.lock_try(lock):
                holder = lock.read().strip() or "unknown"
                raise ServiceGaveUp(
                    f"script/server already runs on {settings.local_dir} (process {holder}). End it, or start a second "
                    "one beside it: LOCAL_DIR=.local/second PORT=8001 script/server"
                )
            lock.seek(0)
            lock.truncate()
            lock.write(str(os.getpid()))
            lock.flush()
            ensure_modules_present()
            ensure_port_free(host=settings.host, port=settings.port)
            with Supervisor(say=say) as supervisor:
                try:
                    run(settings, supervisor, environ)
                finally:
                    say("Stopping beat, web, worker and PostgreSQL ...")
    except Interrupted:
        say("Stopped.")
        return 0
    except (ServiceGaveUp, PostgresUnavailable) as error:
        print(error, file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ))
