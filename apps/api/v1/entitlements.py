"""May a customer use a feature: the check, all answers at once, and grants beside the plan."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.base import IDEMPOTENCY_PARAMETER, ApiView
from apps.api.serializers import (
    DecimalTextField,
    ExactField,
    InstantField,
    PublicIdField,
    ReferenceField,
    StrictSerializer,
)
from apps.customers import selectors as customer_selectors
from apps.entitlements import selectors as entitlement_selectors
from apps.entitlements import services as entitlement_services
from apps.entitlements.services import EntitlementInput
from apps.identity.models import Scope
from apps.workflows import access_checks


class CheckQuerySerializer(StrictSerializer):
    """Who asks for which feature, and how many units of it."""

    customer = ReferenceField()
    feature = serializers.CharField(max_length=60)
    units = DecimalTextField(required=False)


class AccessSerializer(serializers.Serializer[Any]):
    """How the customer stands, and the share of the usual rate to keep to."""

    standing = serializers.CharField()
    rate_factor = serializers.CharField()


class EntitlementAnswerSerializer(serializers.Serializer[Any]):
    """Whether, why, and by which limit."""

    allowed = serializers.BooleanField()
    reason = serializers.CharField()
    limit = serializers.CharField(allow_null=True)
    used = serializers.CharField(allow_null=True)
    remaining = serializers.CharField(allow_null=True)
    resets_at = serializers.CharField(allow_null=True)
    access = AccessSerializer()


class FeatureAnswerSerializer(EntitlementAnswerSerializer):
    """The answer for one feature of a customer."""

    feature = serializers.CharField()


class GrantSerializer(serializers.Serializer[Any]):
    """A grant beside the plan."""

    id = PublicIdField()
    feature = serializers.CharField(source="feature_code")
    is_granted = serializers.BooleanField()
    extra_units = ExactField(allow_null=True)
    starts_at = InstantField()
    ends_at = InstantField(allow_null=True)
    grant_key = serializers.CharField()
    comment = serializers.CharField()
    revoked_at = InstantField(allow_null=True)


class EntitlementsSerializer(serializers.Serializer[Any]):
    """All that a customer may use, as of now, and what was granted beside the plan."""

    features = FeatureAnswerSerializer(many=True)
    grants = GrantSerializer(many=True)


class GrantPostSerializer(StrictSerializer):
    """A grant to give; the same key gives it once."""

    feature = serializers.CharField(max_length=60)
    grant_key = serializers.CharField(max_length=200)
    is_granted = serializers.BooleanField(default=True)
    extra_units = DecimalTextField(required=False, allow_null=True)
    starts_at = InstantField(required=False)
    ends_at = InstantField(required=False, allow_null=True)
    comment = serializers.CharField(required=False, default="", allow_blank=True, max_length=500)


class EntitlementCheck(ApiView):
    """The question before acting."""

    scopes = {"GET": Scope.USAGE_READ.value}

    @extend_schema(
        operation_id="entitlements_check",
        parameters=[
            OpenApiParameter("customer", str, required=True, description="Code or cus_ id"),
            OpenApiParameter("feature", str, required=True, description="The feature's code"),
            OpenApiParameter("units", str, description="How many units; without it, whether anything is left"),
        ],
        responses=EntitlementAnswerSerializer,
    )
    def get(self, request: Request) -> Response:
        """Return whether a customer may use a feature now; nothing is reserved, and a refusal is an answer, too."""
        query = CheckQuerySerializer(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        customer = customer_selectors.customer_by_reference(asked["customer"])
        answer = access_checks.entitlement_check(
            customer_id=customer.id,
            feature_code=asked["feature"],
            units=asked.get("units"),
            at=customer_selectors.customer_now(customer=customer, at=self.at),
        )
        return Response(answer.to_document())


class CustomerEntitlements(ApiView):
    """What a customer may use."""

    scopes = {"GET": Scope.USAGE_READ.value, "POST": Scope.CUSTOMERS_WRITE.value}

    @extend_schema(operation_id="customers_entitlements_list", responses=EntitlementsSerializer)
    def get(self, request: Request, reference: str) -> Response:
        """Return the answer for each feature of a customer's plans and grants, as of now."""
        customer = customer_selectors.customer_by_reference(reference)
        at = customer_selectors.customer_now(customer=customer, at=self.at)
        features = [
            {
                "feature": code,
                **access_checks.entitlement_check(customer_id=customer.id, feature_code=code, at=at).to_document(),
            }
            for code in access_checks.customer_features(customer_id=customer.id, at=at)
        ]
        grants = entitlement_selectors.entitlements_of(customer_id=customer.id)
        return Response(EntitlementsSerializer({"features": features, "grants": grants}).data)

    @extend_schema(
        operation_id="customers_entitlements_create",
        request=GrantPostSerializer,
        responses={201: GrantSerializer},
        parameters=[IDEMPOTENCY_PARAMETER],
    )
    def post(self, request: Request, reference: str) -> Response:
        """Grant a feature beside the plan, or more units of it, once for each `grant_key`."""
        customer = customer_selectors.customer_by_reference(reference)
        asked = self.read(GrantPostSerializer)
        at = customer_selectors.customer_now(customer=customer, at=self.at)
        grant = entitlement_services.entitlement_grant(
            customer=customer,
            data=EntitlementInput(
                feature_code=asked["feature"],
                grant_key=asked["grant_key"],
                is_granted=asked["is_granted"],
                extra_units=asked.get("extra_units"),
                starts_at=asked.get("starts_at", at),
                ends_at=asked.get("ends_at"),
                comment=asked["comment"],
            ),
            actor=self.actor,
            at=at,
        )
        return Response(GrantSerializer(grant).data, status=201)
