"""Units of work: when a transaction opens, what must not happen inside one, and how previews roll back."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast
from weakref import WeakKeyDictionary

import psycopg
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connection, connections, transaction

from apps.tenancy.context import current_schema

P = ParamSpec("P")
R = TypeVar("R")


class NoTenant(RuntimeError):
    """A unit of work was asked for outside any tenant; enter one with `tenancy.context.tenant_context` first."""


class VendorCallInTransaction(RuntimeError):
    """A vendor would have been called while a transaction was open; record the intent, commit, then call."""


def unit_of_work(function: Callable[P, R]) -> Callable[P, R]:
    """
    Run a service in one transaction: join the open one, else open one; never a savepoint.

    A savepoint would let half a unit survive when a caller swallows the error.

    :raises NoTenant: in the public schema, where django-tenants would silently answer from shared tables
    """

    @wraps(function)
    def in_unit(*args: P.args, **kwargs: P.kwargs) -> R:
        require_tenant()
        if connection.in_atomic_block:
            return function(*args, **kwargs)
        with transaction.atomic():
            return function(*args, **kwargs)

    return in_unit


def require_tenant() -> None:
    """
    Refuse to go on in the public schema.

    :raises NoTenant: if no tenant is entered
    """
    if current_schema() == settings.PUBLIC_SCHEMA_NAME:
        raise NoTenant("No tenant is entered; wrap the call in tenancy.context.tenant_context(schema_name=...).")


def require_no_transaction() -> None:
    """
    Guard a vendor call: nothing may be held open while a stranger takes his time (ADR 0012).

    The empty durable block raises inside any transaction of ours and passes inside a test case's outer one.

    :raises VendorCallInTransaction: if a transaction is open
    """
    try:
        with transaction.atomic(durable=True):
            return
    except RuntimeError as error:
        raise VendorCallInTransaction("A vendor call was about to run inside a database transaction.") from error


@contextmanager
def rolled_back() -> Iterator[None]:
    """
    Run the real path and undo it: how every preview and dry run works (ADR 0013).

    Deferred constraints are forced before the rollback, so that a preview cannot succeed where the real run fails.
    """
    with transaction.atomic():
        yield
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        transaction.set_rollback(True)


def fetch_all(sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    """Run a hand-written statement and return its rows."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall()) if cursor.description else []


# One cursor for each connection of the driver, and gone with it.
_prepared: WeakKeyDictionary[psycopg.Connection[Any], psycopg.Cursor[Any]] = WeakKeyDictionary()


def fetch_prepared(sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    """
    Run a statement that is planned once for each connection, and return its rows.

    For short reads that are asked all the time: planning one costs more than running it, and Django's own cursor plans
    each time. The server plans anew when another tenant is entered, so nothing is read from the wrong schema.
    """
    database = connections[DEFAULT_DB_ALIAS]
    # Entering Django's cursor opens the connection and puts the search path on this tenant.
    with database.cursor(), database.wrap_database_errors:
        cursor = _prepared.get(database.connection)
        if cursor is None:
            cursor = _prepared[database.connection] = psycopg.Cursor(database.connection)
        cursor.execute(cast(Any, sql), parameters, prepare=True)
        return cursor.fetchall()


# The alias of the read replica, where the installation has one.
REPLICA = "replica"


def fetch_report(sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    """
    Run a report's statement on the read replica, or on the one database there is, and return its rows.

    Reports may be seconds behind and must not hold up who writes; nothing that decides about money reads here. The
    replica knows no tenant by itself, so each statement enters the schema for itself, and it can only read.

    :raises NoTenant: if no tenant is entered
    """
    require_tenant()
    if REPLICA not in connections.settings:
        return fetch_all(sql, parameters)
    with transaction.atomic(using=REPLICA), connections[REPLICA].cursor() as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")
        cursor.execute("SELECT set_config('search_path', quote_ident(%s), true)", [current_schema()])
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())
