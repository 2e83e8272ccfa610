"""What beat and the relay wake up: resolve the tenant, one call each. A message is never the record of work."""

from typing import Any

from celery import shared_task

from apps.audit import services as audit_services
from apps.common import clock
from apps.common.actors import SCHEDULE
from apps.common.tasks import for_each_tenant, tenant_task, wake_each_tenant
from apps.entitlements import services as entitlement_services
from apps.messaging import services as messaging_services
from apps.metering import following
from apps.metering import services as metering_services
from apps.workflows import (
    advance_usage,
    collection,
    cycle_close,
    invariants,
    late_settlement,
    relay,
    usage_keys,
    usage_limits,
    usage_retention,
    usage_watch,
)


@shared_task(name="workflows.outbox_relay_all")
def outbox_relay_all(**_future: Any) -> None:
    """Deliver waiting news of every tenant."""
    for_each_tenant(lambda schema_name: relay.outbox_relay(wall_at=clock.now()), job="outbox relay")


@shared_task(name="workflows.journal_seal_all")
def journal_seal_all(**_future: Any) -> None:
    """Give committed events and audit entries their place in line."""
    for_each_tenant(lambda schema_name: messaging_services.events_seal(), job="seal journal")
    for_each_tenant(lambda schema_name: audit_services.entries_seal(), job="seal audit trail")


@shared_task(name="workflows.billing_run_all")
def billing_run_all(**_future: Any) -> None:
    """Wake each tenant's billing run; tenants are closed side by side by whatever workers there are."""
    wake_each_tenant(billing_run)


@tenant_task(name="workflows.billing_run")
def billing_run(*, schema_name: str, **_future: Any) -> None:
    """Begin and close what is due in one tenant."""
    cycle_close.billing_run_if_due(actor=SCHEDULE, at=clock.now(), wall_at=clock.now())


@shared_task(name="workflows.usage_follow_all")
def usage_follow_all(**_future: Any) -> None:
    """Wake each tenant's follower."""
    wake_each_tenant(usage_follow)


@tenant_task(name="workflows.usage_follow")
def usage_follow(*, schema_name: str, **_future: Any) -> None:
    """Process one tenant's new events."""
    following.usage_follow(at=clock.now())


@shared_task(name="workflows.late_usage_settle_all")
def late_usage_settle_all(**_future: Any) -> None:
    """Wake each tenant's settling of late usage."""
    wake_each_tenant(late_usage_settle)


@tenant_task(name="workflows.late_usage_settle")
def late_usage_settle(*, schema_name: str, **_future: Any) -> None:
    """Settle what came late for one tenant's billed periods, and bill what no other document takes up."""
    late_settlement.late_usage_settle_due(at=clock.now())
    late_settlement.adjustments_alone_due(at=clock.now())


@shared_task(name="workflows.usage_bill_all")
def usage_bill_all(**_future: Any) -> None:
    """Wake each tenant's billing of usage in advance."""
    wake_each_tenant(usage_bill)


@tenant_task(name="workflows.usage_bill")
def usage_bill(*, schema_name: str, **_future: Any) -> None:
    """Bill one tenant's usage on charges that are billed event by event."""
    advance_usage.usage_bill_due(actor=SCHEDULE, at=clock.now())


@shared_task(name="workflows.drafts_finalize_all")
def drafts_finalize_all(**_future: Any) -> None:
    """Wake each tenant's finalising."""
    wake_each_tenant(drafts_finalize)


@tenant_task(name="workflows.drafts_finalize")
def drafts_finalize(*, schema_name: str, **_future: Any) -> None:
    """Make documents of one tenant's drafts past their grace."""
    cycle_close.drafts_finalize_due(at=clock.now())


@shared_task(name="workflows.payments_resolve_all")
def payments_resolve_all(**_future: Any) -> None:
    """Wake each tenant's look-ups; they call vendors and may be slow, so no tenant waits for another's."""
    wake_each_tenant(payments_resolve)


@tenant_task(name="workflows.payments_resolve")
def payments_resolve(*, schema_name: str, **_future: Any) -> None:
    """Look up one tenant's payments without an outcome."""
    collection.payments_resolve_due(at=clock.now())


@shared_task(name="workflows.usage_partitions_all")
def usage_partitions_all(**_future: Any) -> None:
    """Cut the coming months' partitions."""
    for_each_tenant(
        lambda schema_name: metering_services.usage_partitions_ensure(
            months=metering_services.months_ahead(at=clock.now())
        ),
        job="usage partitions",
    )


@shared_task(name="workflows.usage_keys_purge_all")
def usage_keys_purge_all(**_future: Any) -> None:
    """Take away the ids that tenants' windows have forgotten, each batch in a transaction of its own."""
    for_each_tenant(lambda schema_name: usage_keys.forgotten_purge(at=clock.now()), job="forget old event ids")


@shared_task(name="workflows.invariants_check_all")
def invariants_check_all(**_future: Any) -> None:
    """Check what must always hold."""
    for_each_tenant(lambda schema_name: invariants.invariants_check(at=clock.now()), job="invariants")


@shared_task(name="workflows.usage_limits_make_all")
def usage_limits_make_all(**_future: Any) -> None:
    """Make the limits of windows that begin soon."""
    for_each_tenant(lambda schema_name: usage_limits.usage_limits_make_due(at=clock.now()), job="make usage limits")


@shared_task(name="workflows.usage_thresholds_tell_all")
def usage_thresholds_tell_all(**_future: Any) -> None:
    """Tell of limits that usage has come near to."""
    for_each_tenant(
        lambda schema_name: metering_services.usage_thresholds_tell(actor=SCHEDULE, at=clock.now()),
        job="tell usage thresholds",
    )


@shared_task(name="workflows.access_decisions_prune_all")
def access_decisions_prune_all(**_future: Any) -> None:
    """Forget decisions about access that nobody asks about any more."""
    for_each_tenant(
        lambda schema_name: entitlement_services.decisions_prune(at=clock.now()), job="forget old access decisions"
    )


@shared_task(name="workflows.usage_watch_all")
def usage_watch_all(**_future: Any) -> None:
    """Look at the sources of usage for what is missing, late or silent."""
    for_each_tenant(
        lambda schema_name: usage_watch.sources_watch(actor=SCHEDULE, at=clock.now()), job="watch sources of usage"
    )


@shared_task(name="workflows.unusual_usage_watch_all")
def unusual_usage_watch_all(**_future: Any) -> None:
    """Compare the last whole hour of each customer and meter with its usual one."""
    for_each_tenant(
        lambda schema_name: usage_watch.unusual_usage_watch(actor=SCHEDULE, at=clock.now()), job="watch unusual usage"
    )


@shared_task(name="workflows.usage_proofs_all")
def usage_proofs_all(**_future: Any) -> None:
    """Wake each tenant's proofs; one reads raw events for minutes, so no tenant waits for another's."""
    wake_each_tenant(usage_proofs)


@tenant_task(name="workflows.usage_proofs")
def usage_proofs(*, schema_name: str, **_future: Any) -> None:
    """Prove some of the days that are due in one tenant."""
    usage_retention.proofs_run(actor=SCHEDULE, at=clock.now())


@shared_task(name="workflows.usage_retention_all")
def usage_retention_all(**_future: Any) -> None:
    """Wake each tenant's archiving."""
    wake_each_tenant(usage_retention_month)


@tenant_task(name="workflows.usage_retention")
def usage_retention_month(*, schema_name: str, **_future: Any) -> None:
    """Archive one tenant's oldest month that is kept no longer."""
    usage_retention.retention_run(actor=SCHEDULE, at=clock.now())
