"""The suite's database: a template with two provisioned tenants, cloned for each process.

Migrating takes seconds, cloning a fraction of one. The template's name carries a hash of everything that shapes it,
so a changed migration or seed makes a new one and nothing stale is ever used.
"""

import hashlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

ROOT = Path(__file__).resolve().parents[1]
_SHAPING = (
    "apps/*/migrations/*.py",
    "apps/*/*_sql.py",
    "apps/*/triggers.py",
    "apps/workflows/provisioning.py",
    "apps/ledger/services.py",
    "apps/engine/postings.py",
    "apps/tenancy/*.py",
    "tests/database.py",
)


def server_url() -> str:
    """Return the URL of the throwaway server, starting it when nobody has."""
    given = os.environ.get("TEST_DATABASE_URL", "")
    if given:
        return given
    command = [str(ROOT / "script" / "database"), "test-url"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def url_of(name: str) -> str:
    """Return the URL of one database on the server."""
    parts = conninfo_to_dict(server_url())
    host = parts.get("host", "")
    return f"postgresql://{parts['user']}:{parts['password']}@/{name}?host={host}"


def template_name() -> str:
    """Return the name of the template that fits this tree."""
    digest = hashlib.sha256()
    for pattern in _SHAPING:
        for path in sorted(ROOT.glob(pattern)):
            digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return f"template_{digest.hexdigest()[:16]}"


@contextmanager
def admin_connection() -> Iterator[psycopg.Connection]:
    """Connect to the maintenance database, in autocommit."""
    with psycopg.connect(make_conninfo(server_url(), dbname="postgres"), autocommit=True) as connection:
        yield connection


def exists(connection: psycopg.Connection, name: str) -> bool:
    """Return whether a database is there."""
    return connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is not None


def create(connection: psycopg.Connection, name: str, *, template: str = "template1") -> None:
    """Create a database, as a copy of `template`."""
    connection.execute(
        sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(
            sql.Identifier(name), sql.Identifier(template)
        )
    )


def drop(connection: psycopg.Connection, name: str) -> None:
    """Drop a database and whoever is still connected to it."""
    connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def rename(connection: psycopg.Connection, name: str, to: str) -> None:
    """Give a finished database its final name: half-built templates are never found under it."""
    connection.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(name), sql.Identifier(to)))
