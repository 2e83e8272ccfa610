"""Corrections of usage: cancel, amend, back-fill; decided by somebody else above the bound; taken back in one step."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api import pagination
from apps.api.base import DRY_RUN_PARAMETER, IDEMPOTENCY_PARAMETER, ApiView
from apps.api.errors import RequestInvalid
from apps.api.schema import page
from apps.api.serializers import (
    DecimalTextField,
    ExactField,
    InstantField,
    PublicIdField,
    ReferenceField,
    StrictSerializer,
    money_document,
)
from apps.common.errors import FieldProblem
from apps.identity.models import Scope
from apps.metering import corrected_events, corrections
from apps.metering.correction_documents import EVENTS_MAX, CorrectionKind, CorrectionReason, CorrectionStatus
from apps.metering.corrections import CorrectionTerms
from apps.workflows import usage_corrections
from apps.workflows.usage_corrections import CorrectionOrder, MeterBackfill

_PARAMETERS = [IDEMPOTENCY_PARAMETER, DRY_RUN_PARAMETER]
_EFFECT_LINE = {
    "type": "object",
    "properties": {
        "meter": {"type": "string"},
        "version": {"type": "integer"},
        "unit_name": {"type": "string"},
        "units_change": {"type": "string", "example": "-5"},
    },
}


class CorrectionReasonSerializer(StrictSerializer):
    """Why."""

    reason_code = serializers.ChoiceField(choices=CorrectionReason.choices)
    comment = serializers.CharField(max_length=500)


class CorrectionPostSerializer(CorrectionReasonSerializer):
    """What is to be corrected: events, or for a back-fill the usage of before a meter's definition."""

    kind = serializers.ChoiceField(choices=CorrectionKind.choices)
    evidence_url = serializers.URLField(max_length=500, required=False, default="")
    events = serializers.ListField(
        child=serializers.DictField(),
        required=False,
        max_length=EVENTS_MAX,
        help_text="cancel: source and id. amend: beside them what is to be different. backfill: whole events.",
    )
    meter = ReferenceField(required=False, help_text="backfill without events: the meter that came after them.")
    customer = ReferenceField(required=False, help_text="With a meter: whose usage.")

    def get_fields(self) -> dict[str, Any]:
        """Return the fields; one of them is named by a word of the language."""
        window = {
            "from": InstantField(required=False, help_text="With a meter: begin, included."),
            "to": InstantField(required=False, help_text="With a meter: end, excluded."),
        }
        return {**super().get_fields(), **window}


class DecisionSerializer(StrictSerializer):
    """What who decides says."""

    comment = serializers.CharField(max_length=500)


class CorrectionSerializer(serializers.Serializer[Any]):
    """A correction: what it does, who asked, who decided, and what it changes in units."""

    id = PublicIdField()
    kind = serializers.CharField()
    status = serializers.CharField()
    reason_code = serializers.CharField()
    comment = serializers.CharField()
    evidence_url = serializers.CharField()
    event_count = serializers.IntegerField()
    is_within_bound = serializers.BooleanField()
    is_for_newer_meters = serializers.BooleanField()
    counters = serializers.SerializerMethodField()
    countered_by = serializers.SerializerMethodField()
    effect = serializers.SerializerMethodField()
    document_effect = serializers.SerializerMethodField()
    requested_by = serializers.CharField(source="requested_by_name")
    requested_at = InstantField()
    decided_by = serializers.CharField(source="decided_by_name")
    decided_at = InstantField(allow_null=True)
    decision_comment = serializers.CharField()
    applied_at = InstantField(allow_null=True)

    @extend_schema_field({"type": ["string", "null"]})
    def get_counters(self, row: Any) -> str | None:
        """Return the correction that this one takes back."""
        return row.counters.public_id if row.counters is not None else None

    @extend_schema_field({"type": ["string", "null"]})
    def get_countered_by(self, row: Any) -> str | None:
        """Return the correction that takes this one back, or would."""
        counter = corrections.counter_of(correction=row)
        return counter.public_id if counter is not None else None

    @extend_schema_field(
        {
            "type": "object",
            "properties": {
                "is_whole": {"type": "boolean"},
                "meters": {"type": "array", "items": _EFFECT_LINE},
                "lines": {"type": "array", "items": {**_EFFECT_LINE, "additionalProperties": True}},
                "lines_left_out": {"type": "integer"},
            },
        }
    )
    def get_effect(self, row: Any) -> dict[str, Any]:
        """Return the change in units by meter, and the largest changes by meter and customer."""
        effect: dict[str, Any] = row.effect
        return effect

    @extend_schema_field(
        {
            "type": ["object", "null"],
            "properties": {
                "is_whole": {"type": "boolean"},
                "documents": {"type": "array", "items": {"type": "object", "additionalProperties": True}},
            },
        }
    )
    def get_document_effect(self, row: Any) -> dict[str, Any] | None:
        """Return by how much final documents would differ, before tax; the difference becomes an adjustment."""
        if row.document_effect is None:
            return None
        documents = [
            {
                **{name: document[name] for name in ("invoice", "number", "period", "customer")},
                "change": money_document(document["amount_minor"], document["currency"]),
            }
            for document in row.document_effect["documents"]
        ]
        return {"is_whole": row.document_effect["is_whole"], "documents": documents}


class CorrectedEventSerializer(serializers.Serializer[Any]):
    """One event of a correction: what was, and what is instead."""

    position = serializers.IntegerField()
    source = serializers.CharField()  # type: ignore[assignment]  # a field, taken out of the class
    event_id = serializers.CharField()
    replaced_by = serializers.CharField(source="after_event_id")
    before = serializers.SerializerMethodField()
    after = serializers.SerializerMethodField()

    @extend_schema_field({"type": ["object", "null"]})
    def get_before(self, row: Any) -> dict[str, Any] | None:
        """Return the event that counts no more."""
        return None if row.before is None else corrected_events.document_shown(row.before)

    @extend_schema_field({"type": ["object", "null"]})
    def get_after(self, row: Any) -> dict[str, Any] | None:
        """Return the event that counts instead."""
        return None if row.after is None else corrected_events.document_shown(row.after)


class BoundSerializer(serializers.Serializer[Any]):
    """How much one person, or one key, may correct alone."""

    events_max = serializers.IntegerField()
    units_max = ExactField()
    comment = serializers.CharField()
    set_by = serializers.CharField(source="set_by_name")
    set_at = InstantField(allow_null=True)


class BoundPostSerializer(StrictSerializer):
    """Another bound from now on."""

    events_max = serializers.IntegerField(min_value=0, max_value=EVENTS_MAX)
    units_max = DecimalTextField()
    comment = serializers.CharField(max_length=500)


class CorrectionList(ApiView):
    """All corrections of usage."""

    scopes = {"GET": Scope.USAGE_READ.value, "POST": Scope.INVOICES_WRITE.value}
    is_money = True
    allows_dry_run = True

    @extend_schema(
        parameters=[
            *pagination.LIST_PARAMETERS,
            OpenApiParameter("status", str, enum=list(CorrectionStatus.values)),
        ],
        responses=page(CorrectionSerializer),
    )
    def get(self, request: Request) -> Response:
        """List them, newest first."""
        rows = corrections.corrections_queryset()
        status = request.query_params.get("status", "")
        if status and status not in CorrectionStatus.values:
            detail = f"is one of {', '.join(CorrectionStatus.values)}"
            problem = FieldProblem("?status", "status_unknown", detail)
            raise RequestInvalid(f"The parameter 'status' {detail}.", problems=(problem,))
        if status:
            rows = rows.filter(status=status)
        rows_shown, cursor = pagination.page_of(request, rows)
        return Response({"data": CorrectionSerializer(rows_shown, many=True).data, "next_cursor": cursor})

    @extend_schema(request=CorrectionPostSerializer, responses={201: CorrectionSerializer}, parameters=_PARAMETERS)
    def post(self, request: Request) -> Response:
        """
        Correct usage: at once up to the tenant's bound, else it waits for somebody else's approval.

        What was invoiced already is found by itself and becomes an adjustment. With `dry_run` see what it would change.
        """
        data = self.read(CorrectionPostSerializer)
        terms = CorrectionTerms(
            kind=data["kind"],
            reason_code=data["reason_code"],
            comment=data["comment"],
            evidence_url=data["evidence_url"],
        )
        if "meter" in data:
            correction = usage_corrections.meter_backfill_request(
                asked=_meter_backfill(data), terms=terms, actor=self.actor, at=self.at
            )
        else:
            order = CorrectionOrder(terms=terms, events=data.get("events", ()))
            correction = usage_corrections.correction_request(order=order, actor=self.actor, at=self.at)
        return Response(CorrectionSerializer(correction).data, status=201)


def _meter_backfill(data: dict[str, Any]) -> MeterBackfill:
    missing = [name for name in ("customer", "from", "to") if name not in data]
    problems = [FieldProblem(f"/{name}", "required", "Name it: whose usage, from when, to when.") for name in missing]
    if data["kind"] != CorrectionKind.BACKFILL.value or "events" in data:
        detail = "Leave it out, or send kind backfill without events: a meter is back-filled from what is stored."
        problems.append(FieldProblem("/meter", "meter_not_needed", detail))
    if problems:
        raise RequestInvalid("The back-fill of a meter is not whole.", problems=tuple(problems))
    return MeterBackfill(meter=data["meter"], customer=data["customer"], starts_at=data["from"], ends_at=data["to"])


class CorrectionDetail(ApiView):
    """One correction."""

    scopes = {"GET": Scope.USAGE_READ.value}

    @extend_schema(responses=CorrectionSerializer)
    def get(self, request: Request, reference: str) -> Response:
        """Return it with its effect; its events are a list of their own."""
        return Response(CorrectionSerializer(corrections.correction_by_reference(reference)).data)


class CorrectionEventList(ApiView):
    """The events of one correction."""

    scopes = {"GET": Scope.USAGE_READ.value}

    @extend_schema(parameters=pagination.LIST_PARAMETERS, responses=page(CorrectedEventSerializer))
    def get(self, request: Request, reference: str) -> Response:
        """List them with what was and what is instead, the last one first."""
        rows = corrections.correction_by_reference(reference).events.all()
        rows_shown, cursor = pagination.page_of(request, rows)
        return Response({"data": CorrectedEventSerializer(rows_shown, many=True).data, "next_cursor": cursor})


class CorrectionCommand(ApiView):
    """What all commands on a correction have in common."""

    scopes = {"POST": Scope.INVOICES_WRITE.value}
    is_money = True
    allows_dry_run = True


class CorrectionApprove(CorrectionCommand):
    """Agree."""

    @extend_schema(request=DecisionSerializer, responses=CorrectionSerializer, parameters=_PARAMETERS)
    def post(self, request: Request, reference: str) -> Response:
        """Approve and apply in one moment; never by the key or person that asked."""
        correction = usage_corrections.correction_approve(
            correction_id=corrections.correction_by_reference(reference).id,
            comment=self.read(DecisionSerializer)["comment"],
            actor=self.actor,
            at=self.at,
        )
        return Response(CorrectionSerializer(correction).data)


class CorrectionReject(CorrectionCommand):
    """Decide against."""

    @extend_schema(request=DecisionSerializer, responses=CorrectionSerializer, parameters=_PARAMETERS)
    def post(self, request: Request, reference: str) -> Response:
        """Leave usage as it is; never by the key or person that asked."""
        correction = corrections.correction_reject(
            correction_id=corrections.correction_by_reference(reference).id,
            comment=self.read(DecisionSerializer)["comment"],
            actor=self.actor,
            at=self.at,
        )
        return Response(CorrectionSerializer(correction).data)


class CorrectionWithdraw(CorrectionCommand):
    """Take back before it is decided."""

    @extend_schema(request=DecisionSerializer, responses=CorrectionSerializer, parameters=_PARAMETERS)
    def post(self, request: Request, reference: str) -> Response:
        """Withdraw a correction that waits."""
        correction = corrections.correction_withdraw(
            correction_id=corrections.correction_by_reference(reference).id,
            comment=self.read(DecisionSerializer)["comment"],
            actor=self.actor,
            at=self.at,
        )
        return Response(CorrectionSerializer(correction).data)


class CorrectionCounter(CorrectionCommand):
    """Take back after it was applied."""

    @extend_schema(request=CorrectionReasonSerializer, responses={201: CorrectionSerializer}, parameters=_PARAMETERS)
    def post(self, request: Request, reference: str) -> Response:
        """Undo an applied correction by another one, after which every quantity is what it was before."""
        data = self.read(CorrectionReasonSerializer)
        correction = usage_corrections.correction_counter(
            correction_id=corrections.correction_by_reference(reference).id, **data, actor=self.actor, at=self.at
        )
        return Response(CorrectionSerializer(correction).data, status=201)


class CorrectionBoundView(ApiView):
    """How much one person may correct alone."""

    scopes = {"GET": Scope.USAGE_READ.value, "POST": Scope.ADMIN.value}

    @extend_schema(responses=BoundSerializer)
    def get(self, request: Request) -> Response:
        """Return the bound that counts now."""
        return Response(BoundSerializer(corrections.correction_bound_current()).data)

    @extend_schema(request=BoundPostSerializer, responses={201: BoundSerializer}, parameters=[IDEMPOTENCY_PARAMETER])
    def post(self, request: Request) -> Response:
        """Set it; whoever sets it needs somebody else for every correction of their own while it counts."""
        data = self.read(BoundPostSerializer)
        bound = corrections.correction_bound_set(**data, actor=self.actor, at=self.at)
        return Response(BoundSerializer(bound).data, status=201)
