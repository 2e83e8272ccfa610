"""What was refused, with reasons, and the way back in."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.base import IDEMPOTENCY_PARAMETER, ApiView
from apps.api.errors import RequestInvalid
from apps.api.pagination import LIST_PARAMETERS, page_of
from apps.api.serializers import EmptySerializer, InstantField, PublicIdField, StrictSerializer
from apps.api.v1.usage_events import IntakeResultSerializer
from apps.common.errors import FieldProblem
from apps.identity.models import Scope
from apps.metering import quarantine, unmatched
from apps.metering import selectors as metering_selectors
from apps.metering.models import QuarantineStatus
from apps.workflows import quarantine as quarantine_workflow
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
    customer = serializers.CharField(source="customer_reference")
    received_at = InstantField()
    replayed_at = InstantField(allow_null=True)
    edits = serializers.SerializerMethodField()
    edited_by = serializers.CharField(source="edited_by_name")
    edit_comment = serializers.CharField()
    closed_at = InstantField(allow_null=True)
    closed_by = serializers.CharField(source="closed_by_name")
    close_reason = serializers.CharField()
    close_comment = serializers.CharField()

    @extend_schema_field({"type": ["string", "null"]})
    def get_edits(self, row: Any) -> str | None:
        """Return the version that this one was made of."""
        return row.edits.public_id if row.edits is not None else None


class QuarantineEditSerializer(StrictSerializer):
    """Another version of a refused event, and why."""

    raw = serializers.CharField(trim_whitespace=False, help_text="The event's text as it should have been sent.")
    comment = serializers.CharField(max_length=500)


class QuarantineStoreSerializer(StrictSerializer):
    """Another id for a fact whose own was given twice, and why."""

    event_id = serializers.CharField(max_length=255)
    comment = serializers.CharField(max_length=500)


class QuarantineDiscardSerializer(StrictSerializer):
    """Why a refused event is no usage."""

    reason_code = serializers.CharField(max_length=60)
    comment = serializers.CharField(max_length=500)


class QuarantineReplayAllSerializer(StrictSerializer):
    """Which refused events to send in again: of one reason, of one customer, or both; the oldest thousand."""

    code = serializers.CharField(max_length=40, required=False, default="")
    customer = serializers.CharField(max_length=255, required=False, default="", help_text="As the events name it.")


class BulkReplaySerializer(serializers.Serializer[Any]):
    """What became of them."""

    replayed = serializers.IntegerField()
    refused = serializers.DictField(child=serializers.IntegerField(), help_text="By the reason of now.")
    waiting = serializers.IntegerField(help_text="How many of the kind still wait.")


class QuarantineCountSerializer(serializers.Serializer[Any]):
    """What waits for one reason, by age; each span holds those of the shorter ones."""

    code = serializers.CharField()
    count = serializers.IntegerField()
    customers = serializers.IntegerField()
    within_hour = serializers.IntegerField()
    within_day = serializers.IntegerField()
    within_week = serializers.IntegerField()
    older = serializers.IntegerField()
    oldest_received_at = InstantField()


class UnmatchedEventSerializer(serializers.Serializer[Any]):
    """One accepted event that no meter counts."""

    id = serializers.CharField(source="event_id")
    source = serializers.CharField()  # type: ignore[assignment]  # a field, taken out of the class
    occurred_at = InstantField()
    properties = serializers.JSONField()


class UnmatchedSerializer(serializers.Serializer[Any]):
    """Accepted events of one type that no meter counted for one reason, with the remedy."""

    event_type = serializers.CharField()
    reason = serializers.CharField()
    event_count = serializers.IntegerField()
    first_date = serializers.DateField()
    last_date = serializers.DateField()
    last_received_at = InstantField()
    remedy = serializers.CharField()
    sample = UnmatchedEventSerializer(allow_null=True)


class QuarantineList(ApiView):
    """All refused events."""

    scopes = {"GET": Scope.USAGE_READ.value}

    @extend_schema(
        operation_id="usage_quarantine_list",
        parameters=[
            *LIST_PARAMETERS,
            OpenApiParameter("status", str, enum=list(QuarantineStatus.values)),
            OpenApiParameter("code", str, description="Only refused for this reason"),
            OpenApiParameter("customer", str, description="Only of this customer, as the events name it"),
        ],
        responses=inline_serializer(
            "QuarantinePage",
            {"data": QuarantinedEventSerializer(many=True), "next_cursor": serializers.CharField(allow_null=True)},
        ),
    )
    def get(self, request: Request) -> Response:
        """List refused events, newest first."""
        rows = metering_selectors.quarantined_queryset().select_related("edits")
        status, code = request.query_params.get("status", ""), request.query_params.get("code", "")
        if status and status not in QuarantineStatus.values:
            detail = f"is one of {', '.join(QuarantineStatus.values)}"
            problem = FieldProblem("?status", "status_unknown", detail)
            raise RequestInvalid(f"The parameter 'status' {detail}.", problems=(problem,))
        if status:
            rows = rows.filter(status=status)
        if code:
            rows = rows.filter(code=code[:40])
        if customer := request.query_params.get("customer", ""):
            rows = rows.filter(customer_reference=customer[:255])
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


class QuarantineSummary(ApiView):
    """How much waits."""

    scopes = {"GET": Scope.USAGE_READ.value}

    @extend_schema(
        operation_id="usage_quarantine_summary",
        responses=inline_serializer("QuarantineSummary", {"data": QuarantineCountSerializer(many=True)}),
    )
    def get(self, request: Request) -> Response:
        """Count what waits by reason and age, the most first."""
        counts = quarantine.quarantine_counts(at=self.at)
        return Response({"data": QuarantineCountSerializer(counts, many=True).data})


class QuarantineReplayAll(ApiView):
    """The way back in for many."""

    scopes = {"POST": Scope.EVENTS_WRITE.value}

    @extend_schema(
        operation_id="usage_quarantine_replay_all",
        request=QuarantineReplayAllSerializer,
        responses=BulkReplaySerializer,
        parameters=[IDEMPOTENCY_PARAMETER],
    )
    def post(self, request: Request) -> Response:
        """Send in again what waits for a reason or of a customer; ask again while `waiting` goes down."""
        data = self.read(QuarantineReplayAllSerializer)
        result = quarantine_workflow.quarantine_replay_all(
            code=data["code"], customer_reference=data["customer"], actor=self.actor, at=self.at
        )
        return Response(BulkReplaySerializer(result).data)


class QuarantineCommand(ApiView):
    """What a person does with one refused event."""

    scopes = {"POST": Scope.INVOICES_WRITE.value}


class QuarantineEdit(QuarantineCommand):
    """Another version."""

    @extend_schema(
        operation_id="usage_quarantine_edit",
        request=QuarantineEditSerializer,
        responses={201: QuarantinedEventSerializer},
        parameters=[IDEMPOTENCY_PARAMETER],
    )
    def post(self, request: Request, reference: str) -> Response:
        """Keep another version, to be replayed instead; the event stays as it came."""
        event = metering_selectors.quarantined_by_reference(reference)
        data = self.read(QuarantineEditSerializer)
        edited = quarantine.quarantine_edit(quarantined_id=event.id, **data, actor=self.actor, at=self.at)
        return Response(QuarantinedEventSerializer(edited).data, status=201)


class QuarantineStore(QuarantineCommand):
    """A fact of its own."""

    @extend_schema(
        operation_id="usage_quarantine_store",
        request=QuarantineStoreSerializer,
        responses={201: QuarantinedEventSerializer},
        parameters=[IDEMPOTENCY_PARAMETER],
    )
    def post(self, request: Request, reference: str) -> Response:
        """Take an event whose id was given to two facts as one of its own, under another id."""
        event = metering_selectors.quarantined_by_reference(reference)
        data = self.read(QuarantineStoreSerializer)
        stored = quarantine_workflow.quarantine_store_under_new_id(
            quarantined_id=event.id, **data, actor=self.actor, at=self.at
        )
        return Response(QuarantinedEventSerializer(stored).data, status=201)


class QuarantineDiscard(QuarantineCommand):
    """No usage."""

    @extend_schema(
        operation_id="usage_quarantine_discard",
        request=QuarantineDiscardSerializer,
        responses=QuarantinedEventSerializer,
        parameters=[IDEMPOTENCY_PARAMETER],
    )
    def post(self, request: Request, reference: str) -> Response:
        """Say that a refused event is no usage; it is kept."""
        event = metering_selectors.quarantined_by_reference(reference)
        data = self.read(QuarantineDiscardSerializer)
        discarded = quarantine.quarantine_discard(quarantined_id=event.id, **data, actor=self.actor, at=self.at)
        return Response(QuarantinedEventSerializer(discarded).data)


class UnmatchedList(ApiView):
    """Accepted and not counted."""

    scopes = {"GET": Scope.USAGE_READ.value}

    @extend_schema(
        operation_id="usage_unmatched_list",
        responses=inline_serializer("UnmatchedUsage", {"data": UnmatchedSerializer(many=True)}),
    )
    def get(self, request: Request) -> Response:
        """Return what no meter counts by type and reason, with a sample and what to do, the most first."""
        return Response({"data": UnmatchedSerializer(unmatched.unmatched_lines(), many=True).data})
