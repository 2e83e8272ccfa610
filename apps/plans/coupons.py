"""Write and read coupons: offers of a discount that customers redeem."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import F, Q, QuerySet

from apps.audit import services as audit_services
from apps.common import ids, locks
from apps.common.actors import Actor
from apps.common.db import unit_of_work
from apps.common.errors import FieldProblem
from apps.engine import currencies
from apps.engine.errors import CurrencyUnknown
from apps.engine.exact import decimal_text
from apps.engine.hashing import instant_text
from apps.plans.errors import CouponExists, CouponInvalid, CouponNotRedeemable, CouponUnknown
from apps.plans.models import Coupon, CouponDuration, CouponKind

_PERCENT_MAX = Decimal(100)
_PERCENT_DIGITS_MAX = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class CouponInput:
    """What a coupon offers, to whom and until when; the amount in minor units of its currency."""

    code: str
    name: str
    kind: str
    duration: str
    amount_minor: int | None = None
    currency: str = ""
    percent: Decimal | None = None
    periods_count: int | None = None
    charge_codes: tuple[str, ...] = ()
    plan_codes: tuple[str, ...] = ()
    redemptions_max: int | None = None
    redeem_by_at: datetime | None = None


@unit_of_work
def coupon_create(*, data: CouponInput, actor: Actor, at: datetime) -> Coupon:
    """
    Offer a discount under a code.

    :raises CouponInvalid: naming every field that is missing or says two things
    :raises CouponExists: if the code is taken
    """
    problems = _problems(data)
    if problems:
        listed = "; ".join(f"{problem.pointer} {problem.detail}" for problem in problems)
        raise CouponInvalid(f"The coupon cannot be offered: {listed}.", problems=tuple(problems))
    locks.advisory_lock(f"coupon:{data.code}")
    if Coupon.objects.filter(code=data.code).exists():
        raise CouponExists(f"There is a coupon '{data.code}' already; withdrawn codes are not used again.")
    coupon = Coupon.objects.create(
        code=data.code,
        name=data.name,
        kind=data.kind,
        duration=data.duration,
        amount_minor=data.amount_minor,
        currency=data.currency,
        percent=data.percent,
        periods_count=data.periods_count,
        charge_codes=sorted(set(data.charge_codes)),
        plan_codes=sorted(set(data.plan_codes)),
        redemptions_max=data.redemptions_max,
        redeem_by_at=data.redeem_by_at,
    )
    audit_services.entry_write(
        entity=coupon, action="create", actor=actor, at=at, before={}, after=coupon_document(coupon)
    )
    return coupon


@unit_of_work
def coupon_withdraw(*, coupon_id: UUID, actor: Actor, at: datetime) -> Coupon:
    """
    Let a coupon be redeemed no more; discounts that customers have stay.

    :raises CouponNotRedeemable: if it was withdrawn before
    """
    coupon = locks.get_for_update(Coupon, coupon_id)
    if coupon.withdrawn_at is not None:
        raise CouponNotRedeemable(f"Coupon '{coupon}' was withdrawn at {instant_text(coupon.withdrawn_at)}.")
    coupon.withdrawn_at = at
    coupon.save(update_fields=["withdrawn_at"])
    audit_services.entry_write(
        entity=coupon, action="withdraw", actor=actor, at=at, before={}, after={"withdrawn_at": instant_text(at)}
    )
    return coupon


@unit_of_work
def coupon_redemption_count(*, coupon: Coupon, at: datetime) -> None:
    """
    Count one redemption, in the transaction that uses it.

    One statement looks and counts, so that of those who come at once no more succeed than there are redemptions.

    :raises CouponNotRedeemable: saying why: withdrawn, too late, or redeemed as often as it may be
    """
    open_to_redeem = Q(withdrawn_at__isnull=True) & (Q(redeem_by_at__isnull=True) | Q(redeem_by_at__gt=at))
    left = Q(redemptions_max__isnull=True) | Q(redemptions_count__lt=F("redemptions_max"))
    counted = Coupon.objects.filter(open_to_redeem, left, id=coupon.id).update(
        redemptions_count=F("redemptions_count") + 1
    )
    if counted:
        return
    coupon.refresh_from_db()
    if coupon.withdrawn_at is not None:
        why = f"it was withdrawn at {instant_text(coupon.withdrawn_at)}"
    elif coupon.redeem_by_at is not None and coupon.redeem_by_at <= at:
        why = f"it could be redeemed until {instant_text(coupon.redeem_by_at)}"
    else:
        why = f"it was redeemed {coupon.redemptions_count} times, as often as it may be"
    raise CouponNotRedeemable(f"Coupon '{coupon}' cannot be redeemed: {why}. Use another one.")


def coupons_queryset() -> QuerySet[Coupon]:
    """Return all coupons, newest first."""
    return Coupon.objects.order_by("-id")


def coupon_by_reference(reference: str) -> Coupon:
    """
    Return the coupon with this public id or code.

    :raises CouponUnknown: if there is none
    """
    try:
        match = Q(id=Coupon.id_from_public(reference))
    except ids.IdInvalid:
        match = Q(code=reference)
    coupon = Coupon.objects.filter(match).first() if ids.is_searchable(reference) else None
    if coupon is None:
        raise CouponUnknown(f"There is no coupon '{reference[:120]}'.", facts={"coupon": reference[:120]})
    return coupon


def coupon_document(coupon: Coupon) -> dict[str, Any]:
    """Return the terms of a coupon as the audit trail keeps them."""
    return {
        "code": coupon.code,
        "name": coupon.name,
        "kind": coupon.kind,
        "amount_minor": coupon.amount_minor,
        "currency": coupon.currency,
        "percent": None if coupon.percent is None else decimal_text(coupon.percent),
        "duration": coupon.duration,
        "periods_count": coupon.periods_count,
        "charge_codes": coupon.charge_codes,
        "plan_codes": coupon.plan_codes,
        "redemptions_max": coupon.redemptions_max,
        "redeem_by_at": None if coupon.redeem_by_at is None else instant_text(coupon.redeem_by_at),
    }


def _problems(data: CouponInput) -> list[FieldProblem]:
    problems = _offer_problems(data)
    for name in ("code", "name"):
        if not getattr(data, name).strip():
            problems.append(FieldProblem(f"/{name}", "required", "must be text that is not empty"))
    if ids.looks_public(data.code):
        problems.append(FieldProblem("/code", "code_invalid", "reads like an id of ours; choose another code"))
    if data.duration not in CouponDuration.values:
        detail = f"must be one of {', '.join(CouponDuration.values)}"
        problems.append(FieldProblem("/duration", "duration_unknown", detail))
    if (data.duration == CouponDuration.PERIODS) != (data.periods_count is not None):
        detail = 'belongs to the duration "periods" and to no other'
        problems.append(FieldProblem("/periods_count", "periods_count_invalid", detail))
    for name in ("periods_count", "redemptions_max"):
        count = getattr(data, name)
        if count is not None and count < 1:
            problems.append(FieldProblem(f"/{name}", f"{name}_invalid", "must be 1 or more"))
    return problems


def _offer_problems(data: CouponInput) -> list[FieldProblem]:
    """Return what is wrong with the amount or the percentage: one of the two, as the kind says."""
    if data.kind == CouponKind.FIXED:
        problems = []
        if data.amount_minor is None or data.amount_minor <= 0:
            problems.append(FieldProblem("/amount", "amount_invalid", "must be an amount above zero"))
        try:
            currencies.exponent(data.currency)
        except CurrencyUnknown as error:
            problems.append(FieldProblem("/amount/currency", error.code, error.detail))
        if data.percent is not None:
            problems.append(FieldProblem("/percent", "percent_invalid", "leave it out of a fixed coupon"))
        return problems
    if data.kind != CouponKind.PERCENT:
        return [FieldProblem("/kind", "kind_unknown", f"must be one of {', '.join(CouponKind.values)}")]
    problems = []
    if data.amount_minor is not None or data.currency:
        problems.append(FieldProblem("/amount", "amount_invalid", "leave it out of a coupon in percent"))
    if data.percent is None or not _is_percentage(data.percent):
        detail = f"must be above 0 and at most 100, with at most {_PERCENT_DIGITS_MAX} digits behind the point"
        problems.append(FieldProblem("/percent", "percent_invalid", detail))
    return problems


def _is_percentage(percent: Decimal) -> bool:
    if not percent.is_finite() or not 0 < percent <= _PERCENT_MAX:
        return False
    return round(percent, _PERCENT_DIGITS_MAX) == percent
