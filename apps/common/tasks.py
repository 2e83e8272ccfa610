"""Celery entry points that know their tenant.

A task names its schema explicitly and checks it: the alternative, a header set behind one's back, fails open to
the public schema when it is lost.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any

import structlog
from celery import shared_task

from apps.common import context, ids
from apps.tenancy import context as tenancy_context
from apps.tenancy import selectors as tenancy_selectors

log = structlog.get_logger(__name__)


def tenant_task(*, name: str) -> Callable[[Callable[..., None]], Any]:
    """
    Declare a task that runs inside the tenant named by its `schema_name` argument.

    Arguments are keywords of JSON values: ids and schema name only. A message from an older release may carry
    arguments that this one does not know; tasks therefore take `**_future`.
    """

    def declare(function: Callable[..., None]) -> Any:
        @shared_task(name=name)
        @wraps(function)
        def run(*, schema_name: str, **arguments: Any) -> None:
            with _task_scope(), tenancy_context.tenant_context(schema_name=schema_name):
                function(schema_name=schema_name, **arguments)

        return run

    return declare


# A wake-up that nobody picked up before the next tick is worthless: let it expire instead of stacking up.
WAKE_UP_SECONDS = 60


def wake_each_tenant(task: Any) -> None:
    """Send one message of a tenant task to each ready tenant; the work itself is found in the tenant's tables."""
    for schema_name in tenancy_selectors.tenant_schemas_ready():
        task.apply_async(kwargs={"schema_name": schema_name}, expires=WAKE_UP_SECONDS)


def for_each_tenant(work: Callable[..., Any], *, job: str) -> None:
    """Run `work(schema_name=...)` inside each ready tenant; one that fails is logged and never stops the next."""
    for schema_name in tenancy_selectors.tenant_schemas_ready():
        try:
            with _task_scope(), tenancy_context.tenant_context(schema_name=schema_name):
                work(schema_name=schema_name)
        except Exception:  # noqa: BLE001  the next tenant must not pay for this one's trouble
            log.exception("job failed for a tenant", job=job, schema_name=schema_name)


def _task_scope() -> AbstractContextManager[None]:
    return context.request_scope(f"task-{ids.new_id()}")
