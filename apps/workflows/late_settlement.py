"""Settle late usage, period by period: rate again, and let the policy say how the difference is billed.

One transaction per period: the difference, the windows that are accounted for by it, and what became of each batch in
the inbox. What cannot be settled stays in the inbox with the reason; nothing is dropped.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from celery.exceptions import SoftTimeLimitExceeded

from apps.common import locks
from apps.common.actors import SCHEDULE, Actor
from apps.common.db import rolled_back, unit_of_work
from apps.common.errors import DomainError
from apps.customers import selectors as customer_selectors
from apps.engine.errors import EngineError
from apps.engine.exact import Rounding
from apps.engine.late_usage import DocumentState, Place, Policy, is_approved_by_rule, place_in_period
from apps.engine.money import round_to_minor
from apps.invoices import adjustments
from apps.invoices import selectors as invoice_selectors
from apps.invoices.adjustment_models import Adjustment, AdjustmentReason
from apps.invoices.errors import AdjustmentInvalid
from apps.invoices.inputs import AdjustmentInput
from apps.invoices.models import InvoiceKind, InvoiceStatus
from apps.metering import late_usage
from apps.metering.late_usage import LatePolicyInput
from apps.metering.models import LateUsage, LateUsagePolicy
from apps.plans.models import PlanVersion
from apps.subscriptions.models import BillingPeriod, BillingPeriodKind, Subscription
from apps.workflows import adjusting, closing_times, rerating
from apps.workflows.errors import ReratingRefused

log = structlog.get_logger(__name__)

PERIODS_MAX = 500
_WAIVED_BEFORE = "Late usage of this period was waived, and this goes the other way: see what of it was ever billed."


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What became of the late usage of a period."""

    period: BillingPeriod
    place: Place
    sentence: str
    adjustment: Adjustment | None = None


@unit_of_work
def late_usage_settle(*, period_id: UUID, actor: Actor, at: datetime) -> Settlement:
    """
    Rate a period again and settle what came late for it, as the policy says.

    :raises ReratingRefused: if it cannot be rated again, or other terms for it wait for a decision
    """
    period, waiting, at = _held(period_id, at)
    place = _place(period, waiting)
    if place is Place.NOTHING_DUE:
        late_usage.usage_windows_move(source_id=period.id, snapshots={}, waiting=waiting)
        sentence = "Its period bills no usage: it falls into a trial or a pause."
        return _nothing_due(period, waiting, place=place, sentence=sentence, actor=actor, at=at)
    if place in (Place.DRAFT, Place.OWN_PERIOD):
        sentence = "It is on the document that its period will have."
        return _nothing_due(period, waiting, place=place, sentence=sentence, actor=actor, at=at)
    _ensure_price_decided(period)
    rated = rerating.period_rerate(period=period)
    _estimate_set(waiting, rated, at=at)
    superseded = adjustments.adjustments_supersede(period_id=period.id, actor=actor, at=at)
    if superseded:
        rated = rerating.period_rerate(period=period)
    if not rated.differences:
        late_usage.usage_windows_move(source_id=period.id, snapshots=rated.snapshots, waiting=waiting)
        sentence = "The period comes to the same amounts with it."
        return _nothing_due(period, waiting, place=place, sentence=sentence, actor=actor, at=at)
    policies = _policies(period, waiting)
    # A document that asks for nothing would only be a sheet of paper.
    is_alone = place is Place.OWN_DOCUMENT and rated.amount_minor != 0
    # What was never paid may be a part of it: nobody gives that back, or bills it anew, by rule.
    undoes_waived = adjustments.waived_minor(period_id=period.id) * rated.amount_minor < 0
    adjustment = _adjustment_of(
        rated,
        reason=AdjustmentReason.LATE_USAGE,
        is_alone=is_alone,
        actor=actor,
        at=at,
        comment=_WAIVED_BEFORE if undoes_waived else "",
    )
    bound = min(policy.approved_up_to for policy in policies)
    bound_minor = round_to_minor(bound, currency=rated.invoice.currency, rounding=Rounding.FLOOR)
    if is_approved_by_rule(amount_minor=rated.amount_minor, bound_minor=bound_minor) and not undoes_waived:
        comment = "Within the amount that is approved by rule."
        adjustment = adjustments.adjustment_approve_by_rule(adjustment_id=adjustment.id, comment=comment, at=at)
        if is_alone:
            adjusting.adjustment_bill_alone(adjustment_id=adjustment.id, actor=actor, at=at)
    if superseded:
        late_usage.late_usage_point(from_adjustments=superseded, to_adjustment=adjustment.id)
    late_usage.usage_windows_move(source_id=period.id, snapshots=rated.snapshots, waiting=waiting)
    sentence = _sentence(adjustment)
    _resolve(waiting, action="adjust", sentence=sentence, adjustment=adjustment, actor=actor, at=at)
    return Settlement(period=period, place=place, sentence=sentence, adjustment=adjustment)


@unit_of_work
def late_usage_waive(*, period_id: UUID, comment: str, actor: Actor, at: datetime) -> Settlement:
    """
    Decide not to bill what came late for a period, up to now; what was given up is kept with the reason.

    :raises AdjustmentInvalid: if no reason is given
    :raises ReratingRefused: if other terms for it wait for a decision, so that nobody can say what is given up
    """
    if not comment.strip():
        raise AdjustmentInvalid("Say why it is not billed; the reason stays with it.")
    period, waiting, at = _held(period_id, at)
    _ensure_price_decided(period)
    adjustment = None
    try:
        rated = rerating.period_rerate(period=period)
    except ReratingRefused:
        # Nobody can say what it would have come to; it is given up all the same.
        rated = None
        late_usage.usage_windows_move(source_id=period.id, snapshots={}, waiting=waiting)
    if rated is not None:
        _estimate_set(waiting, rated, at=at)
        if rated.differences:
            adjustment = _adjustment_of(
                rated, reason=AdjustmentReason.LATE_USAGE, is_alone=False, actor=SCHEDULE, at=at
            )
            adjustments.adjustment_reject(adjustment_id=adjustment.id, comment=comment, actor=actor, at=at)
        late_usage.usage_windows_move(source_id=period.id, snapshots=rated.snapshots, waiting=waiting)
    sentence = f"Waived by {actor.label}: {comment}"
    _resolve(waiting, action="waive", sentence=sentence, adjustment=adjustment, actor=actor, at=at)
    return Settlement(period=period, place=Place.ADJUSTMENT, sentence=sentence, adjustment=adjustment)


@unit_of_work
def adjustment_approve(*, adjustment_id: UUID, comment: str, actor: Actor, at: datetime) -> Adjustment:
    """
    Let a difference be billed: with the customer's next document, or at once where the policy says so.

    :raises AdjustmentDecided: if it was decided before
    :raises AdjustmentNeedsAnother: if who made it would decide it
    """
    at = _customer_time(adjustment_id, at)
    adjustment = adjustments.adjustment_approve(adjustment_id=adjustment_id, comment=comment, actor=actor, at=at)
    if adjustment.is_alone:
        adjusting.adjustment_bill_alone(adjustment_id=adjustment.id, actor=actor, at=at)
    return adjustment


@unit_of_work
def adjustment_reject(*, adjustment_id: UUID, comment: str, actor: Actor, at: datetime) -> Adjustment:
    """
    Decide against a difference; the late usage behind it is waived with the reason.

    Against another price nothing is said of the usage: what came late for the period is owed as it was priced then.

    :raises AdjustmentDecided: if it was decided before
    :raises AdjustmentNeedsAnother: if who made it would decide it
    :raises ReratingRefused: if it was another price, and the period cannot be rated as it was priced then
    """
    at = _customer_time(adjustment_id, at)
    adjustment = adjustments.adjustment_reject(adjustment_id=adjustment_id, comment=comment, actor=actor, at=at)
    if adjustment.reason_code == AdjustmentReason.LATE_USAGE:
        waived, sentence = (
            late_usage.late_usage_of(adjustment_id=adjustment.id),
            f"Rejected by {actor.label}: {comment}",
        )
        _resolve(waived, action="waive", sentence=sentence, adjustment=adjustment, actor=actor, at=at)
    if adjustment.reason_code == AdjustmentReason.PRICING_RULE and adjustment.billing_period_id is not None:
        settled = late_usage_settle(period_id=adjustment.billing_period_id, actor=SCHEDULE, at=at).adjustment
        if settled is not None:
            late_usage.late_usage_point(from_adjustments=[adjustment.id], to_adjustment=settled.id)
    return adjustment


def _customer_time(adjustment_id: UUID, at: datetime) -> datetime:
    adjustment = Adjustment.objects.select_related("customer__test_clock").get(id=adjustment_id)
    return customer_selectors.customer_now(customer=adjustment.customer, at=at)


@unit_of_work
def period_reprice(
    *, period_id: UUID, version: PlanVersion, comment: str, actor: Actor, at: datetime
) -> rerating.Rerating:
    """
    Rate a billed period by the plan version that should have priced it; the difference waits for another's approval.

    Late usage of the period is priced by that version, too, from then on. Documents stay as they are.

    :raises ReratingRefused: if it cannot be rated by that version, comes to the same, or waits for such a decision
    :raises AdjustmentInvalid: if no reason is given
    """
    if not comment.strip():
        raise AdjustmentInvalid("Say what was wrong with the price; who approves reads it.")
    period, waiting, at = _held(period_id, at)
    _ensure_price_decided(period)
    own = period.plan_version
    if (version.currency, version.plan_id) != (own.currency, own.plan_id):
        raise ReratingRefused(
            f"{version} is another plan or currency than {own}; name a version of the plan that the period was on."
        )
    superseded = adjustments.adjustments_supersede(period_id=period.id, actor=actor, at=at)
    rated = rerating.period_rerate(period=period, version=version)
    if not rated.differences:
        raise ReratingRefused(f"By {version} the period comes to what was billed; there is nothing to adjust.")
    adjustment = _adjustment_of(
        rated, reason=AdjustmentReason.PRICING_RULE, is_alone=False, actor=actor, at=at, comment=comment
    )
    if superseded:
        late_usage.late_usage_point(from_adjustments=superseded, to_adjustment=adjustment.id)
    # What its other meters have is billed now, so what comes later of them is late.
    late_usage.usage_windows_close(
        windows=rated.windows(), source_type=BillingPeriod.entity_type(), source_id=period.id, at=at
    )
    late_usage.usage_windows_move(source_id=period.id, snapshots=rated.snapshots, waiting=waiting)
    _estimate_set(waiting, rated, at=at)
    _resolve(waiting, action="adjust", sentence=_sentence(adjustment), adjustment=adjustment, actor=actor, at=at)
    return rated


def period_reprice_preview(*, period_id: UUID, version: PlanVersion, actor: Actor, at: datetime) -> rerating.Rerating:
    """
    Return what re-rating a period by a version would make, by doing it and undoing it.

    :raises ReratingRefused: as the real one does
    """
    with rolled_back():
        return period_reprice(period_id=period_id, version=version, comment="preview", actor=actor, at=at)


def late_usage_settle_due(*, at: datetime, period_ids: list[UUID] | None = None) -> int:
    """Settle or estimate all that waits, each period in a transaction of its own; return how many were settled."""
    count = 0
    for period_id in late_usage.sources_open(limit=PERIODS_MAX, source_ids=period_ids):
        try:
            if _is_automatic(period_id):
                late_usage_settle(period_id=period_id, actor=SCHEDULE, at=at)
                count += 1
            else:
                late_usage_estimate(period_id=period_id, at=at)
        except (DomainError, EngineError) as error:
            _note_reason(period_id, error.detail, at=at)
        except SoftTimeLimitExceeded:
            raise
        except Exception:  # noqa: BLE001  one bad period must not hold up the others; the bug is logged in full
            log.exception("late usage not settled", period=str(period_id))
    return count


@unit_of_work
def late_usage_estimate(*, period_id: UUID, at: datetime) -> None:
    """
    Keep what settling late usage would come to: the real re-rating, of which nothing is stored.

    :raises ReratingRefused: if it cannot be rated again
    """
    period, waiting, at = _held(period_id, at)
    if _place(period, waiting) in (Place.ADJUSTMENT, Place.OWN_DOCUMENT):
        _ensure_price_decided(period)
        _estimate_set(waiting, rerating.period_rerate(period=period), at=at)
    for late in waiting:
        late_usage.late_usage_note(late=late, waits_because="The policy leaves it to a person: settle or waive it.")


def adjustments_alone_due(*, at: datetime) -> int:
    """Make documents of adjustments that no other document will take up; return how many."""
    count = 0
    wait = timedelta(hours=late_usage.policy_of_tenant().alone_after_hours)
    for adjustment in adjustments.adjustments_unplaced(limit=PERIODS_MAX):
        customer_now = customer_selectors.customer_now(customer=adjustment.customer, at=at)
        assert adjustment.decided_at is not None  # noqa: S101  approved ones have it, by constraint
        if not adjustment.is_alone and adjustment.decided_at + wait > customer_now:
            continue
        try:
            adjusting.adjustment_bill_alone(adjustment_id=adjustment.id, actor=SCHEDULE, at=customer_now)
            count += 1
        except (DomainError, EngineError) as error:
            log.warning("adjustment not billed", adjustment=adjustment.public_id, detail=error.detail)
    return count


def _held(period_id: UUID, at: datetime) -> tuple[BillingPeriod, list[LateUsage], datetime]:
    """Lock a period's subscription and late usage, and return them with the moment its customer lives at."""
    period = BillingPeriod.objects.select_related("plan_version__plan", "subscription__customer").get(id=period_id)
    locks.get_for_update(Subscription, period.subscription_id)
    waiting = late_usage.late_usage_hold(source_id=period_id)
    return period, waiting, customer_selectors.customer_now(customer=period.subscription.customer, at=at)


def _place(period: BillingPeriod, waiting: list[LateUsage]) -> Place:
    policies = _policies(period, waiting)
    policy = Policy.OWN_DOCUMENT if closing_times.is_alone(policies) else Policy.NEXT_INVOICE
    return place_in_period(document=_document_state(period), is_seen=False, policy=policy)


def _policies(period: BillingPeriod, waiting: list[LateUsage]) -> list[LateUsagePolicy | LatePolicyInput]:
    """Return the policies of the meters whose usage came late; asked for a period of which none did, of all its own."""
    meters = [late.window.meter for late in waiting] or closing_times.meters_of(period)
    return late_usage.policies_of(meters=meters) or [late_usage.policy_of_tenant()]


def _document_state(period: BillingPeriod) -> DocumentState:
    if period.kind in (BillingPeriodKind.TRIAL, BillingPeriodKind.FROZEN, BillingPeriodKind.FIXED_ONLY):
        return DocumentState.NOT_BILLED
    invoice = invoice_selectors.invoice_live_of(period_id=period.id, kind=InvoiceKind.CYCLE)
    if invoice is None:
        return DocumentState.NONE_YET
    return DocumentState.DRAFT if invoice.status == InvoiceStatus.DRAFT else DocumentState.FINAL


def _nothing_due(
    period: BillingPeriod, waiting: list[LateUsage], *, place: Place, sentence: str, actor: Actor, at: datetime
) -> Settlement:
    _resolve(waiting, action="settle", sentence=sentence, adjustment=None, actor=actor, at=at)
    return Settlement(period=period, place=place, sentence=sentence)


def _resolve(
    found: list[LateUsage], *, action: str, sentence: str, adjustment: Adjustment | None, actor: Actor, at: datetime
) -> None:
    adjustment_id = None if adjustment is None else adjustment.id
    for late in found:
        late_usage.late_usage_resolve(
            late=late, action=action, resolution=sentence, adjustment_id=adjustment_id, actor=actor, at=at
        )


def _ensure_price_decided(period: BillingPeriod) -> None:
    waiting = adjustments.price_waiting(period_id=period.id)
    if waiting is not None:
        raise ReratingRefused(
            f"Other terms for this period wait for a decision: approve or reject adjustment {waiting.public_id} first."
        )


def _adjustment_of(
    rated: rerating.Rerating,
    *,
    reason: AdjustmentReason,
    is_alone: bool,
    actor: Actor,
    at: datetime,
    comment: str = "",
) -> Adjustment:
    subscription = rated.period.subscription
    return adjustments.adjustment_make(
        data=AdjustmentInput(
            customer=subscription.customer,
            subscription=subscription,
            billing_period=rated.period,
            currency=rated.invoice.currency,
            reason=reason,
            lines=rated.differences,
            comment=comment,
            is_alone=is_alone,
            plan_version=rated.plan_version if reason is AdjustmentReason.PRICING_RULE else None,
        ),
        actor=actor,
        at=at,
    )


def _estimate_set(waiting: list[LateUsage], rated: rerating.Rerating, *, at: datetime) -> None:
    for late in waiting:
        late.quantity_before, late.quantity_after = rated.quantities.get(late.window.meter_id, (None, None))
        late.effect_minor, late.currency, late.estimated_at = rated.amount_minor, rated.invoice.currency, at


def _is_automatic(period_id: UUID) -> bool:
    found = late_usage.late_usage_queryset().filter(window__source_id=period_id, status="FOUND")
    policies = late_usage.policies_of(meters=[late.window.meter for late in found])
    return all(policy.is_settled_automatically for policy in policies)


@unit_of_work
def _note_reason(period_id: UUID, reason: str, *, at: datetime) -> None:
    _period, waiting, at = _held(period_id, at)
    for late in waiting:
        late.estimated_at = at
        late_usage.late_usage_note(late=late, waits_because=reason)


def _sentence(adjustment: Adjustment) -> str:
    if adjustment.status == "PENDING_APPROVAL":
        return f"Adjustment {adjustment.public_id} waits for approval."
    adjustment.refresh_from_db()
    if adjustment.invoice_id is not None:
        return f"Adjustment {adjustment.public_id} has a document of its own."
    return f"Adjustment {adjustment.public_id} is a line of the customer's next document."
