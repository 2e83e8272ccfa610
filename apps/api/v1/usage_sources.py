"""What sources say of themselves, what is known of them, and what is wrong with usage just now."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.base import IDEMPOTENCY_PARAMETER, ApiView
from apps.api.errors import RequestInvalid
from apps.api.pagination import LIST_PARAMETERS, page_of
from apps.api.serializers import InstantField, PublicIdField, StrictSerializer
from apps.common.errors import FieldProblem
from apps.identity.models import Scope
from apps.metering import alerts, sources
from apps.metering.watching_models import AlertStatus, SourceHeartbeat


class HeartbeatInputSerializer(StrictSerializer):
    """A source's word about a window of occurrence that is over."""

    source = serializers.CharField(max_length=255)  # type: ignore[assignment]  # a field, taken out of the class
    # `from` is a word of the language.
    locals()["from"] = InstantField(source="starts_at", help_text="The window begins; it may span a day at most.")
    to = InstantField(source="ends_at", help_text="The window ends, this instant not included.")
    sent = serializers.IntegerField(source="sent_count", min_value=0, max_value=10**15 - 1)


class HeartbeatSerializer(serializers.Serializer[Any]):
    """A heartbeat, and how many events of its window were here when they were last counted."""

    id = PublicIdField()
    source = serializers.CharField()  # type: ignore[assignment]  # a field, taken out of the class
    locals()["from"] = InstantField(source="starts_at")
    to = InstantField(source="ends_at")
    sent = serializers.IntegerField(source="sent_count")
    found = serializers.IntegerField(source="found_count", allow_null=True)
    counted_at = InstantField(allow_null=True)
    received_at = InstantField()


class SourceSerializer(serializers.Serializer[Any]):
    """What is known of a source of events."""

    id = PublicIdField()
    source = serializers.CharField()  # type: ignore[assignment]  # a field, taken out of the class
    events = serializers.IntegerField(source="event_count")
    watermark = InstantField(source="watermark_at", help_text="The newest occurrence that it has told of.")
    first_received_at = InstantField()
    last_received_at = InstantField()
    clock_ahead_ms = serializers.IntegerField(help_text="At least so far its clock ran ahead of ours lately.")


class UsageAlertSerializer(serializers.Serializer[Any]):
    """Something about usage that a person should look at."""

    id = PublicIdField()
    kind = serializers.CharField()
    subject = serializers.CharField()
    status = serializers.CharField()
    sentence = serializers.CharField()
    facts = serializers.JSONField()
    at_risk = serializers.DictField(child=serializers.IntegerField(), help_text="Estimated minor units per currency.")
    opened_at = InstantField()
    last_seen_at = InstantField()
    acknowledged_at = InstantField(allow_null=True)
    acknowledged_by = serializers.CharField()
    comment = serializers.CharField()
    closed_at = InstantField(allow_null=True)


def _page_named(name: str, item: type[serializers.Serializer[Any]]) -> Any:
    return inline_serializer(name, {"data": item(many=True), "next_cursor": serializers.CharField(allow_null=True)})


class HeartbeatList(ApiView):
    """Heartbeats of sources."""

    scopes = {"GET": Scope.USAGE_READ.value, "POST": Scope.EVENTS_WRITE.value}

    @extend_schema(
        operation_id="usage_heartbeats_list",
        parameters=[*LIST_PARAMETERS, OpenApiParameter("source", str, description="Only of this source")],
        responses=_page_named("HeartbeatPage", HeartbeatSerializer),
    )
    def get(self, request: Request) -> Response:
        """List heartbeats, newest first."""
        rows = SourceHeartbeat.objects.all()
        if source := request.query_params.get("source", ""):
            rows = rows.filter(source=source[:255])
        page, cursor = page_of(request, rows)
        return Response({"data": HeartbeatSerializer(page, many=True).data, "next_cursor": cursor})

    @extend_schema(
        operation_id="usage_heartbeats_create",
        request=HeartbeatInputSerializer,
        responses={201: HeartbeatSerializer},
        parameters=[IDEMPOTENCY_PARAMETER],
    )
    def post(self, request: Request) -> Response:
        """Say how many events that occurred in a window were sent; the same word again changes nothing."""
        heartbeat = sources.heartbeat_record(**self.read(HeartbeatInputSerializer), at=self.at)
        return Response(HeartbeatSerializer(heartbeat).data, status=201)


class SourceList(ApiView):
    """Sources of events."""

    scopes = {"GET": Scope.USAGE_READ.value}

    @extend_schema(
        operation_id="usage_sources_list",
        parameters=list(LIST_PARAMETERS),
        responses=_page_named("SourcePage", SourceSerializer),
    )
    def get(self, request: Request) -> Response:
        """List sources: how far each is, when it was heard of last, and whether its clock runs ahead."""
        page, cursor = page_of(request, sources.sources_queryset())
        return Response({"data": SourceSerializer(page, many=True).data, "next_cursor": cursor})


class UsageAlertList(ApiView):
    """Alerts about usage."""

    scopes = {"GET": Scope.USAGE_READ.value}

    @extend_schema(
        operation_id="usage_alerts_list",
        parameters=[*LIST_PARAMETERS, OpenApiParameter("status", str, enum=list(AlertStatus.values))],
        responses=_page_named("UsageAlertPage", UsageAlertSerializer),
    )
    def get(self, request: Request) -> Response:
        """List alerts, newest first: what is missing, late, silent, unusual or not equal, and the money at risk."""
        rows = alerts.alerts_queryset()
        if status := request.query_params.get("status", ""):
            if status not in AlertStatus.values:
                detail = f"is one of {', '.join(AlertStatus.values)}"
                problem = FieldProblem("?status", "status_unknown", detail)
                raise RequestInvalid(f"The parameter 'status' {detail}.", problems=(problem,))
            rows = rows.filter(status=status)
        page, cursor = page_of(request, rows)
        return Response({"data": UsageAlertSerializer(page, many=True).data, "next_cursor": cursor})
