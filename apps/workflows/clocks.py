"""Move a test clock: everything that falls due happens, in order, each at its own moment, then the answer comes."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Min, QuerySet

from apps.common.actors import Actor
from apps.customers import services as customer_services
from apps.customers.models import Customer, TestClock
from apps.invoices.models import Invoice, InvoiceStatus
from apps.payments.models import AttemptStatus, PaymentAttempt
from apps.subscriptions.models import (
    BillingPeriod,
    BillingPeriodStatus,
    Subscription,
    SubscriptionChange,
    SubscriptionStatus,
)
from apps.workflows import advance_usage, collection, cycle_close, relay, subscription_turns
from apps.workflows.errors import TooMuchDue

# Ten years of daily periods; a clock asked to go further must go in steps.
STEPS_MAX = 5_000


def test_clock_advance(*, clock_id: UUID, to: datetime, actor: Actor, wall_at: datetime) -> TestClock:
    """
    Move a clock forward and do all that falls due for its customers on the way.

    :param wall_at: the wall clock, for leases of the work done here
    :raises ClockMovesBack: if `to` lies before the clock's time
    :raises TooMuchDue: if more falls due than one call may do; the clock stands where it came to
    """
    customer_ids = list(Customer.objects.filter(test_clock_id=clock_id).order_by("id").values_list("id", flat=True))
    clock = TestClock.objects.get(id=clock_id)
    # What is due already comes first: news that nobody has carried yet belongs to the time before the move.
    _work(customer_ids, actor=actor, at=clock.now_at, wall_at=wall_at)
    for _step in range(STEPS_MAX):
        due_at = _next_due_at(customer_ids, after=clock.now_at, until=to)
        if due_at is None:
            break
        clock = customer_services.test_clock_move(clock_id=clock_id, to=due_at, actor=actor)
        _work(customer_ids, actor=actor, at=due_at, wall_at=wall_at)
    else:
        raise TooMuchDue(f"More than {STEPS_MAX} things fall due before {to.isoformat()}; advance in smaller steps.")
    clock = customer_services.test_clock_move(clock_id=clock_id, to=to, actor=actor)
    _work(customer_ids, actor=actor, at=to, wall_at=wall_at)
    return clock


test_clock_advance.__test__ = False  # type: ignore[attr-defined]  # not a test, whatever pytest thinks of its name


def _work(customer_ids: list[UUID], *, actor: Actor, at: datetime, wall_at: datetime) -> None:
    subscription_turns.turns_due(actor=actor, at=at, customer_ids=customer_ids)
    if _periods(customer_ids).filter(ends_at__lte=at, parked_at__isnull=True).exists():
        cycle_close.billing_run_start(trigger="clock", actor=actor, at=at, wall_at=wall_at, customer_ids=customer_ids)
    advance_usage.usage_bill_due(actor=actor, at=at, customer_ids=customer_ids)
    cycle_close.drafts_finalize_due(at=at, customer_ids=customer_ids)
    relay.outbox_relay(wall_at=wall_at)
    collection.payments_resolve_due(at=at, customer_ids=customer_ids)
    relay.outbox_relay(wall_at=wall_at)


def _next_due_at(customer_ids: list[UUID], *, after: datetime, until: datetime) -> datetime | None:
    """Return the earliest moment after `after`, up to `until`, at which something falls due."""
    moments = [
        _earliest(_periods(customer_ids).filter(parked_at__isnull=True), "ends_at", after),
        _earliest(
            Subscription.objects.filter(customer_id__in=customer_ids, status=SubscriptionStatus.PENDING),
            "starts_at",
            after,
        ),
        _earliest(
            Subscription.objects.filter(customer_id__in=customer_ids, status=SubscriptionStatus.TRIALING),
            "trial_ends_at",
            after,
        ),
        _earliest(
            SubscriptionChange.objects.filter(
                subscription__customer_id__in=customer_ids, applied_at__isnull=True, withdrawn_at__isnull=True
            ),
            "effective_at",
            after,
        ),
        _earliest(
            Invoice.objects.filter(customer_id__in=customer_ids, status=InvoiceStatus.DRAFT),
            "finalize_after_at",
            after,
        ),
        _earliest(
            PaymentAttempt.objects.filter(
                invoice__customer_id__in=customer_ids, status__in=[AttemptStatus.SUBMITTED, AttemptStatus.UNKNOWN]
            ),
            "next_lookup_at",
            after,
        ),
    ]
    due = [moment for moment in moments if moment is not None and moment <= until]
    return min(due, default=None)


def _periods(customer_ids: list[UUID]) -> QuerySet[BillingPeriod]:
    return BillingPeriod.objects.filter(subscription__customer_id__in=customer_ids).exclude(
        status=BillingPeriodStatus.CLOSED
    )


def _earliest(rows: QuerySet[Any], field: str, after: datetime) -> datetime | None:
    moment: datetime | None = rows.filter(**{f"{field}__gt": after}).aggregate(moment=Min(field))["moment"]
    return moment
