"""What was refused, with reasons, and the way back in."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.base import IDEMPOTENCY_PARAMETER, ApiView
from apps.api.errors import RequestInvalid
from apps.api.pagination import LIST_PARAMETERS, page_of
from apps.api.serializers import EmptySerializer, InstantField, PublicIdField
from apps.api.v1.usage_events import IntakeResultSerializer
from apps.common.errors import FieldProblem
from apps.identity.models import Scope
from apps.metering import selectors as metering_selectors
from apps.metering.models import QuarantineStatus
from apps.workflows import usage_intake


class QuarantinedEventSerializer(serializers.Serializer[Any]):
    """A refused event as it came, and why it was refused."""

    id = PublicIdField()
    status = serializers.CharField()
    code = serializers.CharField()
    detail = serializers.CharField()
    source = serializers.CharField()  # type: ignore[assignment]  # a field, taken out of the class
    event_id = serializers.CharField()
    mapping = serializers.CharField(source="mapping_source")
    raw = serializers.CharField()
    received_at = InstantField()
    replayed_at = InstantField(allow_null=True)


class QuarantineList(ApiView):
    """All refused events."""

    scopes = {"GET": Scope.USAGE_READ.value}

    @extend_schema(
        operation_id="usage_quarantine_list",
        parameters=[
            *LIST_PARAMETERS,
            OpenApiParameter("status", str, enum=list(QuarantineStatus.values)),
            OpenApiParameter("code", str, description="Only refused for this reason"),
        ],
        responses=inline_serializer(
            "QuarantinePage",
            {"data": QuarantinedEventSerializer(many=True), "next_cursor": serializers.CharField(allow_null=True)},
        ),
    )
    def get(self, request: Request) -> Response:
        """List refused events, newest first."""
        rows = metering_selectors.quarantined_queryset()
        status, code = request.query_params.get("status", ""), request.query_params.get("code", "")
        if status and status not in QuarantineStatus.values:
            detail = f"is one of {', '.join(QuarantineStatus.values)}"
            problem = FieldProblem("?status", "status_unknown", detail)
            raise RequestInvalid(f"The parameter 'status' {detail}.", problems=(problem,))
        if status:
            rows = rows.filter(status=status)
        if code:
            rows = rows.filter(code=code[:40])
        page, cursor = page_of(request, rows)
        return Response({"data": QuarantinedEventSerializer(page, many=True).data, "next_cursor": cursor})


class QuarantineReplay(ApiView):
    """The way back in."""

    scopes = {"POST": Scope.EVENTS_WRITE.value}

    @extend_schema(
        operation_id="usage_quarantine_replay",
        request=EmptySerializer,
        responses=IntakeResultSerializer,
        parameters=[IDEMPOTENCY_PARAMETER],
    )
    def post(self, request: Request, reference: str) -> Response:
        """Send a refused event in once more, under its own id; an event that is stored already is not counted again."""
        self.read(EmptySerializer)
        event = metering_selectors.quarantined_by_reference(reference)
        result = usage_intake.quarantine_replay(quarantined_id=event.id, actor=self.actor, at=self.at)
        return Response(result.to_document())
