"""Meters: what is measured and how it adds up."""

from typing import Any

from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.base import IDEMPOTENCY_PARAMETER, ApiView
from apps.api.pagination import LIST_PARAMETERS, page_of
from apps.api.serializers import InstantField, PublicIdField, StrictSerializer
from apps.identity.models import Scope
from apps.metering import selectors as metering_selectors
from apps.metering import services as metering_services
from apps.metering.inputs import MeterInput
from apps.metering.models import MeterAggregation


class MeterInputSerializer(StrictSerializer):
    """A meter as its tenant describes it."""

    code = serializers.CharField(max_length=60)
    name = serializers.CharField(max_length=120)
    event_type = serializers.CharField(max_length=120)
    aggregation = serializers.ChoiceField(choices=MeterAggregation.values)
    value_property = serializers.CharField(max_length=60, required=False, allow_blank=True)
    unit_name = serializers.CharField(max_length=40, required=False, allow_blank=True)
    filters = serializers.DictField(required=False)
    group_by = serializers.ListField(child=serializers.CharField(max_length=60), required=False)
    rounding = serializers.DictField(required=False, allow_null=True)
    rules = serializers.DictField(required=False)


class MeterSerializer(serializers.Serializer[Any]):
    """One version of a meter."""

    id = PublicIdField()
    code = serializers.CharField()
    version = serializers.IntegerField()
    name = serializers.CharField()
    event_type = serializers.CharField()
    aggregation = serializers.CharField()
    value_property = serializers.CharField()
    unit_name = serializers.CharField()
    filters = serializers.JSONField()
    group_by = serializers.ListField(child=serializers.CharField())
    rounding = serializers.JSONField()
    rules = serializers.JSONField()
    defined_at = InstantField()
    retired_at = InstantField(allow_null=True)


class MeterList(ApiView):
    """All meters, and the way to define one."""

    scopes = {"GET": Scope.CATALOG_WRITE.value, "POST": Scope.CATALOG_WRITE.value}

    @extend_schema(
        operation_id="meters_list",
        parameters=LIST_PARAMETERS,
        responses=inline_serializer(
            "MeterPage",
            {"data": MeterSerializer(many=True), "next_cursor": serializers.CharField(allow_null=True)},
        ),
    )
    def get(self, request: Request) -> Response:
        """List all versions of all meters, newest first."""
        page, cursor = page_of(request, metering_selectors.meters_queryset())
        return Response({"data": MeterSerializer(page, many=True).data, "next_cursor": cursor})

    @extend_schema(
        operation_id="meters_create",
        request=MeterInputSerializer,
        responses={201: MeterSerializer},
        parameters=[IDEMPOTENCY_PARAMETER],
    )
    def post(self, request: Request) -> Response:
        """Define a meter or a further version of it; the same definition again answers with the one that is there."""
        data = MeterInput(**self.read(MeterInputSerializer))
        meter = metering_services.meter_define(data=data, actor=self.actor, at=self.at)
        return Response(MeterSerializer(meter).data, status=201)


class MeterDetail(ApiView):
    """One meter."""

    scopes = {"GET": Scope.CATALOG_WRITE.value}

    @extend_schema(operation_id="meters_retrieve", responses=MeterSerializer)
    def get(self, request: Request, reference: str) -> Response:
        """Return the version with this id, or the current version of this code."""
        return Response(MeterSerializer(metering_selectors.meter_by_reference(reference)).data)
