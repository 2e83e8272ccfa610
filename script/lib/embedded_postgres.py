"""A PostgreSQL of our own, kept in a folder: created, started, found alive or mended, stopped.

    python -m script.lib.embedded_postgres [--directory FOLDER] start|stop|url|psql

The folder holds `data`, `password`, `postgres.log` and two lock files. Only a Unix socket is opened, with a password.
A live server holds `cluster.lock` through an inherited descriptor, in each of its processes: whoever can take that lock
knows that nothing of the cluster lives, whatever process numbers say (they are reused, above all in containers).
"""

import argparse
import contextlib
import hashlib
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

from script.lib import postgres_binaries, processes
from script.lib.postgres_binaries import PostgresUnavailable

USER = "app"
_SOCKET_PATH_BYTES_MAX = 107 - len("/.s.PGSQL.5432.lock")
_START_SECONDS_MAX = 120.0
_LOCK_SECONDS_MAX = 15.0
_LOG_BYTES_MAX = 5_000_000
# PostgreSQL's own checks of the environment (locale, options) must not depend on whose shell started it.
_CLEAN_ENV = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "TZ": "UTC"}

_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "jit": "off",
    "shared_buffers": "256MB",
    # One tenant schema created or dropped touches more than 300 objects in one transaction.
    "max_locks_per_transaction": "256",
    "max_connections": "200",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "10min",
    "log_min_duration_statement": "15s",
    "log_line_prefix": "%m [%p] %d ",
}
_THROWAWAY_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "log_min_duration_statement": "-1",
}


class EmbeddedPostgres:
    """One cluster in one folder; every method may be called from any process of the owner."""

    def __init__(
        self, directory: Path, *, durable: bool, log: Path | None = None, settings: Mapping[str, str] | None = None
    ) -> None:
        self.directory = directory.absolute()
        self.durable = durable
        self.settings = dict(settings or {})
        self.process: subprocess.Popen[bytes] | None = None
        self.home = postgres_binaries.home_of_cluster(self.directory)
        self.data = self.home / "data"
        self.log = log or self.directory / "postgres.log"
        self.socket_dir = self._choose_socket_dir()

    def url(self, *, database: str = "postgres") -> str:
        """Return the connection URL of a database of this cluster."""
        return f"postgresql://{USER}:{self._password()}@/{database}?host={quote(str(self.socket_dir))}"

    def dsn(self, *, database: str = "postgres") -> str:
        """Return the same in libpq's keyword form, for clients that do not understand a socket in a URL."""
        return f"host={self.socket_dir} dbname={database} user={USER} password={self._password()}"

    def answers(self) -> bool:
        """Tell whether the server accepts a connection and a query at this moment."""
        return self._initialised() and self.query("SELECT 1").returncode == 0

    def query(self, sql: str, *, database: str = "postgres") -> subprocess.CompletedProcess[str]:
        """Run one statement through psql and return the finished process, output unaligned."""
        arguments = [*self.psql_command(database=database), "-Atqc", sql]
        return subprocess.run(arguments, env=self.psql_env(), capture_output=True, text=True, check=False)

    def psql_command(self, *, database: str = "postgres") -> list[str]:
        """Return the command line that opens psql on a database of this cluster."""
        binaries = self._binaries()
        return [str(binaries.bin_dir / "psql"), "-X", "-h", str(self.socket_dir), "-U", USER, "-d", database]

    def psql_env(self) -> dict[str, str]:
        """Return the environment psql needs, password included."""
        # The caller's PGPORT, PGSERVICE and the like would lead elsewhere.
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return {**kept, "PGPASSWORD": self._password(), "PGCONNECT_TIMEOUT": "5"}

    def ensure_database(self, name: str) -> None:
        """
        Create the database if the cluster does not have it yet.

        :raises PostgresUnavailable: if the server refuses
        """
        if self.query(f"SELECT 1 FROM pg_database WHERE datname = '{name}'").stdout.strip() != "1":  # noqa: S608
            made = self.query(f'CREATE DATABASE "{name}"')
            if made.returncode != 0:
                raise PostgresUnavailable(f"The database {name} could not be created: {made.stderr.strip()}")

    def start(self, *, bound: bool) -> bool:
        """
        Bring the server up, mending what a crash left; return False if it was running already.

        A bound server is a child that falls with the process that called this; otherwise it stays until `stop`.

        :raises PostgresUnavailable: with what to do, if it cannot be brought up
        """
        with self._starting():
            if self.answers():
                return False
            lock = self._take_cluster_lock()
            if lock is None:
                return False
            with lock:
                self._prepare_data()
                (self.data / "postmaster.pid").unlink(missing_ok=True)
                self._make_socket_dir()
                self._launch(lock_descriptor=lock.fileno(), bound=bound)
            self._wait_until_it_answers()
            return True

    def stop(self, *, seconds: float = 20.0) -> bool:
        """Stop the server in order, by force if it dawdles; return False if nothing was running."""
        postmaster = self._postmaster()
        if postmaster is None:
            return False
        for number, patience in ((signal.SIGINT, seconds), (signal.SIGQUIT, 6.0), (signal.SIGKILL, 3.0)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(postmaster, number)
            if self._gone(seconds=patience):
                break
        if self.process is not None:
            self.process.wait()
            self.process = None
        return True

    # Below: steps of the above.

    def _binaries(self) -> postgres_binaries.PostgresBinaries:
        if not hasattr(self, "_found"):
            self._found = postgres_binaries.locate(home=self.home)
        return self._found

    def _choose_socket_dir(self) -> Path:
        beside = self.home / "socket"
        # Clients put the path into connection strings, not all of them with quotes.
        if len(os.fsencode(beside)) <= _SOCKET_PATH_BYTES_MAX and re.fullmatch(r"[\w/.+-]+", str(beside), re.ASCII):
            return beside
        digest = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:12]
        return Path(f"/tmp/countinghouse-{os.geteuid()}-{digest}")  # noqa: S108  ownership is checked before use

    def _make_socket_dir(self) -> None:
        self.socket_dir.mkdir(mode=0o700, exist_ok=True)
        status = self.socket_dir.lstat()
        beside = self.socket_dir.parent == self.home
        if self.socket_dir.is_symlink() or not (beside or status.st_uid in self._owners()):
            raise PostgresUnavailable(f"{self.socket_dir} belongs to somebody else; remove it and try again.")
        self._give_to_runner(self.socket_dir)

    def _owners(self) -> set[int]:
        return {os.geteuid(), self._binaries().identity().get("user", os.geteuid())}

    def _give_to_runner(self, path: Path) -> None:
        identity = self._binaries().identity()
        if os.geteuid() == 0:
            os.chown(path, identity.get("user", 0), identity.get("group", 0))

    def _password(self) -> str:
        path = self.directory / "password"
        with contextlib.suppress(FileNotFoundError):
            return path.read_text().strip()
        raise PostgresUnavailable(
            f"{path} is missing, so nobody can sign in to the database beside it; put the file back, or remove "
            f"{self.directory} to begin anew (its data is lost)."
        )

    def _initialised(self) -> bool:
        return (self.data / "PG_VERSION").exists()

    @contextlib.contextmanager
    def _starting(self) -> Iterator[None]:
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = processes.lock_open(self.directory / "start.lock")
        except PermissionError as error:
            raise PostgresUnavailable(
                f"{self.directory} cannot be written by this user ({error.strerror}); it was probably made by another "
                "user: run as that user, or remove it to begin anew (its data is lost)."
            ) from error
        with file:
            if not processes.lock_wait(file, seconds=_START_SECONDS_MAX):
                raise PostgresUnavailable(
                    f"Another process has been starting {self.directory} for minutes; end it first."
                )
            yield

    def _take_cluster_lock(self) -> TextIO | None:
        """Return the lock that says "nothing of this cluster lives", or None if the server turned out to be alive."""
        file = processes.lock_open(self.directory / "cluster.lock")
        deadline = time.monotonic() + _LOCK_SECONDS_MAX
        kicked = False
        while not processes.lock_try(file):
            if self.answers():
                file.close()
                return None
            if not kicked and time.monotonic() > deadline - _LOCK_SECONDS_MAX / 2:
                kicked = True
                for process_id in processes.living_in(self.data):
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(process_id, signal.SIGQUIT)
            if time.monotonic() > deadline:
                file.close()
                raise PostgresUnavailable(
                    f"A PostgreSQL process of {self.data} is alive but does not answer (processes "
                    f"{sorted(processes.living_in(self.data))}); end it with kill, then try again."
                )
            time.sleep(0.1)
        return file

    def _prepare_data(self) -> None:
        self._open_the_way_for_the_runner()
        if not self.durable and self._initialised() and self._machine_restarted():
            shutil.rmtree(self.data)
        if not self._initialised():
            self._initialise()
        self._check_version()
        owner = self._binaries().identity().get("user", os.geteuid())
        if self.data.stat().st_uid != owner:
            if os.geteuid() != 0:
                raise PostgresUnavailable(
                    f"{self.data} belongs to another user; run as that user, or remove it to begin anew (data is lost)."
                )
            for path in (self.data, *self.data.rglob("*")):
                self._give_to_runner(path)
        if not self.durable:
            (self.directory / "boot").write_text(processes.boot_id())

    def _open_the_way_for_the_runner(self) -> None:
        if self._binaries().run_as is not None:
            # Passing through is all that is allowed; what lies beside the data stays unreadable.
            for folder in (self.home.parent, self.home) if self.home != self.directory else (self.home,):
                folder.mkdir(parents=True, exist_ok=True)
                folder.chmod(0o711)

    def _machine_restarted(self) -> bool:
        # Without fsync a crash of the machine may damage the files silently; a throwaway cluster is simply made again.
        marker = self.directory / "boot"
        return (self.data / "postmaster.pid").exists() and (
            not marker.exists() or marker.read_text() != processes.boot_id()
        )

    def _initialise(self) -> None:
        if self.data.exists() and any(self.data.iterdir()):
            raise PostgresUnavailable(
                f"{self.data} is not empty but holds no PostgreSQL cluster (PG_VERSION is missing); restore it from a "
                "backup, or remove it to begin anew."
            )
        unfinished = self.home / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        password_file = self.directory / "password"
        if not password_file.exists():
            password_file.touch(mode=0o600)
            password_file.write_text(secrets.token_urlsafe(24))
        handed = unfinished.with_suffix(".password")
        handed.touch(mode=0o600)
        handed.write_text(password_file.read_text())
        for path in (unfinished, handed):
            self._give_to_runner(path)
        options = ["-D", str(unfinished), "-U", USER, "-E", "UTF8", "--locale-provider=builtin"]
        options += ["--builtin-locale=C.UTF-8", "--locale=C", "--auth=scram-sha-256", f"--pwfile={handed}"]
        if not self.durable:
            options += ["--no-sync", "--no-data-checksums"]
        made = self._binaries().run("initdb", *options, env=_CLEAN_ENV)
        handed.unlink()
        if made.returncode != 0:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise PostgresUnavailable(f"PostgreSQL could not create its files in {self.home}: {made.stderr.strip()}")
        if self.data.exists():
            self.data.rmdir()
        unfinished.rename(self.data)

    def _check_version(self) -> None:
        found = (self.data / "PG_VERSION").read_text().strip()
        installed = self._binaries().major
        if found != str(installed):
            raise PostgresUnavailable(
                f"{self.data} holds data of PostgreSQL {found}, but PostgreSQL {installed} is installed. Keep it with "
                f"`mv {self.directory} {self.directory}.{found}` and start anew, or convert it with pg_upgrade."
            )

    def _launch(self, *, lock_descriptor: int, bound: bool) -> None:
        settings = _SETTINGS | {"unix_socket_directories": str(self.socket_dir)}
        if not self.durable:
            settings |= _THROWAWAY_SETTINGS
        settings |= self.settings
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = self._binaries().command("postgres", "-D", str(self.data), *options)
        if self.log.exists() and self.log.stat().st_size > _LOG_BYTES_MAX:
            self.log.replace(self.log.with_suffix(".log.1"))
        # An immediate stop: it ends within seconds even in mid-checkpoint, and the next start recovers.
        preexec = processes.die_with_parent(signal_number=signal.SIGQUIT) if bound else None
        with self.log.open("ab") as log:
            self.process = self._binaries().popen(
                command, env=_CLEAN_ENV, log=log.fileno(), preexec=preexec, keep=lock_descriptor
            )

    def _wait_until_it_answers(self) -> None:
        assert self.process is not None  # noqa: S101  for the type checker: _launch has just set it
        deadline = time.monotonic() + _START_SECONDS_MAX
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise PostgresUnavailable(self._explain_failed_start())
            time.sleep(0.05)

    def _explain_failed_start(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-15:]
        telling = [line for line in lines if "FATAL" in line or "PANIC" in line] or lines[-2:]
        said = " / ".join(line.split("] ", 1)[-1].strip() for line in telling)
        if "No space left" in said:
            remedy = "Free some disk space, then try again."
        elif "password authentication failed" in said:
            remedy = f"The file {self.directory / 'password'} does not fit the data beside it; put the right one back."
        else:
            remedy = (
                f"Restore {self.data} from a backup, or remove {self.directory} to begin anew (its data is lost); "
                f"more is in {self.log}."
            )
        return f"PostgreSQL does not start on {self.data}: {said}. {remedy}"

    def _postmaster(self) -> int | None:
        try:
            process_id = int((self.data / "postmaster.pid").read_text().split()[0])
        except (FileNotFoundError, IndexError, ValueError):
            return None
        return process_id if process_id in processes.living_in(self.data) else None

    def _gone(self, *, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        with processes.lock_open(self.directory / "cluster.lock") as lock:
            while not processes.lock_try(lock):
                if self.process is not None:
                    self.process.poll()
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.03)
        return True


def main(arguments: list[str]) -> int:
    """Obey the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m script.lib.embedded_postgres", description=__doc__)
    local = Path(os.environ.get("LOCAL_DIR") or ".local")
    parser.add_argument("--directory", type=Path, default=local / "postgres", help="default: %(default)s")
    parser.add_argument("--throwaway", action="store_true", help="no fsync; for tests")
    parser.add_argument("--database", default="postgres")
    parser.add_argument("action", choices=["start", "stop", "url", "psql"])
    chosen, rest = parser.parse_known_args(arguments)
    server = EmbeddedPostgres(chosen.directory, durable=not chosen.throwaway)
    try:
        if chosen.action == "start":
            server.start(bound=False)
        elif chosen.action == "stop":
            server.stop()
        elif chosen.action == "psql":
            command = server.psql_command(database=chosen.database) + rest
            os.execve(command[0], command, server.psql_env())  # noqa: S606
        if chosen.action in ("start", "url"):
            print(server.url(database=chosen.database))
    except PostgresUnavailable as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
