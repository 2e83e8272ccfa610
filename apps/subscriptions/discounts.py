"""Redeem coupons for customers, end what was redeemed, and say which discounts a document may have."""

from datetime import datetime
from uuid import UUID

from django.db.models import Q, QuerySet

from apps.audit import services as audit_services
from apps.common import ids, locks
from apps.common.actors import Actor
from apps.common.db import unit_of_work
from apps.customers.models import Customer
from apps.engine.discounts import DiscountKind, DiscountTerms
from apps.engine.hashing import instant_text
from apps.plans import coupons
from apps.plans.models import Coupon
from apps.subscriptions.errors import DiscountEnded, DiscountExists, DiscountInvalid, DiscountUnknown
from apps.subscriptions.models import Subscription
from apps.subscriptions.special_terms import AppliedDiscount


@unit_of_work
def discount_apply(
    *,
    customer: Customer,
    subscription: Subscription | None,
    coupon: Coupon,
    applied_at: datetime,
    actor: Actor,
    at: datetime,
) -> AppliedDiscount:
    """
    Redeem a coupon: the customer, or one of its subscriptions, has the discount from `applied_at` on.

    The redemption is counted in the same transaction; the terms are copied, so that nothing said later changes them.

    :raises DiscountInvalid: if the subscription is another customer's, or the amount is in another currency
    :raises DiscountExists: if the customer or the subscription has this coupon already
    :raises CouponNotRedeemable: if it is withdrawn, too old or redeemed as often as it may be
    """
    if subscription is not None and subscription.customer_id != customer.id:
        raise DiscountInvalid(f"Subscription {subscription.public_id} is another customer's; name one of {customer}.")
    if coupon.currency and coupon.currency != customer.currency:
        raise DiscountInvalid(
            f"Coupon '{coupon}' takes an amount in {coupon.currency}, {customer} is billed in {customer.currency}. "
            "Use a coupon in percent or in that currency."
        )
    # Counted first: its row orders those who redeem at once, and so the question after it sees what it asks about.
    coupons.coupon_redemption_count(coupon=coupon, at=at)
    if AppliedDiscount.objects.filter(
        customer=customer, subscription=subscription, coupon=coupon, ended_at__isnull=True
    ).exists():
        raise DiscountExists(f"{customer} has coupon '{coupon}' already; end that discount first.")
    discount = AppliedDiscount.objects.create(
        customer=customer,
        subscription=subscription,
        coupon=coupon,
        code=coupon.code,
        name=coupon.name,
        kind=coupon.kind,
        amount_minor=coupon.amount_minor,
        currency=coupon.currency,
        percent=coupon.percent,
        charge_codes=coupon.charge_codes,
        plan_codes=coupon.plan_codes,
        uses_max=coupon.uses_max,
        applied_at=applied_at,
    )
    audit_services.entry_write(
        entity=discount,
        action="create",
        actor=actor,
        at=at,
        before={},
        after={
            "customer": customer.public_id,
            "subscription": None if subscription is None else subscription.public_id,
            "coupon": coupon.code,
            "applied_at": instant_text(applied_at),
        },
    )
    return discount


@unit_of_work
def discount_end(*, discount_id: UUID, actor: Actor, at: datetime) -> AppliedDiscount:
    """
    Let a discount take nothing from documents billed from now on; what it took stays.

    :raises DiscountEnded: if it was ended before
    """
    discount = locks.get_for_update(AppliedDiscount, discount_id)
    if discount.ended_at is not None:
        raise DiscountEnded(f"Discount '{discount}' ended at {instant_text(discount.ended_at)}.")
    # One that was agreed for a later time ends as it begins: it never counts.
    discount.ended_at = max(at, discount.applied_at)
    discount.save(update_fields=["ended_at"])
    audit_services.entry_write(
        entity=discount,
        action="end",
        actor=actor,
        at=at,
        before={},
        after={"ended_at": instant_text(discount.ended_at)},
    )
    return discount


def discounts_queryset() -> QuerySet[AppliedDiscount]:
    """Return all discounts that customers have or had, newest first."""
    return AppliedDiscount.objects.select_related("customer", "subscription", "coupon").order_by("-id")


def discount_by_reference(*, customer: Customer, reference: str) -> AppliedDiscount:
    """
    Return the discount of a customer with this public id.

    :raises DiscountUnknown: if the customer has none such
    """
    try:
        match = Q(id=AppliedDiscount.id_from_public(reference))
    except ids.IdInvalid:
        match = Q(pk__in=[])
    discount = discounts_queryset().filter(match, customer=customer).first()
    if discount is None:
        raise DiscountUnknown(f"{customer} has no discount '{reference[:120]}'.")
    return discount


def discounts_in_force(*, subscription: Subscription, billed_at: datetime) -> QuerySet[AppliedDiscount]:
    """Return the discounts of a subscription and of its customer that count for a document billed at that instant."""
    return AppliedDiscount.objects.filter(
        Q(subscription=subscription) | Q(subscription__isnull=True),
        Q(ended_at__isnull=True) | Q(ended_at__gt=billed_at),
        customer_id=subscription.customer_id,
        applied_at__lte=billed_at,
    )


def discount_terms(discount: AppliedDiscount) -> DiscountTerms:
    """Return a discount as the engine reads it."""
    return DiscountTerms(
        id=discount.public_id,
        code=discount.code,
        name=discount.name,
        kind=DiscountKind(discount.kind),
        amount_minor=discount.amount_minor,
        currency=discount.currency or None,
        percent=discount.percent,
        charges=tuple(discount.charge_codes),
        plans=tuple(discount.plan_codes),
        applied_at=discount.applied_at,
    )
