"""Subscribe a customer: the plan, the coupons that are redeemed with it, and the prices that are asked for."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from apps.common.actors import Actor
from apps.common.db import unit_of_work
from apps.customers import selectors as customer_selectors
from apps.customers.models import Customer
from apps.plans import coupons
from apps.subscriptions import discounts, overrides, services
from apps.subscriptions.models import AnchorKind, Subscription


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceAsked:
    """Another price for one charge, as `price_override_request` takes it, and why."""

    terms: Mapping[str, Any]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSubscription:
    """What is agreed with a new subscription; without a start it begins now."""

    plan_code: str
    starts_at: datetime | None = None
    anchor_kind: str = AnchorKind.ANNIVERSARY
    external_id: str | None = None
    quantity: Decimal = Decimal(1)
    coupon_codes: tuple[str, ...] = ()
    prices_asked: tuple[PriceAsked, ...] = ()


@unit_of_work
def subscribe(*, customer: Customer, agreed: NewSubscription, actor: Actor, at: datetime) -> Subscription:
    """
    Subscribe a customer, redeem its coupons for the subscription, and ask for its prices; all or nothing.

    Coupons count from the first document on. A price that is asked for changes nothing until somebody else approves.

    :raises DomainError: as `subscription_create`, `discount_apply` and `price_override_request` refuse
    """
    now_at = customer_selectors.customer_now(customer=customer, at=at)
    subscription = services.subscription_create(
        customer=customer,
        plan_code=agreed.plan_code,
        starts_at=agreed.starts_at or now_at,
        anchor_kind=agreed.anchor_kind,
        external_id=agreed.external_id,
        quantity=agreed.quantity,
        actor=actor,
        at=now_at,
    )
    redeemed = [coupons.coupon_by_reference(code) for code in agreed.coupon_codes]
    # One order for everybody: two who redeem the same coupons at once would wait for each other.
    for coupon in sorted(redeemed, key=lambda coupon: coupon.id):
        discounts.discount_apply(
            customer=customer,
            subscription=subscription,
            coupon=coupon,
            applied_at=min(now_at, subscription.starts_at),
            actor=actor,
            at=now_at,
        )
    for asked in agreed.prices_asked:
        overrides.price_override_request(
            subscription=subscription, terms=asked.terms, reason=asked.reason, actor=actor, at=now_at
        )
    return subscription
