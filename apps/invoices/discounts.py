"""Which uses of discounts documents take: looked up under a lock when drafting, recorded with the document."""

from collections.abc import Iterable
from datetime import datetime
from itertools import count
from uuid import UUID

from django.db.models import Count, QuerySet

from apps.common import locks
from apps.common.db import unit_of_work
from apps.engine.discounts import DiscountTerms
from apps.engine.draft_values import InvoiceDraft
from apps.invoices.errors import DiscountUsedUp
from apps.invoices.models import Invoice, InvoiceDiscount, InvoiceKind, InvoiceStatus
from apps.subscriptions import discounts as subscription_discounts
from apps.subscriptions.models import BillingPeriod, Subscription
from apps.subscriptions.special_terms import AppliedDiscount


@unit_of_work
def discounts_for(
    *, subscription: Subscription, period: BillingPeriod, kind: InvoiceKind, billed_at: datetime
) -> tuple[DiscountTerms, ...]:
    """
    Return the discounts that may take something from a period's document: in force when it is billed, and not used up.

    They stay locked until the unit of work ends, so that of two documents drafted at once the second waits and sees
    which uses the first one took. The use that the draft of this very document has does not stand in its own way.

    :param billed_at: when the document falls due to be made: the end of a period closed, the start of one begun
    """
    in_force = subscription_discounts.discounts_in_force(subscription=subscription, billed_at=billed_at)
    locked = locks.get_many_for_update(AppliedDiscount, in_force.values_list("id", flat=True))
    elsewhere = InvoiceDiscount.objects.exclude(
        invoice__billing_period=period, invoice__kind=kind, invoice__status=InvoiceStatus.DRAFT
    )
    return tuple(
        subscription_discounts.discount_terms(discount)
        for discount in locked
        if _free_use(discount, elsewhere.filter(applied_discount=discount)) is not None
    )


def uses_record(*, invoice: Invoice, draft: InvoiceDraft) -> None:
    """
    Write what each discount took from a draft and give it the first use that is free.

    :raises DiscountUsedUp: if another document took the last use meanwhile
    """
    ids = [AppliedDiscount.id_from_public(applied.terms.id) for applied in draft.discounts]
    locked = {discount.id: discount for discount in locks.get_many_for_update(AppliedDiscount, ids)}
    for position, (discount_id, applied) in enumerate(zip(ids, draft.discounts, strict=True), start=1):
        discount = locked[discount_id]
        use_number = _free_use(discount, InvoiceDiscount.objects.filter(applied_discount=discount))
        if use_number is None:
            raise DiscountUsedUp(
                f"Discount '{discount}' of {invoice.customer} was used {discount.uses_max} times, as often as it may "
                "be. Draft the document again; it is then made without it."
            )
        InvoiceDiscount.objects.create(
            invoice=invoice,
            applied_discount=discount,
            position=position,
            code=applied.terms.code,
            name=applied.terms.name,
            amount_minor=applied.amount_minor,
            use_number=use_number,
            uses_max=discount.uses_max,
        )


def uses_taken(*, discount_ids: Iterable[UUID]) -> dict[UUID, int]:
    """Return how many uses of each discount living documents have; a discount without any is left out."""
    taken = InvoiceDiscount.objects.filter(applied_discount_id__in=list(discount_ids), is_counted=True)
    return dict(taken.values_list("applied_discount_id").annotate(Count("id")).order_by())


def _free_use(discount: AppliedDiscount, rows: QuerySet[InvoiceDiscount]) -> int | None:
    """Return the lowest use that no living document has, or None when all are taken."""
    taken = set(rows.filter(is_counted=True).values_list("use_number", flat=True))
    use_number = next(number for number in count(1) if number not in taken)
    is_left = discount.uses_max is None or use_number <= discount.uses_max
    return use_number if is_left else None
