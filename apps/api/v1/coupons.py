"""Coupons, and the discounts that customers have by redeeming them."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api import pagination
from apps.api.base import IDEMPOTENCY_PARAMETER, ApiView
from apps.api.errors import RequestInvalid
from apps.api.schema import page
from apps.api.serializers import (
    EmptySerializer,
    ExactField,
    InstantField,
    PublicIdField,
    ReferenceField,
    StrictSerializer,
    money_document,
)
from apps.common.errors import FieldProblem
from apps.customers import selectors as customer_selectors
from apps.customers.models import Customer
from apps.engine.errors import EngineError
from apps.engine.money import ensure_bookable, parse_decimal, text_to_minor
from apps.invoices import discounts as invoice_discounts
from apps.plans import coupons
from apps.plans.models import CouponDuration, CouponKind
from apps.subscriptions import discounts
from apps.subscriptions import selectors as subscription_selectors


class CouponAmountSerializer(StrictSerializer):
    """An amount with its currency."""

    amount = serializers.CharField(max_length=40)
    currency = serializers.CharField(max_length=3)


class _OfferSerializer(serializers.Serializer):
    """What a discount takes, the same for a coupon and for a discount that a customer has."""

    code = serializers.CharField()
    name = serializers.CharField()
    kind = serializers.ChoiceField(CouponKind.choices)
    amount = serializers.SerializerMethodField()
    percent = ExactField(allow_null=True)
    charges = serializers.ListField(child=serializers.CharField(), source="charge_codes")
    plans = serializers.ListField(child=serializers.CharField(), source="plan_codes")

    @extend_schema_field(CouponAmountSerializer(allow_null=True))
    def get_amount(self, row: Any) -> dict[str, str] | None:
        """Return the fixed amount, or null for a percentage."""
        return None if row.amount_minor is None else money_document(row.amount_minor, row.currency)


class CouponSerializer(_OfferSerializer):
    """An offer of a discount."""

    id = PublicIdField()
    duration = serializers.ChoiceField(CouponDuration.choices)
    periods_count = serializers.IntegerField(allow_null=True)
    redemptions_max = serializers.IntegerField(allow_null=True)
    redemptions_count = serializers.IntegerField()
    redeem_by_at = InstantField(allow_null=True)
    withdrawn_at = InstantField(allow_null=True)


class CouponPostSerializer(StrictSerializer):
    """A new coupon: an amount or a percentage."""

    code = serializers.CharField(max_length=60)
    name = serializers.CharField(max_length=120)
    kind = serializers.ChoiceField(CouponKind.choices)
    amount = CouponAmountSerializer(required=False)
    percent = serializers.CharField(max_length=40, required=False)
    duration = serializers.ChoiceField(CouponDuration.choices)
    periods_count = serializers.IntegerField(min_value=1, max_value=1_000, required=False)
    charges = serializers.ListField(child=serializers.CharField(max_length=60), max_length=100, required=False)
    plans = serializers.ListField(child=serializers.CharField(max_length=60), max_length=100, required=False)
    redemptions_max = serializers.IntegerField(min_value=1, max_value=2_000_000_000, required=False)
    redeem_by_at = InstantField(required=False)


class DiscountSerializer(_OfferSerializer):
    """A discount that a customer has, on all of its documents or on those of one subscription."""

    id = PublicIdField()
    coupon = PublicIdField(source="coupon.public_id")
    subscription = PublicIdField(source="subscription.public_id", default=None, allow_null=True)
    uses_max = serializers.IntegerField(allow_null=True)
    uses_count = serializers.SerializerMethodField()
    applied_at = InstantField()
    ended_at = InstantField(allow_null=True)

    def get_uses_count(self, row: Any) -> int:
        """Return on how many living documents it took something off."""
        uses: dict[Any, int] = self.context["uses"]
        return uses.get(row.id, 0)


class DiscountPostSerializer(StrictSerializer):
    """Which coupon to redeem, for the whole customer or for one subscription."""

    coupon = ReferenceField()
    subscription = ReferenceField(required=False, allow_null=True)


class CouponList(ApiView):
    """All coupons; offer one."""

    scopes = {"GET": "catalog:write", "POST": "catalog:write"}

    @extend_schema(parameters=pagination.LIST_PARAMETERS, responses=page(CouponSerializer))
    def get(self, request: Request) -> Response:
        """List coupons, newest first."""
        rows_shown, cursor = pagination.page_of(request, coupons.coupons_queryset())
        return Response({"data": CouponSerializer(rows_shown, many=True).data, "next_cursor": cursor})

    @extend_schema(request=CouponPostSerializer, responses={201: CouponSerializer}, parameters=[IDEMPOTENCY_PARAMETER])
    def post(self, request: Request) -> Response:
        """Offer a discount under a code; its terms never change."""
        coupon = coupons.coupon_create(data=_input(self.read(CouponPostSerializer)), actor=self.actor, at=self.at)
        return Response(CouponSerializer(coupon).data, status=201)


class CouponDetail(ApiView):
    """One coupon."""

    scopes = {"GET": "catalog:write"}

    @extend_schema(responses=CouponSerializer)
    def get(self, request: Request, reference: str) -> Response:
        """Return a coupon by code or id."""
        return Response(CouponSerializer(coupons.coupon_by_reference(reference)).data)


class CouponWithdraw(ApiView):
    """End redemption."""

    scopes = {"POST": "catalog:write"}

    @extend_schema(request=EmptySerializer, responses=CouponSerializer, parameters=[IDEMPOTENCY_PARAMETER])
    def post(self, request: Request, reference: str) -> Response:
        """Let the coupon be redeemed no more; discounts that customers have stay."""
        self.read(EmptySerializer)
        coupon = coupons.coupon_by_reference(reference)
        withdrawn = coupons.coupon_withdraw(coupon_id=coupon.id, actor=self.actor, at=self.at)
        return Response(CouponSerializer(withdrawn).data)


class DiscountList(ApiView):
    """A customer's discounts; redeem a coupon."""

    scopes = {"GET": "customers:write", "POST": "customers:write"}

    @extend_schema(
        operation_id="customers_discounts_list",
        parameters=pagination.LIST_PARAMETERS,
        responses=page(DiscountSerializer),
    )
    def get(self, request: Request, reference: str) -> Response:
        """List the discounts a customer has or had, newest first."""
        customer = customer_selectors.customer_by_reference(reference)
        rows_shown, cursor = pagination.page_of(request, discounts.discounts_queryset().filter(customer=customer))
        return Response({"data": _shown(rows_shown), "next_cursor": cursor})

    @extend_schema(
        request=DiscountPostSerializer, responses={201: DiscountSerializer}, parameters=[IDEMPOTENCY_PARAMETER]
    )
    def post(self, request: Request, reference: str) -> Response:
        """Redeem a coupon; it counts for what is billed from now on, by the customer's clock."""
        data = self.read(DiscountPostSerializer)
        customer = customer_selectors.customer_by_reference(reference)
        subscription_reference = data.get("subscription")
        at = _time_of(customer, self.at)
        discount = discounts.discount_apply(
            customer=customer,
            subscription=subscription_selectors.subscription_by_reference(subscription_reference)
            if subscription_reference
            else None,
            coupon=coupons.coupon_by_reference(data["coupon"]),
            applied_at=at,
            actor=self.actor,
            at=at,
        )
        return Response(_shown([discount])[0], status=201)


class DiscountEnd(ApiView):
    """End a discount."""

    scopes = {"POST": "customers:write"}

    @extend_schema(request=EmptySerializer, responses=DiscountSerializer, parameters=[IDEMPOTENCY_PARAMETER])
    def post(self, request: Request, reference: str, discount_reference: str) -> Response:
        """Let a discount take nothing from what is billed from now on."""
        self.read(EmptySerializer)
        customer = customer_selectors.customer_by_reference(reference)
        discount = discounts.discount_by_reference(customer=customer, reference=discount_reference)
        ended = discounts.discount_end(discount_id=discount.id, actor=self.actor, at=_time_of(customer, self.at))
        return Response(_shown([ended])[0])


def _shown(rows: Any) -> list[dict[str, Any]]:
    uses = invoice_discounts.uses_taken(discount_ids=[row.id for row in rows])
    return list(DiscountSerializer(rows, many=True, context={"uses": uses}).data)


def _time_of(customer: Customer, at: datetime) -> datetime:
    return customer_selectors.customer_now(customer=customer, at=at)


def _input(data: dict[str, Any]) -> coupons.CouponInput:
    money = data.pop("amount", None)
    amount_minor = None if money is None else _minor(money)
    return coupons.CouponInput(
        charge_codes=tuple(data.pop("charges", ())),
        plan_codes=tuple(data.pop("plans", ())),
        percent=_percentage(data.pop("percent")) if "percent" in data else None,
        amount_minor=amount_minor,
        currency="" if money is None else money["currency"],
        **data,
    )


def _minor(money: dict[str, str]) -> int:
    try:
        return ensure_bookable(text_to_minor(money["amount"], money["currency"]), money["currency"])
    except EngineError as error:
        raise _refused("/amount", error) from error


def _percentage(text: str) -> Decimal:
    try:
        return parse_decimal(text, path="percent")
    except EngineError as error:
        raise _refused("/percent", error) from error


def _refused(pointer: str, error: EngineError) -> RequestInvalid:
    return RequestInvalid(str(error), problems=(FieldProblem(pointer, error.code, error.detail),))
