"""What was agreed with one subscription beyond its plan: prices of its own, and how its commitment stands."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api import pagination
from apps.api.base import IDEMPOTENCY_PARAMETER, ApiView
from apps.api.schema import page
from apps.api.serializers import InstantField, MoneyField, PublicIdField
from apps.api.v1.subscriptions import OverridePostSerializer
from apps.subscriptions import overrides, selectors
from apps.workflows import commitments


class OverrideSerializer(serializers.Serializer):
    """A price that was asked for, and what was decided."""

    id = PublicIdField()
    charge = serializers.CharField(source="charge_code")
    terms = serializers.JSONField()
    reason = serializers.CharField()
    status = serializers.SerializerMethodField()
    requested_by = serializers.CharField(source="requested_by_name")
    requested_at = InstantField()
    decided_by = serializers.CharField(source="decided_by_name")
    decided_at = InstantField(allow_null=True)
    comment = serializers.CharField()
    ended_at = InstantField(allow_null=True)

    def get_status(self, row: Any) -> str:
        """Return requested, approved, rejected or ended."""
        if row.is_approved is None:
            return "requested"
        if not row.is_approved:
            return "rejected"
        return "approved" if row.ended_at is None else "ended"


class CommitmentSerializer(serializers.Serializer):
    """A commitment in its running period, as if it were closed now."""

    starts_at = InstantField()
    ends_at = InstantField()
    committed = MoneyField("committed_minor")
    drawn = MoneyField("drawn_minor")
    remaining = MoneyField("remaining_minor")
    true_up = MoneyField("true_up_minor")
    accrued = MoneyField("accrued_minor")


class SubscriptionOverrideList(ApiView):
    """Prices that a subscription has or asked for."""

    scopes = {"GET": "customers:write", "POST": "customers:write"}

    @extend_schema(parameters=pagination.LIST_PARAMETERS, responses=page(OverrideSerializer))
    def get(self, request: Request, reference: str) -> Response:
        """List them, newest first."""
        subscription = selectors.subscription_by_reference(reference)
        rows = overrides.overrides_queryset().filter(subscription=subscription)
        rows_shown, cursor = pagination.page_of(request, rows)
        return Response({"data": OverrideSerializer(rows_shown, many=True).data, "next_cursor": cursor})

    @extend_schema(
        request=OverridePostSerializer, responses={201: OverrideSerializer}, parameters=[IDEMPOTENCY_PARAMETER]
    )
    def post(self, request: Request, reference: str) -> Response:
        """Ask for another price of one charge; it is billed once somebody else approves it in the back office."""
        data = self.read(OverridePostSerializer)
        override = overrides.price_override_request(
            subscription=selectors.subscription_by_reference(reference),
            terms=data["terms"],
            reason=data["reason"],
            actor=self.actor,
            at=self.at,
        )
        return Response(OverrideSerializer(override).data, status=201)


class SubscriptionCommitment(ApiView):
    """How a subscription's commitment stands."""

    scopes = {"GET": "customers:write"}

    @extend_schema(responses=CommitmentSerializer)
    def get(self, request: Request, reference: str) -> Response:
        """Return what is drawn of it, what would be trued up if its period ended now, and what has accrued."""
        subscription = selectors.subscription_by_reference(reference)
        return Response(CommitmentSerializer(commitments.commitment_status(subscription=subscription, at=self.at)).data)
