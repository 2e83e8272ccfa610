"""Subscriptions and their periods."""

from decimal import Decimal
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api import pagination
from apps.api.base import DRY_RUN_PARAMETER, IDEMPOTENCY_PARAMETER, ApiView
from apps.api.schema import page
from apps.api.serializers import ExactField, InstantField, PublicIdField, ReferenceField, StrictSerializer
from apps.customers import selectors as customer_selectors
from apps.subscriptions import selectors
from apps.subscriptions.models import AnchorKind
from apps.workflows import subscribing


class AnchorSerializer(StrictSerializer):
    """Where period boundaries come from."""

    type = serializers.ChoiceField(choices=AnchorKind.values)


class OverridePostSerializer(StrictSerializer):
    """Another price for one charge, which somebody else has to approve."""

    terms = serializers.DictField(help_text="Code, model and price of the charge, as in a pricing document.")
    reason = serializers.CharField(max_length=500)


class SubscriptionPostSerializer(StrictSerializer):
    """A new subscription."""

    customer = ReferenceField()
    plan = serializers.CharField(max_length=60)
    external_id = serializers.CharField(max_length=120, required=False)
    starts_at = InstantField(required=False)
    anchor = AnchorSerializer(required=False)
    quantity = serializers.DecimalField(max_digits=26, decimal_places=12, coerce_to_string=True, required=False)
    discounts = serializers.ListField(
        child=serializers.CharField(max_length=60), max_length=20, required=False, help_text="Codes of coupons."
    )
    overrides = OverridePostSerializer(many=True, required=False)


class PeriodSerializer(serializers.Serializer):
    """A stored half-open billing period."""

    id = PublicIdField()
    sequence = serializers.IntegerField()
    starts_at = InstantField()
    ends_at = InstantField()
    kind = serializers.SerializerMethodField()
    plan = serializers.CharField(source="plan_version.plan.code")
    plan_version = serializers.IntegerField(source="plan_version.version")
    quantity = ExactField()
    status = serializers.SerializerMethodField()
    park_reason = serializers.CharField()

    def get_kind(self, row: Any) -> str:
        """Return regular, trial, fixed_only or frozen: what is billed for the time."""
        return str(row.kind).lower()

    def get_status(self, row: Any) -> str:
        """Return open, closing or closed."""
        return str(row.status).lower()


class SubscriptionSerializer(serializers.Serializer):
    """A subscription."""

    id = PublicIdField()
    external_id = serializers.CharField(allow_null=True)
    customer = PublicIdField(source="customer.public_id")
    plan = serializers.CharField(source="plan_version.plan.code")
    plan_version = serializers.IntegerField(source="plan_version.version")
    quantity = ExactField()
    status = serializers.SerializerMethodField()
    starts_at = InstantField()
    trial_ends_at = InstantField(allow_null=True)
    anchor = serializers.SerializerMethodField()
    timezone = serializers.CharField()
    activated_at = InstantField(allow_null=True)
    pause_mode = serializers.CharField()
    paused_at = InstantField(allow_null=True)
    ended_at = InstantField(allow_null=True)

    def get_status(self, row: Any) -> str:
        """Return pending, trialing, active, paused or ended."""
        return str(row.status).lower()

    def get_anchor(self, row: Any) -> dict[str, str]:
        """Return the kind of anchor."""
        return {"type": row.anchor_kind}


class SubscriptionList(ApiView):
    """All subscriptions; make one."""

    scopes = {"GET": "customers:write", "POST": "customers:write"}
    allows_dry_run = True

    @extend_schema(parameters=pagination.LIST_PARAMETERS, responses=page(SubscriptionSerializer))
    def get(self, request: Request) -> Response:
        """List subscriptions, newest first, of all customers or of one."""
        rows = selectors.subscriptions_queryset()
        if reference := request.query_params.get("customer"):
            rows = rows.filter(customer=customer_selectors.customer_by_reference(reference))
        rows_shown, cursor = pagination.page_of(request, rows)
        return Response({"data": SubscriptionSerializer(rows_shown, many=True).data, "next_cursor": cursor})

    @extend_schema(
        request=SubscriptionPostSerializer,
        responses={201: SubscriptionSerializer},
        parameters=[IDEMPOTENCY_PARAMETER, DRY_RUN_PARAMETER],
    )
    def post(self, request: Request) -> Response:
        """Pin a customer to the plan version on sale at the start."""
        data = self.read(SubscriptionPostSerializer)
        agreed = subscribing.NewSubscription(
            plan_code=data["plan"],
            starts_at=data.get("starts_at"),
            anchor_kind=data.get("anchor", {}).get("type", AnchorKind.ANNIVERSARY),
            external_id=data.get("external_id"),
            quantity=data.get("quantity", Decimal(1)),
            coupon_codes=tuple(data.get("discounts", ())),
            prices_asked=tuple(subscribing.PriceAsked(**asked) for asked in data.get("overrides", ())),
        )
        customer = customer_selectors.customer_by_reference(data["customer"])
        subscription = subscribing.subscribe(customer=customer, agreed=agreed, actor=self.actor, at=self.at)
        return Response(SubscriptionSerializer(subscription).data, status=201)


class SubscriptionDetail(ApiView):
    """One subscription."""

    scopes = {"GET": "customers:write"}

    @extend_schema(responses=SubscriptionSerializer)
    def get(self, request: Request, reference: str) -> Response:
        """Return a subscription by id or external id."""
        return Response(SubscriptionSerializer(selectors.subscription_by_reference(reference)).data)


class SubscriptionPeriods(ApiView):
    """A subscription's stored periods."""

    scopes = {"GET": "customers:write"}

    @extend_schema(parameters=pagination.LIST_PARAMETERS, responses=page(PeriodSerializer))
    def get(self, request: Request, reference: str) -> Response:
        """List periods, newest first."""
        subscription = selectors.subscription_by_reference(reference)
        rows_shown, cursor = pagination.page_of(request, selectors.periods_of(subscription_id=subscription.id))
        return Response({"data": PeriodSerializer(rows_shown, many=True).data, "next_cursor": cursor})
