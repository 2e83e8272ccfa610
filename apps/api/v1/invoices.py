"""Invoices: read, preview, explain, finalise, collect."""

from datetime import UTC
from typing import Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api import pagination
from apps.api.base import DRY_RUN_PARAMETER, IDEMPOTENCY_PARAMETER, ApiView
from apps.api.errors import RequestInvalid
from apps.api.schema import page
from apps.api.serializers import (
    EmptySerializer,
    ExactField,
    InstantField,
    MoneyField,
    PublicIdField,
    ReferenceField,
    StrictSerializer,
)
from apps.api.v1.customers import CustomerSerializer
from apps.api.v1.payments import PaymentSerializer
from apps.common.errors import FieldProblem
from apps.customers import selectors as customer_selectors
from apps.invoices import selectors
from apps.invoices.documents import events_csv, pdf
from apps.invoices.models import InvoiceStatus
from apps.payments import selectors as payment_selectors
from apps.subscriptions import selectors as subscription_selectors
from apps.workflows import collection, cycle_close, explanations

_STATUSES = {status.value.lower(): status for status in InvoiceStatus}
_EXPANDABLE = ("customer",)
CSV_ROWS_MAX = 100_000

EXPAND_PARAMETER = OpenApiParameter("expand", str, description=f"one or more of: {', '.join(_EXPANDABLE)}")


class InvoiceSerializer(serializers.Serializer):
    """An invoice without its parts."""

    id = PublicIdField()
    number = serializers.CharField(allow_null=True)
    kind = serializers.SerializerMethodField()
    status = serializers.SerializerMethodField()
    is_overdue = serializers.SerializerMethodField()
    customer = serializers.SerializerMethodField()
    subscription = PublicIdField(source="subscription.public_id", default=None, allow_null=True)
    currency = serializers.CharField()
    discount = MoneyField("discount_minor")
    subtotal = MoneyField("subtotal_minor")
    tax = MoneyField("tax_minor")
    total = MoneyField("total_minor")
    credit = MoneyField("credit_minor")
    paid = MoneyField("paid_minor")
    due = MoneyField("due_minor")
    period_starts_at = InstantField(allow_null=True)
    period_ends_at = InstantField(allow_null=True)
    finalize_after_at = InstantField(allow_null=True)
    finalized_at = InstantField(allow_null=True)
    issue_date = serializers.DateField(allow_null=True)
    due_date = serializers.DateField(allow_null=True)
    paid_at = InstantField(allow_null=True)
    issues = serializers.JSONField()
    snapshot_hash = serializers.CharField()

    def get_status(self, row: Any) -> str:
        """Return draft, open, paid, uncollectible, void or discarded."""
        return str(row.status).lower()

    def get_kind(self, row: Any) -> str:
        """Return start, cycle or usage."""
        return str(row.kind).lower()

    def get_is_overdue(self, row: Any) -> bool:
        """Return whether something is owed after the due date, by the customer's own clock."""
        at = customer_selectors.customer_now(customer=row.customer, at=self.context["at"])
        return selectors.invoice_is_overdue(invoice=row, on_date=at.astimezone(UTC).date())

    @extend_schema_field({"oneOf": [{"type": "string"}, {"$ref": "#/components/schemas/Customer"}]})
    def get_customer(self, row: Any) -> Any:
        """Return the customer's id, or the customer when expanded."""
        if "customer" in self.context.get("expand", ()):
            return CustomerSerializer(row.customer).data
        return row.customer.public_id


class InvoiceLineSerializer(serializers.Serializer):
    """One priced line."""

    id = PublicIdField()
    position = serializers.IntegerField()
    code = serializers.CharField()
    kind = serializers.CharField()
    description = serializers.CharField()
    quantity = ExactField()
    unit = serializers.CharField(source="unit_name")
    service_starts_at = InstantField()
    service_ends_at = InstantField()
    net = MoneyField("net_minor", currency=lambda line: line.invoice.currency)
    discount = MoneyField("discount_minor", currency=lambda line: line.invoice.currency)
    tax = MoneyField("tax_minor", currency=lambda line: line.invoice.currency)
    tax_rate_percent = ExactField(allow_null=True)
    input_hash = serializers.CharField()
    output_hash = serializers.CharField()


class InvoiceDiscountSerializer(serializers.Serializer):
    """What one discount took from a document, and which of its uses that was."""

    discount = PublicIdField(source="applied_discount.public_id")
    code = serializers.CharField()
    name = serializers.CharField()
    amount = MoneyField("amount_minor", currency=lambda row: row.invoice.currency)
    use_number = serializers.IntegerField()
    uses_max = serializers.IntegerField(allow_null=True)


class InvoiceTaxSerializer(serializers.Serializer):
    """The tax of a document per jurisdiction and rate."""

    name = serializers.CharField()
    jurisdiction = serializers.CharField()
    category = serializers.CharField()
    treatment = serializers.CharField()
    rate_percent = ExactField()
    base = MoneyField("base_minor", currency=lambda row: row.invoice.currency)
    tax = MoneyField("tax_minor", currency=lambda row: row.invoice.currency)


class InvoiceDetailSerializer(InvoiceSerializer):
    """An invoice with lines, discounts, taxes and payments."""

    lines = InvoiceLineSerializer(many=True, source="lines.all")
    discounts = InvoiceDiscountSerializer(many=True, source="discounts.all")
    taxes = InvoiceTaxSerializer(many=True, source="tax_lines.all")
    payments = serializers.SerializerMethodField()

    @extend_schema_field(PaymentSerializer(many=True))
    def get_payments(self, row: Any) -> list[dict[str, Any]]:
        """Return the tries to collect it, first to last."""
        return list(PaymentSerializer(payment_selectors.attempts_of(invoice_id=row.id), many=True).data)


class PreviewSerializer(StrictSerializer):
    """Whose next invoice."""

    subscription = ReferenceField()


class InvoiceView(ApiView):
    """What invoice routes share."""

    def shown(self, invoice: Any) -> dict[str, Any]:
        """Return an invoice with its parts, as it is now."""
        found = selectors.invoice_by_reference(invoice.public_id)
        return dict(InvoiceDetailSerializer(found, context={"at": self.at, "expand": self.expanded()}).data)

    def expanded(self) -> tuple[str, ...]:
        """
        Return what to show in full.

        :raises RequestInvalid: for something that cannot be expanded
        """
        names = tuple(name for name in self.request.query_params.get("expand", "").split(",") if name)
        for name in names:
            if name not in _EXPANDABLE:
                detail = f"'{name[:40]}' cannot be expanded; use {', '.join(_EXPANDABLE)}"
                raise RequestInvalid(detail, problems=(FieldProblem("?expand", "expand_unknown", detail),))
        return names


class InvoiceList(InvoiceView):
    """All invoices."""

    scopes = {"GET": "invoices:read"}

    @extend_schema(
        parameters=[
            *pagination.LIST_PARAMETERS,
            EXPAND_PARAMETER,
            OpenApiParameter("customer", str),
            OpenApiParameter("status", str, enum=sorted(_STATUSES)),
            OpenApiParameter("overdue", bool),
            OpenApiParameter("currency", str),
            OpenApiParameter("number", str),
        ],
        responses=page(InvoiceSerializer),
    )
    def get(self, request: Request) -> Response:
        """List invoices, newest first."""
        rows = selectors.invoices_queryset().select_related("customer__test_clock")
        asked = request.query_params
        if reference := asked.get("customer"):
            rows = rows.filter(customer=customer_selectors.customer_by_reference(reference))
        if status := asked.get("status"):
            if status not in _STATUSES:
                detail = f"must be one of {', '.join(sorted(_STATUSES))}"
                raise RequestInvalid(
                    f"The parameter 'status' {detail}.", problems=(FieldProblem("?status", "status_unknown", detail),)
                )
            rows = rows.filter(status=_STATUSES[status])
        overdue = asked.get("overdue", "false").lower()
        if overdue not in ("true", "false"):
            detail = "must be true or false"
            raise RequestInvalid(
                f"The parameter 'overdue' {detail}.", problems=(FieldProblem("?overdue", "overdue_invalid", detail),)
            )
        if overdue == "true":
            rows = rows.filter(id__in=selectors.invoices_overdue(on_date=self.at.date()).values("id"))
        for name in ("currency", "number"):
            if value := asked.get(name):
                rows = rows.filter(**{name: value})
        rows_shown, cursor = pagination.page_of(request, rows)
        context = {"at": self.at, "expand": self.expanded()}
        return Response({"data": InvoiceSerializer(rows_shown, many=True, context=context).data, "next_cursor": cursor})


class InvoiceDetail(InvoiceView):
    """One invoice."""

    scopes = {"GET": "invoices:read"}

    @extend_schema(parameters=[EXPAND_PARAMETER], responses=InvoiceDetailSerializer)
    def get(self, request: Request, reference: str) -> Response:
        """Return an invoice by id or number, with lines, taxes and payments."""
        return Response(self.shown(selectors.invoice_by_reference(reference)))


class InvoicePreview(InvoiceView):
    """The next invoice as it would be."""

    scopes = {"POST": "invoices:read"}

    @extend_schema(request=PreviewSerializer, responses=OpenApiTypes.OBJECT)
    def post(self, request: Request) -> Response:
        """Run the real path for the running period and undo it."""
        data = self.read(PreviewSerializer)
        subscription = subscription_selectors.subscription_by_reference(data["subscription"])
        now_at = customer_selectors.customer_now(customer=subscription.customer, at=self.at)
        return Response(cycle_close.invoice_preview(subscription=subscription, actor=self.actor, at=now_at))


class InvoicePdf(InvoiceView):
    """The document."""

    scopes = {"GET": "invoices:read"}

    @extend_schema(responses={(200, "application/pdf"): OpenApiTypes.BINARY})
    def get(self, request: Request, reference: str) -> HttpResponse:
        """Return the PDF; the same bytes each time for an issued invoice."""
        invoice = selectors.invoice_by_reference(reference)
        response = HttpResponse(pdf.invoice_pdf(invoice_id=invoice.id), content_type="application/pdf")
        response["Content-Disposition"] = f'inline; filename="{invoice.number or invoice.public_id}.pdf"'
        return response


class InvoiceFinalize(InvoiceView):
    """Make a draft a document."""

    scopes = {"POST": "invoices:write"}
    is_money = True
    allows_dry_run = True

    @extend_schema(
        request=EmptySerializer,
        responses=InvoiceDetailSerializer,
        parameters=[IDEMPOTENCY_PARAMETER, DRY_RUN_PARAMETER],
    )
    def post(self, request: Request, reference: str) -> Response:
        """Take in what came since, number, freeze and book."""
        self.read(EmptySerializer)
        invoice = selectors.invoice_by_reference(reference)
        now_at = customer_selectors.customer_now(customer=invoice.customer, at=self.at)
        return Response(
            self.shown(cycle_close.invoice_refresh_and_finalize(invoice_id=invoice.id, actor=self.actor, at=now_at))
        )


class InvoiceCollect(InvoiceView):
    """Charge what is owed."""

    scopes = {"POST": "payments:write"}
    is_money = True
    is_one_unit = False

    @extend_schema(request=EmptySerializer, responses=PaymentSerializer, parameters=[IDEMPOTENCY_PARAMETER])
    def post(self, request: Request, reference: str) -> Response:
        """Charge the customer's default method and return the attempt with what became of it."""
        self.read(EmptySerializer)
        invoice = selectors.invoice_by_reference(reference)
        now_at = customer_selectors.customer_now(customer=invoice.customer, at=self.at)
        attempt = collection.invoice_collect(invoice_id=invoice.id, actor=self.actor, at=now_at)
        return Response(PaymentSerializer(attempt).data)


class InvoiceLineExplain(InvoiceView):
    """Why a line costs what it costs."""

    scopes = {"GET": "invoices:read"}

    @extend_schema(responses=OpenApiTypes.OBJECT)
    def get(self, request: Request, reference: str, line_reference: str) -> Response:
        """Explain a line, recomputed from the raw events just now; the hashes say whether it agrees."""
        invoice = selectors.invoice_by_reference(reference)
        line = selectors.invoice_line_of(invoice=invoice, reference=line_reference)
        document = explanations.line_explain(line=line).to_document()
        document["events"]["csv"] = request.path.removesuffix("explain") + "events.csv"
        return Response(document)


class InvoiceLineEvents(InvoiceView):
    """The raw events behind a line."""

    scopes = {"GET": "invoices:read"}

    @extend_schema(responses={(200, "text/csv"): OpenApiTypes.STR})
    def get(self, request: Request, reference: str, line_reference: str) -> HttpResponse:
        """Return the events that the line counted, as CSV."""
        invoice = selectors.invoice_by_reference(reference)
        line = selectors.invoice_line_of(invoice=invoice, reference=line_reference)
        events = explanations.line_events(line=line, limit=CSV_ROWS_MAX)
        response = HttpResponse(events_csv.events_csv(events=events), content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = f'attachment; filename="{line.public_id}-events.csv"'
        return response
