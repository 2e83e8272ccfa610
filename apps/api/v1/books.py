"""The journal, the books, billing runs and tax rates."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api import pagination
from apps.api.base import DRY_RUN_PARAMETER, IDEMPOTENCY_PARAMETER, ApiView
from apps.api.errors import RequestInvalid
from apps.api.schema import page
from apps.api.serializers import ExactField, InstantField, MoneyField, PublicIdField, StrictSerializer, money_document
from apps.common import ids
from apps.common.errors import FieldProblem, NotFound
from apps.invoices import selectors as invoice_selectors
from apps.invoices.models import BillingRun
from apps.ledger import selectors as ledger_selectors
from apps.messaging import selectors as messaging_selectors
from apps.taxes import selectors as tax_selectors
from apps.taxes import services as tax_services
from apps.taxes.services import TaxRateInput
from apps.workflows import cycle_close


class DomainEventSerializer(serializers.Serializer):
    """A fact of the journal."""

    id = PublicIdField()
    position = serializers.IntegerField()
    topic = serializers.CharField()
    schema_version = serializers.IntegerField()
    aggregate_type = serializers.CharField()
    sequence = serializers.IntegerField()
    payload = serializers.JSONField()
    actor = serializers.CharField(source="actor_label")
    at = InstantField()
    request_id = serializers.CharField()


class DomainEventList(ApiView):
    """The journal, replayable from any point."""

    scopes = {"GET": "invoices:read"}

    @extend_schema(
        parameters=[
            OpenApiParameter("after", int, description="position behind which to read; 0 from the beginning"),
            OpenApiParameter("type", str, description="one topic only"),
            pagination.LIST_PARAMETERS[0],
        ],
        responses=page(DomainEventSerializer),
    )
    def get(self, request: Request) -> Response:
        """Return events behind a position, in order; ask again behind the last one."""
        after = request.query_params.get("after", "0")
        if not after.isdecimal() or len(after) > 18:  # noqa: PLR2004
            raise RequestInvalid(
                "The parameter 'after' must be a position.",
                problems=(FieldProblem("?after", "after_invalid", "must be a whole number from 0"),),
            )
        limit = pagination.limit_of(request)
        events = messaging_selectors.domain_events_after(
            position=int(after), topic=request.query_params.get("type"), limit=limit + 1
        )
        rows_shown = events[:limit]
        cursor = str(rows_shown[-1].position) if len(events) > limit else None
        return Response({"data": DomainEventSerializer(rows_shown, many=True).data, "next_cursor": cursor})


class LedgerAccountSerializer(serializers.Serializer):
    """An account of the chart."""

    id = PublicIdField()
    code = serializers.CharField()
    name = serializers.CharField()
    kind = serializers.CharField()
    currency = serializers.CharField()


class BalanceSerializer(serializers.Serializer):
    """A currency's sum over all accounts."""

    currency = serializers.CharField()
    balance = MoneyField("balance_minor")


class AccountBalanceSerializer(BalanceSerializer):
    """An account's turnover and balance."""

    code = serializers.CharField()
    name = serializers.CharField()
    kind = serializers.CharField()
    debit = MoneyField("debit_minor")
    credit = MoneyField("credit_minor")


class TrialBalanceSerializer(serializers.Serializer):
    """The trial balance, as the document describes it."""

    as_of = InstantField(allow_null=True)
    accounts = AccountBalanceSerializer(many=True)
    totals = BalanceSerializer(many=True)


class LedgerAccountList(ApiView):
    """The chart of accounts."""

    scopes = {"GET": "invoices:read"}

    @extend_schema(responses=page(LedgerAccountSerializer))
    def get(self, request: Request) -> Response:
        """Return every account in order."""
        data = LedgerAccountSerializer(ledger_selectors.accounts(), many=True).data
        return Response({"data": data, "next_cursor": None})


class TrialBalance(ApiView):
    """The trial balance."""

    scopes = {"GET": "invoices:read"}

    @extend_schema(
        parameters=[OpenApiParameter("as_of", str, description="RFC 3339; without it, of all time")],
        responses=TrialBalanceSerializer,
    )
    def get(self, request: Request) -> Response:
        """Return every account's turnover and balance, and the totals, which are zero."""
        text = request.query_params.get("as_of")
        as_of = InstantField().run_validation(text) if text else None
        rows = ledger_selectors.trial_balance(as_of=as_of)
        return Response(
            {
                "as_of": InstantField().to_representation(as_of),
                "accounts": [
                    {
                        "code": row.code,
                        "name": row.name,
                        "kind": row.kind,
                        "currency": row.currency,
                        "debit": money_document(row.debit_minor, row.currency),
                        "credit": money_document(row.credit_minor, row.currency),
                        "balance": money_document(row.balance_minor, row.currency),
                    }
                    for row in rows
                ],
                "totals": [
                    {"currency": currency, "balance": money_document(minor, currency)}
                    for currency, minor in ledger_selectors.trial_balance_totals(rows=rows).items()
                ],
            }
        )


class BillingRunPostSerializer(StrictSerializer):
    """A run for what is due at an instant; now without one."""

    at = InstantField(required=False)


class BillingRunSerializer(serializers.Serializer):
    """A run and the outcome of each period it took; the outcomes add up."""

    id = PublicIdField()
    status = serializers.SerializerMethodField()
    trigger = serializers.CharField()
    started_at = InstantField()
    completed_at = InstantField(allow_null=True)
    counts = serializers.SerializerMethodField()

    def get_status(self, row: Any) -> str:
        """Return running or completed."""
        return str(row.status).lower()

    def get_counts(self, row: Any) -> dict[str, int]:
        """Return how many periods ended how."""
        return {
            "invoiced": row.invoiced_count,
            "nothing_due": row.nothing_due_count,
            "parked": row.parked_count,
            "total": row.invoiced_count + row.nothing_due_count + row.parked_count,
        }


class ParkedPeriodSerializer(serializers.Serializer):
    """A period that could not be closed, and why."""

    period = serializers.CharField()
    reason = serializers.CharField()


class BillingRunDetailSerializer(BillingRunSerializer):
    """A run with what it had to leave."""

    parked = ParkedPeriodSerializer(many=True)


class BillingRunList(ApiView):
    """Billing runs; start one."""

    scopes = {"GET": "invoices:read", "POST": "invoices:write"}
    is_money = True
    allows_dry_run = True
    # Each period is closed or parked in a transaction of its own; one around them all would keep half of a parked one.
    is_one_unit = False

    @extend_schema(parameters=pagination.LIST_PARAMETERS, responses=page(BillingRunSerializer))
    def get(self, request: Request) -> Response:
        """List runs, newest first."""
        rows_shown, cursor = pagination.page_of(request, invoice_selectors.billing_runs())
        return Response({"data": BillingRunSerializer(rows_shown, many=True).data, "next_cursor": cursor})

    @extend_schema(
        request=BillingRunPostSerializer,
        responses={201: BillingRunSerializer},
        parameters=[IDEMPOTENCY_PARAMETER, DRY_RUN_PARAMETER],
    )
    def post(self, request: Request) -> Response:
        """Close every period that is due and draft its invoice; customers on a test clock live by their clock."""
        at = self.read(BillingRunPostSerializer).get("at", self.at)
        if at > self.at:
            raise RequestInvalid(
                "A run cannot bill the future.",
                problems=(FieldProblem("/at", "in_the_future", "must not lie in the future; use a test clock"),),
            )
        run = cycle_close.billing_run_start(trigger="api", actor=self.actor, at=at, wall_at=self.at)
        return Response(BillingRunSerializer(invoice_selectors.billing_runs().get(id=run.id)).data, status=201)


class BillingRunDetail(ApiView):
    """One run."""

    scopes = {"GET": "invoices:read"}

    @extend_schema(responses=BillingRunDetailSerializer)
    def get(self, request: Request, reference: str) -> Response:
        """Return a run with its parked periods and their reasons."""
        try:
            run = invoice_selectors.billing_runs().filter(id=BillingRun.id_from_public(reference)).first()
        except ids.IdInvalid as error:
            raise NotFound(str(error)) from error
        if run is None:
            raise NotFound(f"There is no billing run '{reference}'.")
        parked = run.items.filter(outcome="PARKED").select_related("billing_period")
        return Response(
            {
                **BillingRunSerializer(run).data,
                "parked": [{"period": item.billing_period.public_id, "reason": item.reason} for item in parked],
            }
        )


class TaxRatePostSerializer(StrictSerializer):
    """A rate from a day on."""

    country = serializers.CharField(max_length=2)
    region = serializers.CharField(max_length=100, required=False, allow_blank=True)
    category = serializers.CharField(max_length=40, required=False)
    name = serializers.CharField(max_length=60)
    rate_percent = serializers.CharField(max_length=12)
    valid_from_date = serializers.DateField()


class TaxRateSerializer(serializers.Serializer):
    """A rate."""

    id = PublicIdField()
    country = serializers.CharField()
    region = serializers.CharField()
    category = serializers.CharField()
    name = serializers.CharField()
    rate_percent = ExactField()
    valid_from_date = serializers.DateField()


class TaxRateList(ApiView):
    """Tax rates of the static table."""

    scopes = {"GET": "catalog:write", "POST": "catalog:write"}

    @extend_schema(parameters=pagination.LIST_PARAMETERS, responses=page(TaxRateSerializer))
    def get(self, request: Request) -> Response:
        """List rates, newest first."""
        rows_shown, cursor = pagination.page_of(request, tax_selectors.tax_rates_queryset())
        return Response({"data": TaxRateSerializer(rows_shown, many=True).data, "next_cursor": cursor})

    @extend_schema(
        request=TaxRatePostSerializer, responses={201: TaxRateSerializer}, parameters=[IDEMPOTENCY_PARAMETER]
    )
    def post(self, request: Request) -> Response:
        """Add a rate; it ends the one before it for the same place and category."""
        rate = tax_services.tax_rate_add(
            data=TaxRateInput(**self.read(TaxRatePostSerializer)), actor=self.actor, at=self.at
        )
        return Response(TaxRateSerializer(rate).data, status=201)
