"""Coupons: what may be offered, how long it is redeemed, and how often."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.db.models import F

from apps.audit.models import AuditEntry
from apps.common.actors import OPERATOR
from apps.plans import coupons
from apps.plans.errors import CouponExists, CouponInvalid, CouponNotRedeemable, CouponUnknown
from apps.plans.models import Coupon
from tests.builders import discounts

pytestmark = pytest.mark.django_db


def test_a_coupon_keeps_what_it_offers(tenant, at):
    coupon = discounts.coupon(
        code="SPRING", amount_minor=500, duration="periods", periods_count=3, plan_codes=("growth", "growth"), at=at
    )
    coupon.refresh_from_db()
    assert (coupon.kind, coupon.amount_minor, coupon.currency, coupon.percent) == ("fixed", 500, "USD", None)
    assert (coupon.plan_codes, coupon.charge_codes, coupon.uses_max) == (["growth"], [], 3)
    assert coupons.coupon_by_reference("SPRING") == coupons.coupon_by_reference(coupon.public_id) == coupon
    entry = AuditEntry.objects.get(entity_id=coupon.id)
    assert (entry.action, entry.after["amount_minor"], entry.at) == ("create", 500, at)


@pytest.mark.parametrize(
    ("duration", "count", "uses_max"), [("once", None, 1), ("periods", 4, 4), ("forever", None, None)]
)
def test_duration_says_how_many_uses_there_are(tenant, duration, count, uses_max):
    assert discounts.coupon(duration=duration, periods_count=count).uses_max == uses_max


@pytest.mark.parametrize(
    ("overrides", "pointers"),
    [
        ({"code": " "}, ["/code"]),
        ({"name": ""}, ["/name"]),
        ({"code": "cpn_01h455vb4pex5vsknk084sn02q"}, ["/code"]),
        ({"kind": "gift"}, ["/kind"]),
        ({"percent": Decimal(0)}, ["/percent"]),
        ({"percent": Decimal("100.1")}, ["/percent"]),
        ({"percent": Decimal("1.00001")}, ["/percent"]),
        ({"currency": "USD"}, ["/amount"]),
        ({"amount_minor": 0}, ["/amount"]),
        ({"amount_minor": 5, "currency": "XXX"}, ["/amount/currency"]),
        ({"amount_minor": 5, "percent": Decimal(5)}, ["/percent"]),
        ({"duration": "always"}, ["/duration"]),
        ({"duration": "periods"}, ["/periods_count"]),
        ({"duration": "periods", "periods_count": 0}, ["/periods_count"]),
        ({"periods_count": 2}, ["/periods_count"]),
        ({"redemptions_max": 0, "name": ""}, ["/name", "/redemptions_max"]),
    ],
)
def test_what_says_nothing_or_two_things_is_refused(tenant, overrides: dict[str, Any], pointers: list[str]):
    """Every field is named at once, and nothing is stored."""
    with pytest.raises(CouponInvalid) as refusal:
        discounts.coupon(**overrides)
    assert [problem.pointer for problem in refusal.value.problems] == pointers
    assert not Coupon.objects.exists()
    assert not AuditEntry.objects.filter(entity_type="plans.coupon").exists()


def test_a_code_is_taken_for_ever(tenant, at):
    coupon = discounts.coupon(code="SPRING")
    coupons.coupon_withdraw(coupon_id=coupon.id, actor=OPERATOR, at=at)
    with pytest.raises(CouponExists, match="withdrawn codes are not used again"):
        discounts.coupon(code="SPRING")
    with pytest.raises(CouponNotRedeemable, match="was withdrawn at 2026-01-15"):
        coupons.coupon_withdraw(coupon_id=coupon.id, actor=OPERATOR, at=at)
    with pytest.raises(CouponUnknown, match="'AUTUMN'"):
        coupons.coupon_by_reference("AUTUMN")


def test_redemption_stops_at_its_limits(tenant, at):
    """Withdrawn, too late, or as often as it may be: each refusal says which, and counts nothing."""
    limited, timely = discounts.coupon(code="TWO", redemptions_max=2), discounts.coupon(code="SOON", redeem_by_at=at)
    for _ in range(2):
        coupons.coupon_redemption_count(coupon=limited, at=at)
    with pytest.raises(CouponNotRedeemable, match="redeemed 2 times"):
        coupons.coupon_redemption_count(coupon=limited, at=at)
    coupons.coupon_redemption_count(coupon=timely, at=at - timedelta(microseconds=1))
    with pytest.raises(CouponNotRedeemable, match="until 2026-01-15"):
        coupons.coupon_redemption_count(coupon=timely, at=at)
    coupons.coupon_withdraw(coupon_id=timely.id, actor=OPERATOR, at=at)
    with pytest.raises(CouponNotRedeemable, match="withdrawn"):
        coupons.coupon_redemption_count(coupon=timely, at=at - timedelta(days=1))
    assert list(Coupon.objects.order_by("code").values_list("code", "redemptions_count")) == [("SOON", 1), ("TWO", 2)]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"redemptions_count": 3}, "coupon_redemptions_within_max"),
        ({"percent": Decimal(50)}, "coupon_terms_fixed"),
        ({"redemptions_max": 100}, "coupon_terms_fixed"),
        ({"code": "OTHER"}, "coupon_terms_fixed"),
    ],
)
def test_the_database_holds_the_terms(tenant, change, name):
    coupon = discounts.coupon(redemptions_max=2)
    with pytest.raises(IntegrityError, match=name), transaction.atomic():
        Coupon.objects.filter(id=coupon.id).update(**change)
    with pytest.raises(IntegrityError, match="coupon_kept"), transaction.atomic():
        Coupon.objects.filter(id=coupon.id).delete()
    Coupon.objects.filter(id=coupon.id).update(redemptions_count=F("redemptions_count") + 2)
