"""Payments: tries to collect, and what became of them."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api import pagination
from apps.api.base import IDEMPOTENCY_PARAMETER, ApiView
from apps.api.schema import page
from apps.api.serializers import EmptySerializer, InstantField, MoneyField, PublicIdField
from apps.customers import selectors as customer_selectors
from apps.payments import selectors
from apps.workflows import collection


class PaymentSerializer(serializers.Serializer):
    """One try to collect an invoice."""

    id = PublicIdField()
    invoice = PublicIdField(source="invoice.public_id")
    sequence = serializers.IntegerField()
    status = serializers.SerializerMethodField()
    amount = MoneyField("amount_minor")
    gateway = serializers.CharField()
    gateway_reference = serializers.CharField()
    failure_code = serializers.CharField()
    failure_kind = serializers.CharField()
    opened_at = InstantField()
    resolved_at = InstantField(allow_null=True)
    next_lookup_at = InstantField(allow_null=True)

    def get_status(self, row: Any) -> str:
        """Return created, submitted, succeeded, failed or unknown."""
        return str(row.status).lower()


class PaymentList(ApiView):
    """All payments."""

    scopes = {"GET": "payments:write"}

    @extend_schema(parameters=pagination.LIST_PARAMETERS, responses=page(PaymentSerializer))
    def get(self, request: Request) -> Response:
        """List payments, newest first, of all invoices or of one customer's."""
        rows = selectors.attempts_queryset()
        if reference := request.query_params.get("customer"):
            rows = rows.filter(invoice__customer=customer_selectors.customer_by_reference(reference))
        rows_shown, cursor = pagination.page_of(request, rows)
        return Response({"data": PaymentSerializer(rows_shown, many=True).data, "next_cursor": cursor})


class PaymentDetail(ApiView):
    """One payment."""

    scopes = {"GET": "payments:write"}

    @extend_schema(responses=PaymentSerializer)
    def get(self, request: Request, reference: str) -> Response:
        """Return a payment."""
        return Response(PaymentSerializer(selectors.attempt_by_reference(reference)).data)


class PaymentResolve(ApiView):
    """Ask what became of a payment."""

    scopes = {"POST": "payments:write"}
    is_money = True
    is_one_unit = False

    @extend_schema(request=EmptySerializer, responses=PaymentSerializer, parameters=[IDEMPOTENCY_PARAMETER])
    def post(self, request: Request, reference: str) -> Response:
        """Look the payment up at its gateway; it is never repeated."""
        self.read(EmptySerializer)
        attempt = selectors.attempt_by_reference(reference)
        now_at = customer_selectors.customer_now(customer=attempt.invoice.customer, at=self.at)
        resolved = collection.payment_resolve(attempt_id=attempt.id, actor=self.actor, at=now_at)
        return Response(PaymentSerializer(resolved).data)
