"""Make, decide and apply differences to what issued documents billed; a document is never opened again for them."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet, Sum

from apps.audit import services as audit_services
from apps.common import ids, locks
from apps.common.actors import SCHEDULE, Actor
from apps.common.db import unit_of_work
from apps.engine.draft_values import InvoiceDraft
from apps.invoices.adjustment_models import Adjustment, AdjustmentLine, AdjustmentReason, AdjustmentStatus
from apps.invoices.errors import AdjustmentDecided, AdjustmentInvalid, AdjustmentNeedsAnother, AdjustmentUnknown
from apps.invoices.inputs import AdjustmentInput
from apps.invoices.models import Invoice, InvoiceKind, InvoiceStatus
from apps.lifecycle.services import transition_apply
from apps.messaging import services as messaging_services
from apps.subscriptions.models import BillingPeriod, BillingPeriodStatus

# What re-rating a period has settled. Late usage that was rejected is settled, too, by the decision not to bill it; a
# price that was rejected never held.
_SETTLED = Q(
    adjustment__reason_code=AdjustmentReason.LATE_USAGE,
    adjustment__status__in=(
        AdjustmentStatus.PENDING_APPROVAL,
        AdjustmentStatus.APPROVED,
        AdjustmentStatus.APPLIED,
        AdjustmentStatus.REJECTED,
    ),
) | Q(
    adjustment__reason_code=AdjustmentReason.PRICING_RULE,
    adjustment__status__in=(
        AdjustmentStatus.PENDING_APPROVAL,
        AdjustmentStatus.APPROVED,
        AdjustmentStatus.APPLIED,
    ),
)


@unit_of_work
def adjustment_make(*, data: AdjustmentInput, actor: Actor, at: datetime) -> Adjustment:
    """
    Write a difference down; it waits for approval.

    :raises AdjustmentInvalid: if it has no line, or a line without a difference
    """
    if not data.lines or any(not line.amount_minor for line in data.lines):
        raise AdjustmentInvalid("An adjustment needs at least one line, and each line an amount other than zero.")
    adjustment = Adjustment.objects.create(
        customer=data.customer,
        subscription=data.subscription,
        billing_period=data.billing_period,
        plan_version=data.plan_version,
        currency=data.currency,
        amount_minor=sum(line.amount_minor for line in data.lines),
        reason_code=data.reason,
        comment=data.comment[:500],
        is_alone=data.is_alone,
        made_by=_identity(actor),
        made_by_name=actor.label[:200],
        made_at=at,
    )
    AdjustmentLine.objects.bulk_create(
        AdjustmentLine(
            adjustment=adjustment,
            position=position,
            code=line.code,
            kind=line.kind,
            description=line.description[:200],
            quantity=line.quantity,
            unit_name=line.unit_name,
            service_starts_at=line.service_starts_at,
            service_ends_at=line.service_ends_at,
            amount_minor=line.amount_minor,
            tax=None if line.tax is None else dict(line.tax),
            before=dict(line.before),
            after=dict(line.after),
        )
        for position, line in enumerate(data.lines, start=1)
    )
    facts = {"amount_minor": adjustment.amount_minor, "currency": data.currency, "reason": str(data.reason)}
    audit_services.entry_write(
        entity=adjustment, action="make", actor=actor, at=at, before={}, after=facts, comment=data.comment[:500]
    )
    messaging_services.event_publish(
        topic="invoices.adjustment.made",
        aggregate_type=Adjustment.entity_type(),
        aggregate_id=adjustment.id,
        payload={"id": adjustment.public_id, "customer": data.customer.public_id, **facts},
        actor=actor,
        at=at,
    )
    return adjustment


@unit_of_work
def adjustment_approve(*, adjustment_id: UUID, comment: str, actor: Actor, at: datetime) -> Adjustment:
    """
    Let a difference become lines of the customer's next document.

    :raises AdjustmentDecided: if it was decided before
    :raises AdjustmentNeedsAnother: if who made it would decide it
    """
    adjustment = _undecided(adjustment_id, actor)
    return _decide(adjustment, action="approve", comment=comment, actor=actor, at=at)


@unit_of_work
def adjustment_approve_by_rule(*, adjustment_id: UUID, comment: str, at: datetime) -> Adjustment:
    """
    Approve what is within the tenant's bound, in the name of the house.

    :raises AdjustmentDecided: if it was decided before
    """
    return _decide(_pending(adjustment_id), action="approve", comment=comment, actor=SCHEDULE, at=at)


@unit_of_work
def adjustment_reject(*, adjustment_id: UUID, comment: str, actor: Actor, at: datetime) -> Adjustment:
    """
    Decide that a difference is neither billed nor given back, and that it is not asked for again.

    :raises AdjustmentDecided: if it was decided before
    :raises AdjustmentNeedsAnother: if who made it would decide it
    """
    adjustment = _undecided(adjustment_id, actor)
    return _decide(adjustment, action="reject", comment=comment, actor=actor, at=at)


@unit_of_work
def adjustments_supersede(*, period_id: UUID, actor: Actor, at: datetime) -> list[UUID]:
    """Cancel what late usage of a period waits for a decision: what is made next has it inside. Return the ids."""
    waiting = Adjustment.objects.filter(
        billing_period_id=period_id,
        status=AdjustmentStatus.PENDING_APPROVAL,
        reason_code=AdjustmentReason.LATE_USAGE,
    )
    superseded = locks.get_many_for_update(Adjustment, waiting.values_list("id", flat=True))
    for adjustment in superseded:
        reason = ("superseded", "More usage came; a later adjustment has it inside.")
        transition_apply(instance=adjustment, action="cancel", actor=actor, at=at, reason=reason)
    return [adjustment.id for adjustment in superseded]


def adjustments_attach(*, invoice: Invoice, draft: InvoiceDraft) -> None:
    """Note which adjustments stand on a draft, so that no other document takes them; free those that do no longer."""
    wanted = {str(line.decision["adjusts"]["id"]) for line in draft.lines if "adjusts" in line.decision}
    wanted_ids = {Adjustment.id_from_public(reference) for reference in wanted}
    concerned = Adjustment.objects.filter(Q(id__in=wanted_ids) | Q(invoice=invoice), status=AdjustmentStatus.APPROVED)
    for adjustment in locks.get_many_for_update(Adjustment, concerned.values_list("id", flat=True)):
        target = invoice if adjustment.id in wanted_ids else None
        if adjustment.invoice_id != (target.id if target else None):
            adjustment.invoice = target
            adjustment.save(update_fields=["invoice"])


def adjustments_apply(*, invoice: Invoice, actor: Actor, at: datetime) -> None:
    """Record that the adjustments of a document are final with it."""
    attached = Adjustment.objects.filter(invoice=invoice, status=AdjustmentStatus.APPROVED)
    for adjustment in locks.get_many_for_update(Adjustment, attached.values_list("id", flat=True)):
        transition_apply(
            instance=adjustment,
            action="apply",
            actor=actor,
            at=at,
            topic="invoices.adjustment.applied",
            payload={"invoice": invoice.public_id},
        )


@unit_of_work
def adjustments_give_back(*, invoice: Invoice, actor: Actor, at: datetime) -> int:
    """Let the adjustments of a voided document wait for the next one; a discarded draft frees its own by itself."""
    applied = Adjustment.objects.filter(invoice=invoice, status=AdjustmentStatus.APPLIED)
    locked = locks.get_many_for_update(Adjustment, applied.values_list("id", flat=True))
    for adjustment in locked:
        adjustment.invoice, adjustment.applied_at = None, None
        transition_apply(
            instance=adjustment, action="give_back", actor=actor, at=at, save_fields=("invoice", "applied_at")
        )
    return len(locked)


@unit_of_work
def adjustment_lines_waiting(*, customer_id: UUID, currency: str, draft_id: UUID | None) -> list[AdjustmentLine]:
    """
    Return the lines that a customer's next document in a currency takes in, those that its draft has among them.

    The adjustments stay locked until the unit of work ends: two drafts made at once must not both take them.
    """
    waiting = Adjustment.objects.filter(
        Q(invoice__isnull=True) | Q(invoice_id=draft_id),
        customer_id=customer_id,
        currency=currency,
        status=AdjustmentStatus.APPROVED,
        is_alone=False,
    )
    locked = locks.get_many_for_update(Adjustment, waiting.values_list("id", flat=True))
    free = [
        each.id for each in locked if each.status == AdjustmentStatus.APPROVED and each.invoice_id in (None, draft_id)
    ]
    return lines_of(adjustment_ids=free)


def lines_of(*, adjustment_ids: Iterable[UUID]) -> list[AdjustmentLine]:
    """Return the lines of adjustments, in the order in which they were made."""
    lines = AdjustmentLine.objects.filter(adjustment_id__in=list(adjustment_ids))
    return list(lines.select_related("adjustment__billing_period").order_by("adjustment_id", "position"))


def line_of(*, reference: str) -> AdjustmentLine:
    """Return the line with this public id, with its adjustment; documents name it, so it is there."""
    return AdjustmentLine.objects.select_related("adjustment").get(id=AdjustmentLine.id_from_public(reference))


def settled_lines(*, period_id: UUID) -> list[AdjustmentLine]:
    """Return the lines by which re-rating a period has settled something, oldest first."""
    lines = AdjustmentLine.objects.filter(_SETTLED, adjustment__billing_period_id=period_id)
    return list(lines.order_by("adjustment_id", "position"))


def waived_minor(*, period_id: UUID) -> int:
    """Return what late usage of a period came to that was decided not to be billed, or given back, in minor units."""
    waived = Adjustment.objects.filter(
        billing_period_id=period_id, reason_code=AdjustmentReason.LATE_USAGE, status=AdjustmentStatus.REJECTED
    )
    return int(waived.aggregate(total=Sum("amount_minor"))["total"] or 0)


def price_waiting(*, period_id: UUID) -> Adjustment | None:
    """Return the adjustment by which other terms for a period wait for a decision, if there is one."""
    return Adjustment.objects.filter(
        billing_period_id=period_id,
        status=AdjustmentStatus.PENDING_APPROVAL,
        reason_code=AdjustmentReason.PRICING_RULE,
    ).first()


def rerated_last(*, period_id: UUID) -> Adjustment | None:
    """Return the newest adjustment that settled a period by other terms than those agreed then, if there is one."""
    priced = Adjustment.objects.filter(billing_period_id=period_id, plan_version__isnull=False)
    return priced.exclude(status__in=(AdjustmentStatus.CANCELED, AdjustmentStatus.REJECTED)).order_by("-id").first()


def adjustments_queryset() -> QuerySet[Adjustment]:
    """Return all adjustments with what lists show, newest first."""
    return Adjustment.objects.select_related("customer", "invoice", "billing_period").order_by("-id")


def adjustments_unplaced(*, limit: int) -> list[Adjustment]:
    """
    Return approved adjustments that no further document takes up, those that want one of their own first.

    A further document is of a period that is not closed, or a draft. What comes to nothing only ever joins another.
    """
    same = {"customer_id": OuterRef("customer_id"), "currency": OuterRef("currency")}
    drafts = Invoice.objects.filter(**same, kind=InvoiceKind.CYCLE, status=InvoiceStatus.DRAFT)
    ahead = BillingPeriod.objects.filter(
        subscription__customer_id=OuterRef("customer_id"), plan_version__currency=OuterRef("currency")
    ).exclude(status=BillingPeriodStatus.CLOSED)
    waiting = Adjustment.objects.filter(
        Q(is_alone=True) | (~Q(amount_minor=0) & ~Exists(ahead) & ~Exists(drafts)),
        status=AdjustmentStatus.APPROVED,
        invoice__isnull=True,
    )
    return list(waiting.select_related("customer__test_clock").order_by("-is_alone", "decided_at", "id")[:limit])


def adjustment_by_reference(reference: str) -> Adjustment:
    """
    Return the adjustment with this public id.

    :raises AdjustmentUnknown: if there is none
    """
    try:
        adjustment = adjustments_queryset().filter(id=Adjustment.id_from_public(reference)).first()
    except ids.IdInvalid:
        adjustment = None
    if adjustment is None:
        raise AdjustmentUnknown(f"There is no adjustment '{reference[:60]}'.")
    return adjustment


def _pending(adjustment_id: UUID) -> Adjustment:
    adjustment = locks.get_for_update(Adjustment, adjustment_id)
    if adjustment.status != AdjustmentStatus.PENDING_APPROVAL:
        raise AdjustmentDecided(f"Adjustment {adjustment.public_id} is {adjustment.status}; it was decided before.")
    return adjustment


def _undecided(adjustment_id: UUID, actor: Actor) -> Adjustment:
    adjustment = _pending(adjustment_id)
    if adjustment.made_by == _identity(actor):
        raise AdjustmentNeedsAnother(
            f"{adjustment.made_by_name} made adjustment {adjustment.public_id}; somebody else must decide it."
        )
    return adjustment


def _decide(adjustment: Adjustment, *, action: str, comment: str, actor: Actor, at: datetime) -> Adjustment:
    adjustment.decided_by, adjustment.decided_by_name = _identity(actor), actor.label[:200]
    adjustment.decision_comment = comment[:500]
    transition_apply(
        instance=adjustment,
        action=action,
        actor=actor,
        at=at,
        topic=f"invoices.adjustment.{'approved' if action == 'approve' else 'rejected'}",
        payload={"amount_minor": adjustment.amount_minor, "currency": adjustment.currency},
        save_fields=("decided_by", "decided_by_name", "decision_comment"),
        reason=("", comment[:500]),
    )
    return adjustment


def _identity(actor: Actor) -> str:
    return f"{actor.kind.value}:{actor.id or ''}"
