"""A PostgreSQL of one test's own, durable, that may be shut down under the product; filled from the template."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from script.lib.embedded_postgres import EmbeddedPostgres
from tests import database

DATABASE = "faults"
FAST, IMMEDIATE = signal.SIGINT, signal.SIGQUIT


class Cluster:
    """A server that is durable, as in production: what is committed must survive every way to stop it."""

    def __init__(self, folder: Path) -> None:
        self.postgres = EmbeddedPostgres(folder / "postgres", durable=True)

    @property
    def url(self) -> str:
        """Return where the database is; the same through all restarts."""
        return self.postgres.url(database=DATABASE)

    def start(self) -> None:
        """Start, recovering what a crash left."""
        self.postgres.start(bound=True)

    def stop(self) -> None:
        """Stop for good."""
        self.postgres.stop()

    def restart(self, *, signal_number: int) -> None:
        """Shut down (SIGINT: fast, sessions are cut; SIGQUIT: immediate, as in a crash) and start again."""
        os.kill(self.postmaster(), signal_number)
        assert self.postgres._gone(seconds=30)
        if self.postgres.process is not None:
            self.postgres.process.wait()
            self.postgres.process = None
        self.start()

    def postmaster(self) -> int:
        """Return the process id of the server."""
        process_id = self.postgres._postmaster()
        assert process_id is not None
        return process_id


@contextmanager
def cluster_running(folder: Path, *, source: str) -> Iterator[Cluster]:
    """Start a cluster and fill it with a copy of a database of the suite's server."""
    cluster = Cluster(folder)
    cluster.start()
    try:
        cluster.postgres.ensure_database(DATABASE)
        binaries = cluster.postgres._binaries().bin_dir
        parts = conninfo_to_dict(database.url_of(source))
        dump = subprocess.Popen(
            [str(binaries / "pg_dump"), "-h", parts["host"], "-U", parts["user"], "--no-comments", source],
            env={**os.environ, "PGPASSWORD": parts["password"]},
            stdout=subprocess.PIPE,
        )
        psql = [*cluster.postgres.psql_command(database=DATABASE), "-q", "-v", "ON_ERROR_STOP=1", "-1"]
        subprocess.run(psql, env=cluster.postgres.psql_env(), stdin=dump.stdout, stdout=subprocess.DEVNULL, check=True)
        assert dump.wait() == 0
        yield cluster
    finally:
        cluster.stop()
