"""Cohorts: some of the customers, for whom a plan version can be published before all of them."""

from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api import pagination
from apps.api.base import IDEMPOTENCY_PARAMETER, ApiView
from apps.api.schema import page
from apps.api.serializers import DecimalTextField, ExactField, PublicIdField, ReferenceField, StrictSerializer
from apps.identity.models import Scope
from apps.plans import cohorts

# More are named by several requests.
_CUSTOMERS_MAX = 1_000


class CohortSerializer(serializers.Serializer[Any]):
    """Who belongs: the customers named, and those whose share of the experiment lies in [from, to) percent."""

    id = PublicIdField()
    code = serializers.CharField()
    name = serializers.CharField()
    experiment = serializers.CharField()
    from_percent = ExactField(allow_null=True)
    to_percent = ExactField(allow_null=True)
    customers = serializers.SerializerMethodField()

    @extend_schema_field({"type": "array", "items": {"type": "string"}})
    def get_customers(self, row: Any) -> list[str]:
        """Return the codes of the customers that are named."""
        return sorted(member.customer.external_id for member in row.members.all())


class CohortPostSerializer(StrictSerializer):
    """A new cohort: customers, a range of an experiment, or both."""

    code = serializers.CharField(max_length=60)
    name = serializers.CharField(max_length=120)
    experiment = serializers.CharField(max_length=60, required=False)
    from_percent = DecimalTextField(required=False)
    to_percent = DecimalTextField(required=False)
    customers = serializers.ListField(child=ReferenceField(), required=False, max_length=_CUSTOMERS_MAX)


class CohortMembersSerializer(StrictSerializer):
    """Customers to be named, and to be named no more."""

    add = serializers.ListField(child=ReferenceField(), required=False, default=list, max_length=_CUSTOMERS_MAX)
    remove = serializers.ListField(child=ReferenceField(), required=False, default=list, max_length=_CUSTOMERS_MAX)


class CohortList(ApiView):
    """All cohorts; make one."""

    scopes = {"GET": Scope.CATALOG_WRITE.value, "POST": Scope.CATALOG_WRITE.value}

    @extend_schema(parameters=pagination.LIST_PARAMETERS, responses=page(CohortSerializer))
    def get(self, request: Request) -> Response:
        """List cohorts, newest first."""
        rows_shown, cursor = pagination.page_of(request, cohorts.cohorts_queryset())
        return Response({"data": CohortSerializer(rows_shown, many=True).data, "next_cursor": cursor})

    @extend_schema(request=CohortPostSerializer, responses={201: CohortSerializer}, parameters=[IDEMPOTENCY_PARAMETER])
    def post(self, request: Request) -> Response:
        """Make a cohort; ranges of one experiment may not overlap, so they divide the customers."""
        data = self.read(CohortPostSerializer)
        customers = tuple(data.pop("customers", ()))
        wanted = cohorts.CohortInput(**data, customers=customers)
        cohort = cohorts.cohort_create(data=wanted, actor=self.actor, at=self.at)
        return Response(CohortSerializer(cohort).data, status=201)


class CohortDetail(ApiView):
    """One cohort."""

    scopes = {"GET": Scope.CATALOG_WRITE.value}

    @extend_schema(responses=CohortSerializer)
    def get(self, request: Request, reference: str) -> Response:
        """Return a cohort by code or id."""
        return Response(CohortSerializer(cohorts.cohort_by_reference(reference)).data)


class CohortMembers(ApiView):
    """The customers that are named in a cohort."""

    scopes = {"POST": Scope.CATALOG_WRITE.value}

    @extend_schema(request=CohortMembersSerializer, responses=CohortSerializer, parameters=[IDEMPOTENCY_PARAMETER])
    def post(self, request: Request, reference: str) -> Response:
        """Add and remove customers; subscriptions keep the version that they are on."""
        data = self.read(CohortMembersSerializer)
        cohort = cohorts.cohort_by_reference(reference)
        changed = cohorts.cohort_members_change(
            cohort_id=cohort.id,
            add=tuple(data["add"]),
            remove=tuple(data["remove"]),
            actor=self.actor,
            at=self.at,
        )
        return Response(CohortSerializer(changed).data)
