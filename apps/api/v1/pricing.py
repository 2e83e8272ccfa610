"""The price book, and what a version would have made of usage that was real."""

from decimal import Decimal
from typing import Any

from django.utils.http import parse_etags, quote_etag
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.base import ApiView
from apps.api.serializers import (
    DecimalTextField,
    ExactField,
    InstantField,
    MoneyField,
    ReferenceField,
    StrictSerializer,
)
from apps.identity.models import Scope
from apps.plans import price_book
from apps.workflows import backtest

# Prices change when somebody publishes; a minute late is early enough for who shows them.
_BOOK_SECONDS = 60


class SpanSerializer(StrictSerializer):
    """A half-open span of time."""

    starts_at = InstantField()
    ends_at = InstantField()


class BacktestRequestSerializer(StrictSerializer):
    """Which version is tried on which past."""

    plan = ReferenceField()
    version = serializers.IntegerField(min_value=1)
    period = SpanSerializer()
    customers = serializers.ListField(child=ReferenceField(), required=False, max_length=1000)
    cohort = ReferenceField(required=False)
    usage_factor = DecimalTextField(required=False)


class CustomerChangeSerializer(serializers.Serializer[Any]):
    """What one customer's periods cost then and on the version."""

    customer = serializers.CharField(source="customer.external_id")
    period_count = serializers.IntegerField()
    before = MoneyField("before_minor", currency=lambda row: row.currency)
    after = MoneyField("after_minor", currency=lambda row: row.currency)
    change = MoneyField("change_minor", currency=lambda row: row.currency)


class LeftOutSerializer(serializers.Serializer[Any]):
    """A customer whose periods cannot be compared."""

    customer = serializers.CharField(source="customer.external_id")
    reason = serializers.CharField()


class BacktestSerializer(serializers.Serializer[Any]):
    """The comparison, per customer and in all; before discounts and taxes."""

    plan = serializers.CharField(source="version.plan.code")
    version = serializers.IntegerField(source="version.version")
    starts_at = InstantField()
    ends_at = InstantField()
    usage_factor = ExactField()
    before = MoneyField("before_minor", currency=lambda row: row.version.currency)
    after = MoneyField("after_minor", currency=lambda row: row.version.currency)
    change = MoneyField("change_minor", currency=lambda row: row.version.currency)
    winner_count = serializers.IntegerField()
    loser_count = serializers.IntegerField()
    unchanged_count = serializers.IntegerField()
    customers = CustomerChangeSerializer(many=True)
    left_out = LeftOutSerializer(many=True)
    cliffs = serializers.ListField(child=serializers.CharField())
    notes = serializers.ListField(child=serializers.CharField())


class PricingBacktest(ApiView):
    """A version on real usage; reads, stores nothing."""

    scopes = {"POST": Scope.CATALOG_WRITE.value}

    @extend_schema(request=BacktestRequestSerializer, responses=BacktestSerializer)
    def post(self, request: Request) -> Response:
        """Rate the periods that ended in a past span on a version, draft or not, and compare customer by customer."""
        data = self.read(BacktestRequestSerializer)
        customers = data.get("customers")
        question = backtest.BacktestQuestion(
            plan_code=data["plan"],
            version=data["version"],
            starts_at=data["period"]["starts_at"],
            ends_at=data["period"]["ends_at"],
            customers=None if customers is None else tuple(customers),
            cohort=data.get("cohort"),
            usage_factor=data.get("usage_factor", Decimal(1)),
        )
        return Response(BacktestSerializer(backtest.backtest_run(question=question, at=self.at)).data)


class PriceBookQuerySerializer(StrictSerializer):
    """At which instant, without one now; and for which customer, without one for everybody."""

    at = InstantField(required=False)
    customer = ReferenceField(required=False)


class PriceBook(ApiView):
    """Everything on sale, for who shows prices or decides about access."""

    scopes = {"GET": Scope.USAGE_READ.value}

    @extend_schema(
        parameters=[
            PriceBookQuerySerializer,
            OpenApiParameter(
                "If-None-Match", str, OpenApiParameter.HEADER, description="the ETag of an earlier answer"
            ),
        ],
        responses={200: OpenApiTypes.OBJECT, 304: OpenApiResponse(description="Nothing changed since.")},
    )
    def get(self, request: Request) -> Response:
        """Return all versions on sale with resolved terms and features; the ETag is equal while they are."""
        query = PriceBookQuerySerializer(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        book = price_book.price_book(at=asked.get("at", self.at), customer=asked.get("customer"))
        headers = {
            "ETag": quote_etag(book.tag),
            "Cache-Control": f"private, max-age={_BOOK_SECONDS}",
            "Vary": "Authorization",
        }
        known = parse_etags(request.headers.get("If-None-Match", ""))
        if "*" in known or quote_etag(book.tag) in (tag.removeprefix("W/") for tag in known):
            return Response(status=304, headers=headers)
        return Response({"data": list(book.entries)}, headers=headers)
