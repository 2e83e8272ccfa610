"""Write billing runs: one outcome for every period taken."""

from datetime import datetime
from uuid import UUID

from apps.common import locks
from apps.common.actors import Actor
from apps.common.db import unit_of_work
from apps.invoices.models import BillingOutcome, BillingRun, BillingRunItem, BillingRunStatus, Invoice
from apps.lifecycle.services import transition_apply


@unit_of_work
def run_open(*, trigger: str, at: datetime) -> BillingRun:
    """Record that a run begins."""
    return BillingRun.objects.create(trigger=trigger, started_at=at)


@unit_of_work
def run_item_record(
    *, run_id: UUID, billing_period_id: UUID, outcome: BillingOutcome, invoice: Invoice | None = None, reason: str = ""
) -> BillingRunItem:
    """Record what the run did with a period, in the transaction that did it."""
    return BillingRunItem.objects.create(
        run_id=run_id, billing_period_id=billing_period_id, outcome=outcome, invoice=invoice, reason=reason[:2_000]
    )


@unit_of_work
def run_complete(*, run_id: UUID, actor: Actor, at: datetime) -> BillingRun:
    """
    Record that the run has nothing left to do.

    :raises TransitionRefused: if it is complete already
    """
    run = locks.get_for_update(BillingRun, run_id)
    transition_apply(instance=run, action="complete", actor=actor, at=at, topic="invoices.billing_run.completed")
    return run


@unit_of_work
def runs_complete_stale(*, started_before: datetime, actor: Actor, at: datetime) -> int:
    """Complete runs whose worker died; the periods they held are due again and get their outcome from a later run."""
    stale = BillingRun.objects.filter(status=BillingRunStatus.RUNNING, started_at__lt=started_before)
    stale_ids = list(stale.order_by("id").values_list("id", flat=True)[:100])
    for run_id in stale_ids:
        run_complete(run_id=run_id, actor=actor, at=at)
    return len(stale_ids)
