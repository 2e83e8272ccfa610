"""Meters: what is measured and how it adds up; event mappings: how a source's own shape is read."""

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
from apps.metering.event_checks import TYPE_LENGTH_MAX
from apps.metering.inputs import MeterInput
from apps.metering.models import MeterAggregation


class MeterInputSerializer(StrictSerializer):
    """A meter as its tenant describes it."""

    code = serializers.CharField(max_length=60)
    name = serializers.CharField(max_length=120)
    event_type = serializers.CharField(max_length=120)
    aggregation = serializers.ChoiceField(choices=MeterAggregation.values)
    value_property = serializers.CharField(
        max_length=60, required=False, allow_blank=True, help_text="What is read of an event; empty for count."
    )
    operation_property = serializers.CharField(
        max_length=60,
        required=False,
        allow_blank=True,
        help_text="For unique_count: the property that says add or remove; what is there at the end counts.",
    )
    has_carry_over = serializers.BooleanField(
        required=False,
        help_text="For weighted_sum and unique_count with operations: begin with what the time before left.",
    )
    weight_property = serializers.CharField(
        max_length=60,
        required=False,
        allow_blank=True,
        help_text="For count and sum: the property that says how many events one event stands for, 1 to 1000000.",
    )
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
    operation_property = serializers.CharField()
    has_carry_over = serializers.BooleanField()
    weight_property = serializers.CharField()
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


class EventMappingInputSerializer(StrictSerializer):
    """How one source's events are read."""

    source = serializers.CharField(max_length=TYPE_LENGTH_MAX)  # type: ignore[assignment]  # taken out of the class

    def get_fields(self) -> dict[str, Any]:
        """Return the fields; one of them has the name under which the framework keeps them all."""
        paths = serializers.DictField(
            child=serializers.CharField(max_length=200),
            help_text='Our field to its path with dots, or "=" and a constant: {"id": "request.id", "type": "=call"}.',
        )
        return {**super().get_fields(), "fields": paths}


class EventMappingSerializer(serializers.Serializer[Any]):
    """One version of a source's mapping."""

    id = PublicIdField()
    source = serializers.CharField()  # type: ignore[assignment]  # a field, taken out of the class
    version = serializers.IntegerField()
    defined_at = InstantField()

    def get_fields(self) -> dict[str, Any]:
        """Return the fields; one of them has the name under which the framework keeps them all."""
        return {**super().get_fields(), "fields": serializers.DictField(child=serializers.CharField())}


class EventMappingList(ApiView):
    """All mappings, and the way to define one."""

    scopes = {"GET": Scope.CATALOG_WRITE.value, "POST": Scope.CATALOG_WRITE.value}

    @extend_schema(
        operation_id="event_mappings_list",
        parameters=LIST_PARAMETERS,
        responses=inline_serializer(
            "EventMappingPage",
            {"data": EventMappingSerializer(many=True), "next_cursor": serializers.CharField(allow_null=True)},
        ),
    )
    def get(self, request: Request) -> Response:
        """List all versions of all mappings, newest first."""
        page, cursor = page_of(request, metering_selectors.event_mappings_queryset())
        return Response({"data": EventMappingSerializer(page, many=True).data, "next_cursor": cursor})

    @extend_schema(
        operation_id="event_mappings_create",
        request=EventMappingInputSerializer,
        responses={201: EventMappingSerializer},
        parameters=[IDEMPOTENCY_PARAMETER],
    )
    def post(self, request: Request) -> Response:
        """Define a source's mapping or a further version of it; the same again answers with the one that is there."""
        asked = self.read(EventMappingInputSerializer)
        mapping = metering_services.event_mapping_define(
            source=asked["source"], fields=asked["fields"], actor=self.actor, at=self.at
        )
        return Response(EventMappingSerializer(mapping).data, status=201)
