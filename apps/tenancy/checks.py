"""System checks of tenancy: refuse to run where one tenant would read another's rows.

A pooler that hands a server connection to another client after each transaction also hands over its search path.
Measured behind PgBouncer in transaction mode: two reads in three came from another tenant. Two clients that are
given the same server process are behind such a pooler; direct and session-pooled ones never are.
"""

from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connection

_TRIES = 3
_CONNECT = ("host", "port", "user", "password", "dbname")


def server_pids() -> tuple[int, int]:
    """Return the server process that each of two idle clients of the configured address is given."""
    parameters = {name: value for name, value in connection.get_connection_params().items() if name in _CONNECT}
    with (
        psycopg.connect(**parameters, autocommit=True) as first,
        psycopg.connect(**parameters, autocommit=True) as second,
    ):
        # An answer from the server and not the client library's guess: the pooler has its own idea of process ids.
        pids = [client.execute("SELECT pg_backend_pid()").fetchall()[0][0] for client in (first, second)]
    return pids[0], pids[1]


@register(Tags.database)
def no_transaction_pooler(
    *, databases: Sequence[str] | None = None, pids: Callable[[], tuple[int, int]] | None = None, **_options: Any
) -> list[CheckMessage]:
    """Return an error when the database is reached through a transaction pooler."""
    if not databases and pids is None:
        return []
    ask = pids or server_pids
    for _try in range(_TRIES):
        first, second = ask()
        if first == second:
            return [
                Error(
                    "DATABASE_URL leads to a pooler in transaction mode; tenants would read each other's rows.",
                    hint="Connect directly, or put the pooler into session mode.",
                    id="tenancy.E001",
                )
            ]
    return []
