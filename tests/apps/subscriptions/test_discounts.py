"""Discounts that customers have: redeemed once, with a copy of the terms, until they end."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction

from apps.common import ids
from apps.common.actors import OPERATOR
from apps.plans.errors import CouponNotRedeemable
from apps.plans.models import Coupon
from apps.subscriptions import discounts as discount_services
from apps.subscriptions.errors import DiscountEnded, DiscountExists, DiscountInvalid, DiscountUnknown
from apps.subscriptions.special_terms import AppliedDiscount
from tests import races
from tests.builders import customers, discounts, plans, subscriptions
from tests.builders.subscriptions import START

FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)


@pytest.fixture
def subscription(tenant):
    """A customer on a plan without usage."""
    plans.published_plan(code="growth", charges=[])
    return subscriptions.subscription(customer=customers.customer(), plan_code="growth")


@pytest.mark.django_db
def test_redeeming_counts_and_copies(subscription, at):
    coupon = discounts.coupon(duration="periods", periods_count=3, charge_codes=("base_fee",))
    found = discounts.discount(customer=subscription.customer, coupon=coupon, subscription=subscription, at=at)
    assert (found.code, found.percent, found.uses_max, found.charge_codes) == ("WELCOME", 10, 3, ["base_fee"])
    coupon.refresh_from_db()
    assert coupon.redemptions_count == 1
    terms = discount_services.discount_terms(AppliedDiscount.objects.get())
    assert (terms.id, terms.percent, terms.charges, terms.currency) == (
        found.public_id,
        Decimal(10),
        ("base_fee",),
        None,
    )


@pytest.mark.django_db
def test_what_cannot_be_redeemed_counts_nothing(subscription, at):
    """Refused: another's subscription, another currency, the same coupon again."""
    customer, stranger = subscription.customer, customers.customer()
    euros = discounts.coupon(code="EUROS", amount_minor=500, currency="EUR")
    coupon = discounts.coupon()
    with pytest.raises(DiscountInvalid, match="another customer's"):
        discounts.discount(customer=stranger, coupon=coupon, subscription=subscription)
    with pytest.raises(DiscountInvalid, match="in EUR, .* is billed in USD"):
        discounts.discount(customer=customer, coupon=euros)
    first = discounts.discount(customer=customer, coupon=coupon)
    with pytest.raises(DiscountExists, match="end that discount first"), transaction.atomic():
        discounts.discount(customer=customer, coupon=coupon)
    assert list(Coupon.objects.order_by("code").values_list("code", "redemptions_count")) == [
        ("EUROS", 0),
        ("WELCOME", 1),
    ]
    # For one subscription it is another discount; and once ended it may be redeemed again.
    discounts.discount(customer=customer, coupon=coupon, subscription=subscription)
    discount_services.discount_end(discount_id=first.id, actor=OPERATOR, at=at)
    discounts.discount(customer=customer, coupon=coupon)


@pytest.mark.django_db
def test_a_discount_ends_once_and_never_before_it_begins(subscription, at):
    customer = subscription.customer
    now = discounts.discount(customer=customer, coupon=discounts.coupon())
    later = discounts.discount(customer=customer, coupon=discounts.coupon(code="LATER"), applied_at=FEBRUARY)
    assert discount_services.discount_end(discount_id=now.id, actor=OPERATOR, at=at).ended_at == at
    assert discount_services.discount_end(discount_id=later.id, actor=OPERATOR, at=at).ended_at == FEBRUARY
    with pytest.raises(DiscountEnded, match="ended at 2026-01-15"):
        discount_services.discount_end(discount_id=now.id, actor=OPERATOR, at=at)
    with pytest.raises(DiscountUnknown):
        discount_services.discount_by_reference(customer=customers.customer(), reference=now.public_id)
    assert discount_services.discount_by_reference(customer=customer, reference=now.public_id) == now


@pytest.mark.django_db
def test_what_is_in_force_is_said_by_the_moment_of_billing(subscription):
    """A discount counts from `applied_at` on and before `ended_at`; a neighbour's never does."""
    customer = subscription.customer
    mine = discounts.discount(customer=customer, coupon=discounts.coupon(), applied_at=START)
    discounts.discount(customer=customers.customer(), coupon=discounts.coupon(code="THEIRS"))
    discount_services.discount_end(discount_id=mine.id, actor=OPERATOR, at=FEBRUARY)
    moments = (START - timedelta(seconds=1), START, FEBRUARY - timedelta(seconds=1), FEBRUARY)
    in_force = [
        discount_services.discounts_in_force(subscription=subscription, billed_at=moment).count() for moment in moments
    ]
    assert in_force == [0, 1, 1, 0]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"percent": Decimal(50)}, "applied_discount_terms_fixed"),
        ({"uses_max": 9}, "applied_discount_terms_fixed"),
        ({"ended_at": START - timedelta(days=1)}, "applied_discount_ends_after_start"),
    ],
)
def test_the_database_holds_what_was_agreed(subscription, change, name):
    found = discounts.discount(customer=subscription.customer, coupon=discounts.coupon())
    with pytest.raises(IntegrityError, match=name), transaction.atomic():
        AppliedDiscount.objects.filter(id=found.id).update(**change)
    with pytest.raises(IntegrityError, match="applied_discount_kept"), transaction.atomic():
        AppliedDiscount.objects.filter(id=found.id).delete()


@pytest.mark.races
def test_sixty_four_at_once_redeem_no_more_than_there_are(committed_tenant):
    """A coupon for ten: of 64 customers who redeem it at one instant exactly ten have it."""
    code = f"TEN-{str(ids.new_id())[-8:]}"
    coupon = discounts.coupon(code=code, redemptions_max=10)
    people = [customers.customer(external_id=f"{code}-{number}") for number in range(64)]

    def redeem(person):
        return lambda: discounts.discount(customer=person, coupon=Coupon.objects.get(id=coupon.id))

    results = races.race(committed_tenant, [redeem(person) for person in people])
    assert sum(isinstance(result, AppliedDiscount) for result in results) == 10
    assert sum(isinstance(result, CouponNotRedeemable) for result in results) == 54
    coupon.refresh_from_db()
    assert coupon.redemptions_count == AppliedDiscount.objects.filter(coupon=coupon).count() == 10
