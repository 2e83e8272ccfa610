"""Row locks through one helper: in primary-key order, with a bounded wait."""

from collections.abc import Iterable
from typing import TypeVar
from uuid import UUID

from django.db import connection, models

from apps.common.errors import NotFound
from apps.tenancy.context import current_schema

M = TypeVar("M", bound=models.Model)

# Long enough for a colleague's transaction to end, short enough that a stuck one is noticed.
LOCK_WAIT_MS_MAX = 5_000


def get_for_update(model: type[M], pk: UUID) -> M:
    """
    Lock one row until the unit of work ends.

    :raises NotFound: if there is no such row
    """
    rows = get_many_for_update(model, [pk])
    if not rows:
        raise NotFound(f"There is no {model._meta.verbose_name} with the id {pk}.")
    return rows[0]


def get_many_for_update(model: type[M], pks: Iterable[UUID]) -> list[M]:
    """Lock several rows in primary-key order (one order for everybody, so no deadlock) and return them."""
    _bound_wait()
    return list(model._default_manager.select_for_update(of=("self",)).filter(pk__in=list(pks)).order_by("pk"))


def advisory_lock(key: str) -> None:
    """Hold a named lock of this tenant until the unit of work ends; who comes second waits, but not for ever."""
    _bound_wait()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"{current_schema()}:{key}"])


def _bound_wait() -> None:
    # Local to the transaction: whoever waits longer is told so instead of holding a worker.
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{LOCK_WAIT_MS_MAX}ms"])
