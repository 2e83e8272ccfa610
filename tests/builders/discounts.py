"""Reach coupons, discounts and prices of one's own through the services."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from apps.common import ids
from apps.common.actors import OPERATOR, Actor, ActorKind
from apps.customers.models import Customer
from apps.plans import coupons
from apps.plans.models import Coupon
from apps.subscriptions import discounts
from apps.subscriptions.models import Subscription
from apps.subscriptions.special_terms import AppliedDiscount
from tests.builders.subscriptions import START

SELLER = Actor(kind=ActorKind.USER, id=ids.new_id(), label="seller@example.com")
APPROVER = Actor(kind=ActorKind.USER, id=ids.new_id(), label="approver@example.com")


def coupon_input(**overrides: Any) -> coupons.CouponInput:
    """Return a tenth off everything, once, unless told otherwise; `amount_minor` makes it a fixed one in US dollars."""
    terms: dict[str, Any] = {"code": "WELCOME", "name": "Welcome", "duration": "once"}
    if "amount_minor" in overrides:
        terms |= {"kind": "fixed", "currency": "USD"}
    else:
        terms |= {"kind": "percent", "percent": Decimal(10)}
    return coupons.CouponInput(**(terms | overrides))


def coupon(*, at: datetime = START, **overrides: Any) -> Coupon:
    """Offer a coupon."""
    return coupons.coupon_create(data=coupon_input(**overrides), actor=OPERATOR, at=at)


def discount(
    *,
    customer: Customer,
    coupon: Coupon,
    subscription: Subscription | None = None,
    applied_at: datetime = START,
    at: datetime = START,
) -> AppliedDiscount:
    """Redeem a coupon for a customer, or for one of its subscriptions."""
    return discounts.discount_apply(
        customer=customer, subscription=subscription, coupon=coupon, applied_at=applied_at, actor=OPERATOR, at=at
    )
