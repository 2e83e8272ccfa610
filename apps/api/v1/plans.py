"""Plans from pricing documents, and estimates that store nothing."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api import pagination
from apps.api.base import IDEMPOTENCY_PARAMETER, ApiView
from apps.api.errors import RequestInvalid
from apps.api.schema import page
from apps.api.serializers import InstantField, PublicIdField, ReferenceField, StrictSerializer
from apps.common.errors import FieldProblem
from apps.identity.models import Scope
from apps.plans import estimates, selectors, services
from apps.plans.documents.schema import USAGE_ITEMS_MAX


class PlanVersionSerializer(serializers.Serializer):
    """The terms of a plan."""

    id = PublicIdField()
    plan = serializers.CharField(source="plan.code")
    version = serializers.IntegerField()
    status = serializers.SerializerMethodField()
    currency = serializers.CharField()
    effective_at = InstantField()
    cohort = serializers.CharField(source="cohort.code", default=None, allow_null=True)
    published_at = InstantField(allow_null=True)
    document = serializers.JSONField()
    document_hash = serializers.CharField()

    def get_status(self, row: Any) -> str:
        """Return draft, published or retired."""
        return str(row.status).lower()


class PlanSerializer(serializers.Serializer):
    """A plan with its versions, newest first."""

    id = PublicIdField()
    code = serializers.CharField()
    name = serializers.CharField()
    versions = PlanVersionSerializer(many=True, source="versions.all")


class PlanAppliedSerializer(serializers.Serializer):
    """What applying a document did."""

    plan = serializers.CharField(source="plan.code")
    version = serializers.IntegerField(source="version.version")
    status = serializers.SerializerMethodField()
    is_changed = serializers.BooleanField()
    difference = serializers.JSONField()
    warnings = serializers.ListField(child=serializers.CharField())

    def get_status(self, row: Any) -> str:
        """Return draft, published or retired."""
        return str(row.version.status).lower()


class EstimatePeriodSerializer(StrictSerializer):
    """The part of a period that is priced."""

    starts_at = InstantField()
    ends_at = InstantField()


class EstimateSerializer(StrictSerializer):
    """Either a charge with its usage, or a plan with usage by meter."""

    charge = serializers.DictField(required=False)
    currency = serializers.CharField(max_length=3, required=False)
    units = serializers.CharField(max_length=60, required=False)
    groups = serializers.ListField(child=serializers.DictField(), required=False, max_length=USAGE_ITEMS_MAX)
    events = serializers.ListField(required=False, max_length=USAGE_ITEMS_MAX)
    amount = serializers.CharField(max_length=60, required=False)
    rounding = serializers.CharField(max_length=10, required=False)
    plan = serializers.CharField(max_length=60, required=False)
    version = serializers.IntegerField(min_value=1, required=False)
    usage = serializers.DictField(required=False)
    quantity = serializers.CharField(max_length=60, required=False)
    period = EstimatePeriodSerializer(required=False)


class PublishSerializer(StrictSerializer):
    """For whom: a cohort's members, or without one everybody."""

    cohort = ReferenceField(required=False, allow_null=True)


class PlanList(ApiView):
    """All plans; apply a pricing document."""

    scopes = {"GET": "catalog:write", "POST": "catalog:write"}

    @extend_schema(parameters=pagination.LIST_PARAMETERS, responses=page(PlanSerializer))
    def get(self, request: Request) -> Response:
        """List plans, newest first."""
        rows = selectors.plans_queryset().prefetch_related("versions__plan")
        rows_shown, cursor = pagination.page_of(request, rows)
        return Response({"data": PlanSerializer(rows_shown, many=True).data, "next_cursor": cursor})

    @extend_schema(
        request={"application/json": {"type": "object", "description": "A pricing document, see docs/schemas."}},
        responses={200: PlanAppliedSerializer, 201: PlanAppliedSerializer},
        parameters=[IDEMPOTENCY_PARAMETER],
    )
    def post(self, request: Request) -> Response:
        """Apply a pricing document: the same one changes nothing, a changed one makes a draft version."""
        if not isinstance(request.data, dict):
            raise RequestInvalid("A pricing document is a JSON object.")
        applied = services.plan_document_apply(document=request.data, actor=self.actor, at=self.at)
        return Response(PlanAppliedSerializer(applied).data, status=201 if applied.is_changed else 200)


class PlanDetail(ApiView):
    """One plan."""

    scopes = {"GET": "catalog:write"}

    @extend_schema(responses=PlanSerializer)
    def get(self, request: Request, code: str) -> Response:
        """Return a plan by code or id, with all its versions."""
        return Response(PlanSerializer(selectors.plan_by_reference(code)).data)


class PlanVersionPublish(ApiView):
    """Freeze a draft and put it on sale."""

    scopes = {"POST": "catalog:write"}

    @extend_schema(request=PublishSerializer, responses=PlanVersionSerializer, parameters=[IDEMPOTENCY_PARAMETER])
    def post(self, request: Request, code: str, version: int) -> Response:
        """Publish, for all or for a cohort; every golden example of the document must come out."""
        cohort = self.read(PublishSerializer).get("cohort")
        published = services.plan_version_publish(
            plan_code=code, version=version, cohort_code=cohort, actor=self.actor, at=self.at
        )
        return Response(PlanVersionSerializer(published).data)


class PricingEstimate(ApiView):
    """What something would cost; pure, stores nothing."""

    scopes = {"POST": "usage:read"}

    @extend_schema(request=EstimateSerializer, responses=OpenApiTypes.OBJECT)
    def post(self, request: Request) -> Response:
        """Estimate a charge for units, or a plan for usage, with the explanation of every line."""
        data = self.read(EstimateSerializer)
        if ("charge" in data) == ("plan" in data):
            raise RequestInvalid(
                "Give either a charge (with currency and usage) or a plan (with usage by meter).",
                problems=(FieldProblem("/charge", "required", "either this or 'plan'"),),
            )
        period = data.get("period")
        span = None if period is None else (period["starts_at"], period["ends_at"])
        if "plan" in data:
            return Response(
                estimates.plan_estimate(
                    plan_code=data["plan"],
                    version=data.get("version"),
                    usage=data.get("usage", {}),
                    quantity=data.get("quantity"),
                    span=span,
                    at=self.at,
                    # Who may only read usage learns no price before it is on sale.
                    includes_drafts=bool({Scope.CATALOG_WRITE, Scope.ADMIN} & set(self.key.scopes)),
                )
            )
        if "currency" not in data:
            raise RequestInvalid(
                "A charge is priced in a currency.",
                problems=(FieldProblem("/currency", "required", "an ISO 4217 code such as USD"),),
            )
        question = estimates.ChargeQuestion(
            charge=data["charge"],
            currency=data["currency"],
            usage={name: data[name] for name in ("units", "groups", "events", "amount") if name in data},
            quantity=data.get("quantity"),
            rounding=data.get("rounding", "half_up"),
            span=span,
        )
        return Response(estimates.charge_estimate(question=question, at=self.at))
