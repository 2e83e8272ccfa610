"""Buttons of coupons, discounts and prices of one's own. At each customer's own time."""

from datetime import datetime

from apps.backoffice.buttons.base import Button, Outcome, Press
from apps.backoffice.buttons.forms import ReasonForm
from apps.customers import selectors as customer_selectors
from apps.customers.models import Customer
from apps.plans import coupons
from apps.plans.models import Coupon
from apps.subscriptions import discounts, overrides
from apps.subscriptions.special_terms import AppliedDiscount, PriceOverride


def _time_of(customer: Customer, press: Press) -> datetime:
    return customer_selectors.customer_now(customer=customer, at=press.wall_at)


def _approve(press: Press) -> Outcome:
    override = overrides.price_override_approve(
        override_id=press.record.id,
        comment=press.data["comment"],
        actor=press.actor,
        at=_time_of(press.record.subscription.customer, press),
    )
    return Outcome(message="The price counts for what is billed from now on.", record=override)


def _reject(press: Press) -> Outcome:
    override = overrides.price_override_reject(
        override_id=press.record.id,
        comment=press.data["comment"],
        actor=press.actor,
        at=_time_of(press.record.subscription.customer, press),
    )
    return Outcome(message="The price stays as the plan has it.", record=override)


def _end_override(press: Press) -> Outcome:
    override = overrides.price_override_end(
        override_id=press.record.id, actor=press.actor, at=_time_of(press.record.subscription.customer, press)
    )
    return Outcome(message="The plan's price counts for what is billed from now on.", record=override)


def _end_discount(press: Press) -> Outcome:
    discount = discounts.discount_end(
        discount_id=press.record.id, actor=press.actor, at=_time_of(press.record.customer, press)
    )
    return Outcome(message="The discount takes nothing from what is billed from now on.", record=discount)


def _withdraw(press: Press) -> Outcome:
    coupon = coupons.coupon_withdraw(coupon_id=press.record.id, actor=press.actor, at=press.wall_at)
    return Outcome(message=f"Coupon {coupon.code} can be redeemed no more.", record=coupon)


def _price_of(override: PriceOverride) -> str:
    customer = override.subscription.customer
    return f"Price of {override.charge_code} for {customer}, asked for by {override.requested_by_name}"


def _is_undecided(override: PriceOverride) -> bool:
    return override.is_approved is None


BUTTONS = (
    Button(
        name="price-approve",
        title="Approve",
        effect="The agreed price is billed from the next document on, instead of the plan's. A price agreed before for "
        "the same charge ends. Who asked for it cannot approve it.",
        permission="corrections.approve",
        model=PriceOverride,
        subject=_price_of,
        run=_approve,
        is_offered=_is_undecided,
        form_class=ReasonForm,
    ),
    Button(
        name="price-reject",
        title="Reject",
        effect="The price stays as the plan has it. Who asked for another one cannot decide this.",
        permission="corrections.approve",
        model=PriceOverride,
        subject=_price_of,
        run=_reject,
        is_offered=_is_undecided,
        form_class=ReasonForm,
    ),
    Button(
        name="price-end",
        title="End",
        effect="Documents billed from now on have the plan's price again. What was billed stays as it is.",
        permission="corrections.approve",
        model=PriceOverride,
        subject=_price_of,
        run=_end_override,
        is_offered=lambda override: bool(override.is_approved) and override.ended_at is None,
        is_grave=True,
    ),
    Button(
        name="discount-end",
        title="End",
        effect="The discount takes nothing from what is billed from now on. What it took stays.",
        permission="customers.write",
        model=AppliedDiscount,
        subject=lambda discount: f"Discount {discount} of {discount.customer}",
        run=_end_discount,
        is_offered=lambda discount: discount.ended_at is None,
        is_grave=True,
    ),
    Button(
        name="coupon-withdraw",
        title="Withdraw",
        effect="Nobody can redeem the coupon any more. Customers who have it keep their discount.",
        permission="catalog.write",
        model=Coupon,
        subject=lambda coupon: f"Coupon {coupon}",
        run=_withdraw,
        is_offered=lambda coupon: coupon.withdrawn_at is None,
        is_grave=True,
    ),
)
