"""Close billing periods: claim, draft, wait out the grace, finalise.

    periods_due -> claim (OPEN -> CLOSING) -> draft -> CLOSED ... grace ... -> refresh -> finalise

Every step has a natural key: the claim token fences a worker that was thought dead, one live invoice per period and
kind is a constraint, a draft is refreshed to the same hash by the same facts. So any step may be repeated, by two
beats or after a kill.
"""

import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from celery.exceptions import SoftTimeLimitExceeded
from django.db import OperationalError

from apps.common import locks
from apps.common.actors import SCHEDULE, Actor
from apps.common.db import rolled_back, unit_of_work
from apps.common.errors import DomainError
from apps.customers import selectors as customer_selectors
from apps.engine.errors import EngineError
from apps.invoices import runs, snapshots
from apps.invoices import selectors as invoice_selectors
from apps.invoices import services as invoice_services
from apps.invoices.inputs import DraftContext
from apps.invoices.models import BillingEntity, BillingOutcome, BillingRun, Invoice, InvoiceKind
from apps.metering import late_usage
from apps.metering import selectors as metering_selectors
from apps.metering.late_usage import WindowInput
from apps.subscriptions import selectors as subscription_selectors
from apps.subscriptions import services as subscription_services
from apps.subscriptions.errors import PeriodNotClaimed, PeriodNotClosed
from apps.subscriptions.models import BillingPeriod, BillingPeriodKind, BillingPeriodStatus, Subscription
from apps.workflows import adjusting, closing_times, drafting, rerating, subscription_turns

log = structlog.get_logger(__name__)

CLAIM_BATCH = 100
# A run that would take more rounds than this stops and leaves the rest, visibly due, to the next tick.
ROUNDS_MAX = 1_000
FINALIZE_BATCH = 500
# Drafts that are held for their sources are passed over, so more are looked at than become final.
DRAFTS_LOOKED_AT = 5_000
_LEASE_SECONDS = subscription_services.CLAIM_LEASE // timedelta(seconds=1)
# Longer than any run takes claims, and than any lease it gave lasts.
STALE_AFTER = subscription_services.CLAIM_LEASE * 2


def billing_run_start(
    *, trigger: str, actor: Actor, at: datetime, wall_at: datetime, customer_ids: list[UUID] | None = None
) -> BillingRun:
    """
    Close every period that is due, each in a transaction of its own, and return the finished run.

    :param at: the business moment for customers without a test clock
    :param wall_at: the wall clock, for leases
    """
    runs.runs_complete_stale(started_before=wall_at - STALE_AFTER, actor=actor, at=wall_at)
    run = runs.run_open(trigger=trigger, at=wall_at)
    # Claims are leases counted from the start of the run: half a lease before the first one ends, no more are taken.
    stop_at = time.monotonic() + _LEASE_SECONDS // 2
    for _round in range(ROUNDS_MAX):
        if time.monotonic() > stop_at:
            break
        claimed = subscription_services.periods_claim(
            limit=CLAIM_BATCH, actor=actor, at=at, wall_at=wall_at, customer_ids=customer_ids
        )
        if not claimed:
            break
        for period in claimed:
            _close_or_park(run=run, period=period, actor=actor, at=at)
    return runs.run_complete(run_id=run.id, actor=actor, at=wall_at)


def billing_run_if_due(*, actor: Actor, at: datetime, wall_at: datetime) -> BillingRun | None:
    """Begin what has come to its start, and start a run if any period is due: the schedule's question each minute."""
    subscription_turns.turns_due(actor=actor, at=at)
    if not subscription_selectors.periods_due(at=at, wall_at=wall_at).exists():
        return None
    return billing_run_start(trigger="schedule", actor=actor, at=at, wall_at=wall_at)


@unit_of_work
def period_close(
    *, run_id: UUID | None, period_id: UUID, claim_token: UUID, actor: Actor, at: datetime
) -> Invoice | None:
    """
    Draft the invoice of a claimed period, open the period after it, and record the outcome, all or nothing.

    :raises PeriodNotClaimed: if the claim ended and somebody else has it
    """
    # The subscription first, as changes do: one order of locks for all who divide and close its periods.
    locks.get_many_for_update(Subscription, subscription_selectors.subscription_ids_of(period_id=period_id))
    period = subscription_services.period_lock_claimed(period_id=period_id, claim_token=claim_token)
    customer_now = customer_selectors.customer_now(customer=period.subscription.customer, at=at)
    for waiting in invoice_selectors.usage_drafts_of(period_id=period.id):
        # What it would bill is on the document of the close.
        reason = ("period_closed", "Its usage is billed with the close of its period.")
        invoice_services.invoice_discard(invoice_id=waiting.id, actor=actor, at=customer_now, reason=reason)
    invoice = _period_draft(period, kind=InvoiceKind.CYCLE, actor=actor, at=customer_now)
    if invoice is None and period.kind == BillingPeriodKind.TRIAL:
        # It bills no usage, and what comes later is told so.
        _windows_close(_windows_unbilled(period), period_id=period.id, at=customer_now)
    subscription_services.period_finish(period=period, actor=actor, at=customer_now)
    if run_id is not None:
        outcome = BillingOutcome.INVOICED if invoice else BillingOutcome.NOTHING_DUE
        runs.run_item_record(run_id=run_id, billing_period_id=period.id, outcome=outcome, invoice=invoice)
    return invoice


@unit_of_work
def period_draft_again(*, period_id: UUID, actor: Actor, at: datetime) -> Invoice | None:
    """
    Draft a closed period's invoice anew after its draft was discarded; a live document is left as it is.

    :raises PeriodNotClosed: if a billing run has yet to close it
    """
    period = locks.get_for_update(BillingPeriod, period_id)
    if period.status != BillingPeriodStatus.CLOSED:
        raise PeriodNotClosed(f"Period {period.public_id} is {period.status}; its billing run drafts it.")
    live = invoice_selectors.invoice_live_of(period_id=period_id, kind=InvoiceKind.CYCLE)
    if live is not None:
        return live
    customer_now = customer_selectors.customer_now(customer=period.subscription.customer, at=at)
    return _period_draft(period, kind=InvoiceKind.CYCLE, actor=actor, at=customer_now)


@unit_of_work
def start_invoice_create(*, subscription_id: UUID, actor: Actor, at: datetime) -> Invoice | None:
    """
    Bill what a new subscription owes in advance, final at once; return nothing when its plan asks for nothing then.

    Repeating it finds the invoice that exists.
    """
    subscription = locks.get_for_update(Subscription, subscription_id)
    period = subscription_selectors.periods_of(subscription_id=subscription_id).get(sequence=1)
    if period.kind == BillingPeriodKind.TRIAL:
        # What is due when a trial ends is on the document that its close makes.
        return None
    existing = invoice_selectors.invoice_live_of(period_id=period.id, kind=InvoiceKind.START)
    if existing is not None:
        return existing
    entity = invoice_selectors.billing_entity_default()
    draft = drafting.draft_build(
        subscription=subscription, period=period, following=None, kind=InvoiceKind.START, entity=entity, at=at
    )
    if draft is None:
        return None
    context = _context(subscription, period, InvoiceKind.START, entity, finalize_after_at=at)
    invoice = invoice_services.invoice_draft_store(context=context, draft=draft, actor=actor, at=at)
    if invoice.issues:
        # It waits as a draft, with its reasons, for whoever can remove them.
        return invoice
    return invoice_services.invoice_finalize(invoice_id=invoice.id, actor=actor, at=at)


@unit_of_work
def invoice_refresh(*, invoice_id: UUID, at: datetime) -> Invoice:
    """
    Build a draft again from the facts of now; the same facts change nothing.

    :raises InvoiceNotDraft: if it is final
    """
    invoice = locks.get_for_update(Invoice, invoice_id)
    period = invoice.billing_period
    if invoice.kind == InvoiceKind.ADJUSTMENT:
        again = adjusting.draft_alone_again(invoice=invoice, at=at)
        return invoice if again is None else invoice_services.invoice_draft_replace(invoice_id=invoice_id, draft=again)
    if period is None or invoice.subscription is None:
        return invoice
    draft = drafting.draft_build(
        subscription=invoice.subscription,
        period=period,
        following=_following(period) if invoice.kind == InvoiceKind.CYCLE else None,
        kind=InvoiceKind(invoice.kind),
        entity=invoice.entity,
        at=at,
    )
    if draft is None:
        return invoice
    return invoice_services.invoice_draft_replace(invoice_id=invoice_id, draft=draft)


@unit_of_work
def invoice_refresh_and_finalize(*, invoice_id: UUID, actor: Actor, at: datetime) -> Invoice:
    """
    Take in what came during the grace, then make the draft a document, in one transaction.

    :raises InvoiceNotDraft: if it is final
    :raises InvoiceNotReady: naming every reason with its remedy
    """
    invoice = invoice_refresh(invoice_id=invoice_id, at=at)
    invoice = invoice_services.invoice_finalize(invoice_id=invoice.id, actor=actor, at=at)
    if invoice.kind == InvoiceKind.CYCLE and invoice.billing_period_id is not None:
        # In the same transaction: what the document did not see is late from the moment at which it is final.
        _windows_close(rerating.windows_of(invoice=invoice), period_id=invoice.billing_period_id, at=at)
    return invoice


def drafts_finalize_due(*, at: datetime, customer_ids: list[UUID] | None = None) -> int:
    """Finalise drafts whose grace is over, each in a transaction of its own; return how many became documents."""
    due = invoice_selectors.drafts_due(at=at).select_related("customer__test_clock")
    if customer_ids is not None:
        due = due.filter(customer_id__in=customer_ids)
    count = 0
    for invoice in list(due[:DRAFTS_LOOKED_AT]):
        if count == FINALIZE_BATCH:
            break
        customer_now = customer_selectors.customer_now(customer=invoice.customer, at=at)
        if closing_times.is_held(invoice=invoice, at=customer_now):
            # It stays due and is looked at again; those behind it do not wait with it.
            continue
        try:
            invoice_refresh_and_finalize(invoice_id=invoice.id, actor=SCHEDULE, at=customer_now)
            count += 1
        except DomainError as error:
            # The draft keeps its reasons; the others are not held up.
            log.warning("draft not finalised", invoice=invoice.public_id, code=error.code, detail=error.detail)
        except SoftTimeLimitExceeded:
            raise
        except Exception:  # noqa: BLE001  one bad draft must not hold up the others; the bug is logged in full
            log.exception("draft not finalised", invoice=invoice.public_id)
    return count


def invoice_preview(*, subscription: Subscription, actor: Actor, at: datetime) -> dict[str, Any]:
    """
    Return the document that closing the running period right now would give, and leave nothing behind.

    The real path runs and is rolled back, so the preview cannot differ from the invoice.
    """
    period = subscription_selectors.period_running(subscription_id=subscription.id, at=at)
    document = None if period is None else period_preview(period=period, actor=actor, at=at)
    return document or {"lines": [], "totals": None}


def period_preview(*, period: BillingPeriod, actor: Actor, at: datetime) -> dict[str, Any] | None:
    """Return the document that closing a period right now would give, or nothing when nothing is due for it."""
    with rolled_back():
        invoice = _period_draft(period, kind=InvoiceKind.CYCLE, actor=actor, at=at)
        return None if invoice is None else preview_document(invoice)


def preview_document(invoice: Invoice) -> dict[str, Any]:
    """Return a draft as the document it would become."""
    return {**snapshots.snapshot_as_is(invoice=invoice), "issues": invoice.issues}


def _close_or_park(*, run: BillingRun, period: BillingPeriod, actor: Actor, at: datetime) -> None:
    token = period.claim_token
    assert token is not None  # noqa: S101  the claim set it a moment ago
    try:
        period_close(run_id=run.id, period_id=period.id, claim_token=token, actor=actor, at=at)
    except PeriodNotClaimed:
        log.warning("claim lost", period=period.public_id)
    except SoftTimeLimitExceeded:
        # The worker is told to end; the claim's lease gives the period to the next run.
        raise
    except OperationalError:
        # The database was busy or gone, which says nothing about this account: the lease brings it back.
        log.exception("period left to its lease", period=period.public_id)
    except (DomainError, EngineError) as error:
        _park(run=run, period=period, token=token, reason=str(error), actor=actor, at=at)
    except Exception as error:  # noqa: BLE001  one poisoned account must not stop the run; the bug is logged in full
        log.exception("period could not be closed", period=period.public_id)
        _park(run=run, period=period, token=token, reason=f"{type(error).__name__}: {error}", actor=actor, at=at)


@unit_of_work
def _park(*, run: BillingRun, period: BillingPeriod, token: UUID, reason: str, actor: Actor, at: datetime) -> None:
    subscription_services.period_park(period_id=period.id, claim_token=token, reason=reason, actor=actor, at=at)
    runs.run_item_record(
        run_id=run.id, billing_period_id=period.id, outcome=BillingOutcome.PARKED, reason=reason or "no reason given"
    )


def _period_draft(period: BillingPeriod, *, kind: InvoiceKind, actor: Actor, at: datetime) -> Invoice | None:
    subscription = period.subscription
    entity = invoice_selectors.billing_entity_default()
    draft = drafting.draft_build(
        subscription=subscription, period=period, following=_following(period), kind=kind, entity=entity, at=at
    )
    if draft is None:
        return None
    closing = closing_times.closing_of(period=period, entity=entity)
    context = _context(subscription, period, kind, entity, finalize_after_at=closing.final_from_at)
    return invoice_services.invoice_draft_store(context=context, draft=draft, actor=actor, at=at)


def _following(period: BillingPeriod) -> BillingPeriod | None:
    return subscription_services.period_following(period=period)


def _windows_close(windows: Iterable[WindowInput], *, period_id: UUID, at: datetime) -> None:
    late_usage.usage_windows_close(windows=windows, source_type=BillingPeriod.entity_type(), source_id=period_id, at=at)


def _windows_unbilled(period: BillingPeriod) -> Iterator[WindowInput]:
    snapshot = metering_selectors.snapshot_now()
    for meter in closing_times.meters_of(period):
        yield WindowInput(
            customer_id=period.subscription.customer_id,
            subscription_id=period.subscription_id,
            meter_id=meter.id,
            starts_at=period.starts_at,
            ends_at=period.ends_at,
            snapshot=snapshot,
        )


def _context(
    subscription: Subscription,
    period: BillingPeriod,
    kind: InvoiceKind,
    entity: BillingEntity,
    *,
    finalize_after_at: datetime,
) -> DraftContext:
    return DraftContext(
        entity=entity,
        customer=subscription.customer,
        subscription=subscription,
        billing_period=period,
        kind=kind,
        finalize_after_at=finalize_after_at,
    )
