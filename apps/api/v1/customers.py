"""Customers, their payment methods, and test clocks."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api import pagination
from apps.api.base import IDEMPOTENCY_PARAMETER, ApiView
from apps.api.schema import page
from apps.api.serializers import InstantField, PublicIdField, ReferenceField, StrictSerializer
from apps.common.errors import FieldProblem, Invalid
from apps.customers import selectors, services
from apps.customers.inputs import CustomerInput
from apps.payments import selectors as payment_selectors
from apps.payments import services as payment_services
from apps.workflows import clocks

_ADDRESS = {
    "line1": "address_line1",
    "line2": "address_line2",
    "city": "city",
    "postal_code": "postal_code",
    "region": "region",
    "country": "country",
}


class AddressSerializer(StrictSerializer):
    """Where a customer is; the country decides taxes."""

    line1 = serializers.CharField(max_length=200, required=False, allow_blank=True)
    line2 = serializers.CharField(max_length=200, required=False, allow_blank=True)
    city = serializers.CharField(max_length=100, required=False, allow_blank=True)
    postal_code = serializers.CharField(max_length=20, required=False, allow_blank=True)
    region = serializers.CharField(max_length=100, required=False, allow_blank=True)
    country = serializers.CharField(max_length=2, required=False, allow_blank=True)


class _ProfileSerializer(StrictSerializer):
    name = serializers.CharField(max_length=200, required=False)
    email = serializers.EmailField(required=False, allow_blank=True)
    timezone = serializers.CharField(max_length=64, required=False)
    locale = serializers.CharField(max_length=20, required=False)
    billing_address = AddressSerializer(required=False)
    tax_ids = serializers.ListField(child=serializers.CharField(max_length=40), max_length=1, required=False)
    payment_terms_days = serializers.IntegerField(min_value=0, max_value=365, required=False)
    is_auto_collected = serializers.BooleanField(required=False)


class CustomerPatchSerializer(_ProfileSerializer):
    """What of a customer may change."""


class CustomerPostSerializer(_ProfileSerializer):
    """A new customer."""

    external_id = serializers.CharField(max_length=120)
    name = serializers.CharField(max_length=200)
    currency = serializers.CharField(max_length=3)
    test_clock = ReferenceField(required=False, allow_null=True)


class CustomerSerializer(serializers.Serializer):
    """A customer."""

    id = PublicIdField()
    external_id = serializers.CharField()
    name = serializers.CharField()
    email = serializers.CharField()
    currency = serializers.CharField()
    timezone = serializers.CharField()
    locale = serializers.CharField()
    billing_address = serializers.SerializerMethodField()
    tax_ids = serializers.SerializerMethodField()
    payment_terms_days = serializers.IntegerField()
    is_auto_collected = serializers.BooleanField()
    test_clock = PublicIdField(source="test_clock.public_id", default=None, allow_null=True)
    created_at = InstantField()

    def get_billing_address(self, row: Any) -> dict[str, str]:
        """Return the address by its parts."""
        return {outside: getattr(row, inside) for outside, inside in _ADDRESS.items()}

    def get_tax_ids(self, row: Any) -> list[str]:
        """Return the tax id, if there is one."""
        return [row.tax_id] if row.tax_id else []


class PaymentMethodPostSerializer(StrictSerializer):
    """A vendor token to charge from now on."""

    token = serializers.CharField(max_length=120)
    label = serializers.CharField(max_length=60)  # type: ignore[assignment]  # a field named like the base's attribute
    gateway = serializers.CharField(max_length=20, required=False)


class PaymentMethodSerializer(serializers.Serializer):
    """A way to pay; the token is not told."""

    id = PublicIdField()
    gateway = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    is_default = serializers.BooleanField()
    attached_at = InstantField()


class TestClockPostSerializer(StrictSerializer):
    """A new test clock."""

    name = serializers.CharField(max_length=100, required=False, default="Test clock")
    now = InstantField()


class TestClockAdvanceSerializer(StrictSerializer):
    """Where to move a clock."""

    to = InstantField()


class TestClockSerializer(serializers.Serializer):
    """A test clock."""

    id = PublicIdField()
    name = serializers.CharField()
    now = InstantField(source="now_at")


def profile_of(data: dict[str, Any]) -> dict[str, Any]:
    """Return the service's field names for what the API calls address and tax ids."""
    profile = {name: value for name, value in data.items() if name not in ("billing_address", "tax_ids", "test_clock")}
    for outside, value in data.get("billing_address", {}).items():
        profile[_ADDRESS[outside]] = value
    if "tax_ids" in data:
        profile["tax_id"] = data["tax_ids"][0] if data["tax_ids"] else ""
    return profile


class CustomerList(ApiView):
    """All customers; take one in."""

    scopes = {"GET": "customers:write", "POST": "customers:write"}

    @extend_schema(parameters=pagination.LIST_PARAMETERS, responses=page(CustomerSerializer))
    def get(self, request: Request) -> Response:
        """List customers, newest first."""
        rows: QuerySet[Any] = selectors.customers_queryset().select_related("test_clock")
        if external_id := request.query_params.get("external_id"):
            rows = rows.filter(external_id=external_id)
        rows_shown, cursor = pagination.page_of(request, rows)
        return Response({"data": CustomerSerializer(rows_shown, many=True).data, "next_cursor": cursor})

    @extend_schema(
        request=CustomerPostSerializer, responses={201: CustomerSerializer}, parameters=[IDEMPOTENCY_PARAMETER]
    )
    def post(self, request: Request) -> Response:
        """Take in a customer."""
        data = self.read(CustomerPostSerializer)
        clock_reference = data.get("test_clock")
        clock_id = selectors.test_clock_by_reference(clock_reference).id if clock_reference else None
        customer = services.customer_create(
            data=CustomerInput(**profile_of(data), test_clock_id=clock_id), actor=self.actor, at=self.at
        )
        return Response(CustomerSerializer(customer).data, status=201)


class CustomerDetail(ApiView):
    """One customer."""

    scopes = {"GET": "customers:write", "PATCH": "customers:write"}

    @extend_schema(responses=CustomerSerializer)
    def get(self, request: Request, reference: str) -> Response:
        """Return a customer by id or external id."""
        return Response(CustomerSerializer(selectors.customer_by_reference(reference)).data)

    @extend_schema(request=CustomerPatchSerializer, responses=CustomerSerializer)
    def patch(self, request: Request, reference: str) -> Response:
        """Change the profile as of now; issued documents keep what they printed."""
        changes = profile_of(self.read(CustomerPatchSerializer))
        customer = services.customer_update(
            customer_id=selectors.customer_by_reference(reference).id, changes=changes, actor=self.actor, at=self.at
        )
        return Response(CustomerSerializer(customer).data)


class PaymentMethodList(ApiView):
    """A customer's ways to pay."""

    scopes = {"GET": "customers:write", "POST": "payments:write"}

    @extend_schema(responses=page(PaymentMethodSerializer))
    def get(self, request: Request, reference: str) -> Response:
        """List methods that may be charged, newest first."""
        customer = selectors.customer_by_reference(reference)
        rows_shown, cursor = pagination.page_of(request, payment_selectors.payment_methods_of(customer_id=customer.id))
        return Response({"data": PaymentMethodSerializer(rows_shown, many=True).data, "next_cursor": cursor})

    @extend_schema(
        request=PaymentMethodPostSerializer,
        responses={201: PaymentMethodSerializer},
        parameters=[IDEMPOTENCY_PARAMETER],
    )
    def post(self, request: Request, reference: str) -> Response:
        """Attach a token as the method that automatic collection charges."""
        data = self.read(PaymentMethodPostSerializer)
        customer = selectors.customer_by_reference(reference)
        method = payment_services.payment_method_attach(
            customer_id=customer.id, **data, actor=self.actor, at=selectors.customer_now(customer=customer, at=self.at)
        )
        return Response(PaymentMethodSerializer(method).data, status=201)


class TestClockList(ApiView):
    """Test clocks."""

    scopes = {"GET": "customers:write", "POST": "customers:write"}

    @extend_schema(parameters=pagination.LIST_PARAMETERS, responses=page(TestClockSerializer))
    def get(self, request: Request) -> Response:
        """List test clocks, newest first."""
        rows_shown, cursor = pagination.page_of(request, selectors.test_clocks_queryset())
        return Response({"data": TestClockSerializer(rows_shown, many=True).data, "next_cursor": cursor})

    @extend_schema(
        request=TestClockPostSerializer, responses={201: TestClockSerializer}, parameters=[IDEMPOTENCY_PARAMETER]
    )
    def post(self, request: Request) -> Response:
        """Make a clock that stands at `now`."""
        data = self.read(TestClockPostSerializer)
        clock = services.test_clock_create(name=data["name"], now_at=data["now"], actor=self.actor, at=self.at)
        return Response(TestClockSerializer(clock).data, status=201)


class TestClockDetail(ApiView):
    """One test clock."""

    scopes = {"GET": "customers:write"}

    @extend_schema(responses=TestClockSerializer)
    def get(self, request: Request, reference: str) -> Response:
        """Return a clock."""
        return Response(TestClockSerializer(selectors.test_clock_by_reference(reference)).data)


class TestClockAdvance(ApiView):
    """Move a clock; everything that falls due happens, in order, before the answer."""

    scopes = {"POST": "customers:write"}
    # Collection calls the gateway, which must not happen inside a transaction.
    is_one_unit = False

    @extend_schema(
        request=TestClockAdvanceSerializer, responses=TestClockSerializer, parameters=[IDEMPOTENCY_PARAMETER]
    )
    def post(self, request: Request, reference: str) -> Response:
        """Advance to `to`."""
        data = self.read(TestClockAdvanceSerializer)
        clock = selectors.test_clock_by_reference(reference)
        if data["to"] < clock.now_at:
            raise Invalid(
                "A clock moves forward only.",
                problems=(FieldProblem("/to", "clock_moves_back", f"must not lie before {clock.now_at.isoformat()}"),),
            )
        moved = clocks.test_clock_advance(clock_id=clock.id, to=data["to"], actor=self.actor, wall_at=self.at)
        return Response(TestClockSerializer(moved).data)
