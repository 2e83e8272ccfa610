"""How much was used, as of now."""

from datetime import datetime
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.base import ApiView
from apps.api.serializers import ExactField, InstantField, ReferenceField, StrictSerializer
from apps.customers import selectors as customer_selectors
from apps.identity.models import Scope
from apps.metering import selectors as metering_selectors
from apps.subscriptions import selectors as subscription_selectors
from apps.subscriptions.errors import SubscriptionUnknown


class UsageQuerySerializer(StrictSerializer):
    """Whose usage of what, when, and in which pieces."""

    customer = ReferenceField()
    meter = ReferenceField()
    subscription = ReferenceField(required=False)
    granularity = serializers.ChoiceField(choices=metering_selectors.GRANULARITIES, default="day")
    group_by = serializers.CharField(required=False, default="", max_length=400)

    def get_fields(self) -> dict[str, Any]:
        """Return the fields; one of them is named by a word of the language."""
        return {**super().get_fields(), "from": InstantField(), "to": InstantField()}


class UsageBucketSerializer(serializers.Serializer[Any]):
    """The plain aggregate of one piece of time and one group."""

    starts_at = InstantField()
    group = serializers.JSONField()
    quantity = ExactField()
    event_count = serializers.IntegerField()


class UsageTotalSerializer(serializers.Serializer[Any]):
    """The whole window: billable units (after the meter's rounding), and the plain aggregate."""

    quantity = ExactField()
    raw_quantity = ExactField(source="raw")
    event_count = serializers.IntegerField()


class UsageSerializer(serializers.Serializer[Any]):
    """Usage of one meter by one customer."""

    customer = serializers.CharField()
    meter = serializers.CharField()
    meter_version = serializers.IntegerField()
    unit_name = serializers.CharField()
    granularity = serializers.CharField()
    starts_at = InstantField()
    ends_at = InstantField()
    total = UsageTotalSerializer()
    data = UsageBucketSerializer(many=True)  # type: ignore[assignment]  # the framework takes fields out of the class


class Usage(ApiView):
    """Quantities of a meter."""

    scopes = {"GET": Scope.USAGE_READ.value}

    @extend_schema(
        operation_id="usage_retrieve",
        parameters=[
            OpenApiParameter("customer", str, required=True, description="Code or cus_ id"),
            OpenApiParameter("meter", str, required=True, description="Code or mtr_ id of a version"),
            OpenApiParameter("subscription", str, description="Only what counts for this subscription"),
            OpenApiParameter("from", datetime, required=True, description="Begin, included"),
            OpenApiParameter("to", datetime, required=True, description="End, excluded"),
            OpenApiParameter("granularity", str, enum=list(metering_selectors.GRANULARITIES), default="day"),
            OpenApiParameter("group_by", str, description="Groupings of the meter, separated by commas"),
        ],
        responses=UsageSerializer,
    )
    def get(self, request: Request) -> Response:
        """Return a customer's quantity in a half-open window, whole and in pieces; days and months are UTC."""
        query = UsageQuerySerializer(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        customer = customer_selectors.customer_by_reference(asked["customer"])
        meter = metering_selectors.meter_by_reference(asked["meter"])
        scope = {
            "meter": meter,
            "customer_id": customer.id,
            "subscription_id": _subscription_id(asked.get("subscription", ""), customer.id),
            "starts_at": asked["from"],
            "ends_at": asked["to"],
        }
        group_by = [name for name in asked["group_by"].split(",") if name]
        buckets = metering_selectors.usage_series(**scope, granularity=asked["granularity"], group_by=group_by)
        document = {
            "customer": customer.public_id,
            "meter": meter.code,
            "meter_version": meter.version,
            "unit_name": meter.unit_name,
            "granularity": asked["granularity"],
            "starts_at": asked["from"],
            "ends_at": asked["to"],
            "total": metering_selectors.usage_quantity(**scope),
            "data": buckets,
        }
        return Response(UsageSerializer(document).data)


def _subscription_id(reference: str, customer_id: Any) -> Any:
    """Return the id of a subscription of this customer; nothing when none was asked for."""
    if not reference:
        return None
    subscription = subscription_selectors.subscription_by_reference(reference)
    if subscription.customer_id != customer_id:
        raise SubscriptionUnknown(f"The customer has no subscription '{reference}'.")
    return subscription.id
