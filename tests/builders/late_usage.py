"""Reach late usage the way it comes about: a month is billed, then events come."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from apps.common.actors import SCHEDULE
from apps.common.db import fetch_all
from apps.customers.models import Customer
from apps.invoices.models import Invoice, InvoiceKind
from apps.metering import following, following_sql
from apps.metering.models import UsageFollower
from apps.subscriptions.models import BillingPeriod, Subscription
from apps.workflows import cycle_close, late_settlement
from tests.builders import customers, metering, plans, subscriptions

JANUARY = datetime(2026, 1, 1, tzinfo=UTC)
FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)
MARCH = datetime(2026, 3, 1, tzinfo=UTC)
PATIENCE_SECONDS = 120


def follow(*, at: datetime) -> None:
    """Let the follower come up to now; transactions elsewhere on the server may hold it up for a while."""
    until = time.monotonic() + PATIENCE_SECONDS
    ((target,),) = fetch_all(following_sql.CURRENT)
    while time.monotonic() < until:
        following.usage_follow(at=at)
        done = UsageFollower.objects.get().done_snapshot
        ((is_there,),) = fetch_all(
            "SELECT pg_snapshot_xmax(%s::pg_snapshot) >= pg_snapshot_xmax(%s::pg_snapshot)", [done, target]
        )
        if is_there:
            return
        time.sleep(0.05)
    raise AssertionError("the follower did not come up to now")


def subscribed(code: str, *, profile: dict[str, Any] | None = None, **plan: Any) -> tuple[Customer, Subscription]:
    """Subscribe a customer from January on to a plan of its own whose usage is of a type of its own."""
    terms = {"base_fee": None, "charges": [per_call(code)], **plan}
    metering.meter(code=code, event_type=code) if not _has_meter(code) else None
    plans.published_plan(code=code, **terms)
    customer = customers.customer(external_id=code, **(profile or {}))
    return customer, subscriptions.subscription(customer=customer, plan_code=code, starts_at=JANUARY)


def _has_meter(code: str) -> bool:
    from apps.metering.models import Meter

    return Meter.objects.filter(code=code).exists()


def per_call(code: str, **terms: Any) -> dict[str, Any]:
    """Return a charge of ten cents per event of the customer's own meter."""
    return {"code": "calls", "meter": code, "model": "per_unit", "unit_rate": "0.10", **terms}


def used(code: str, *, count: int, occurred_at: datetime, at: datetime | None = None, **event: Any) -> None:
    """Send events of a customer's own type."""
    batch = [
        metering.event(customer=code, type=code, occurred_at=occurred_at.isoformat(), **event)
        for _event in range(count)
    ]
    result = metering.send(*batch, at=at or occurred_at + timedelta(minutes=1))
    assert result.accepted == count, result.to_document()


def closed(subscription: Subscription, *, at: datetime) -> Invoice | None:
    """Close the period that ends by `at` and return its draft."""
    cycle_close.billing_run_start(
        trigger="staff", actor=SCHEDULE, at=at, wall_at=at, customer_ids=[subscription.customer_id]
    )
    return document_of(subscription, ends_at=at)


def finalized(subscription: Subscription, *, ends_at: datetime, at: datetime) -> Invoice:
    """Close a period and make its document final."""
    closed(subscription, at=ends_at)
    cycle_close.drafts_finalize_due(at=at, customer_ids=[subscription.customer_id])
    invoice = document_of(subscription, ends_at=ends_at)
    assert invoice is not None
    assert invoice.number, invoice.status
    return invoice


def document_of(subscription: Subscription, *, ends_at: datetime) -> Invoice | None:
    """Return the live document of the period that ends then."""
    found = Invoice.objects.filter(subscription=subscription, kind=InvoiceKind.CYCLE, period_ends_at__lte=ends_at)
    return found.exclude(status__in=["VOID", "DISCARDED"]).order_by("-period_ends_at").first()


def period_of(subscription: Subscription, *, starts_at: datetime = JANUARY) -> BillingPeriod:
    """Return the period that begins then."""
    return BillingPeriod.objects.get(subscription=subscription, starts_at=starts_at)


def settle(subscription: Subscription, *, at: datetime, starts_at: datetime = JANUARY) -> int:
    """Follow the events and let the schedule settle what came late for one period."""
    follow(at=at)
    return late_settlement.late_usage_settle_due(at=at, period_ids=[period_of(subscription, starts_at=starts_at).id])
