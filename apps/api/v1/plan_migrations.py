"""Move the subscriptions of a plan to another of its versions."""

from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.base import DRY_RUN_PARAMETER, IDEMPOTENCY_PARAMETER, ApiView
from apps.api.serializers import InstantField, PublicIdField, ReferenceField, StrictSerializer
from apps.api.v1.pricing import BacktestSerializer
from apps.identity.models import Scope
from apps.workflows import plan_migration
from apps.workflows.plan_migration import MigrationOutcome


class MigrationOrderSerializer(StrictSerializer):
    """Who is to be moved: everybody on the plan, or of them those on a version, of a cohort, in a list."""

    from_version = serializers.IntegerField(min_value=1, max_value=2_000_000_000, required=False)
    cohort = ReferenceField(required=False)
    customers = serializers.ListField(child=ReferenceField(), required=False, max_length=1_000)
    reason_code = serializers.CharField(max_length=60, required=False)
    comment = serializers.CharField(max_length=500, required=False)


class MigrationStepSerializer(serializers.Serializer[Any]):
    """What became of one subscription; code and reason say why it stays."""

    subscription = PublicIdField(source="subscription.public_id")
    customer = serializers.CharField(source="subscription.customer.external_id")
    from_version = serializers.IntegerField()
    outcome = serializers.ChoiceField(choices=[outcome.value for outcome in MigrationOutcome])
    effective_at = InstantField(allow_null=True)
    code = serializers.CharField()
    reason = serializers.CharField()


class MigrationSerializer(serializers.Serializer[Any]):
    """What became of all; the effect, on who moves and only in a dry run, is on their last closed periods."""

    plan = serializers.CharField(source="version.plan.code")
    version = serializers.IntegerField(source="version.version")
    counts = serializers.SerializerMethodField()
    subscriptions = MigrationStepSerializer(many=True, source="steps")
    effect = BacktestSerializer(allow_null=True)

    @extend_schema_field(
        {
            "type": "object",
            "properties": {outcome.value: {"type": "integer"} for outcome in MigrationOutcome},
            "required": [outcome.value for outcome in MigrationOutcome],
        }
    )
    def get_counts(self, row: plan_migration.Migration) -> dict[str, int]:
        """Return how many came to each outcome."""
        return {outcome.value: count for outcome, count in row.counts.items()}


class PlanVersionMigrate(ApiView):
    """Move customers to a version, each at the end of its running period."""

    scopes = {"POST": Scope.CUSTOMERS_WRITE.value}
    allows_dry_run = True
    # Each subscription is moved in a transaction of its own; one that is refused must not undo the others.
    is_one_unit = False

    @extend_schema(
        request=MigrationOrderSerializer,
        responses=MigrationSerializer,
        parameters=[IDEMPOTENCY_PARAMETER, DRY_RUN_PARAMETER],
    )
    def post(self, request: Request, code: str, version: int) -> Response:
        """Schedule the changes; with `dry_run` see who would move and what their last periods would have cost."""
        data = self.read(MigrationOrderSerializer)
        customers = data.pop("customers", None)
        order = plan_migration.MigrationOrder(
            plan_code=code, version=version, customers=None if customers is None else tuple(customers), **data
        )
        work = plan_migration.plan_migration_preview if self.is_dry_run else plan_migration.plan_migration_start
        return Response(MigrationSerializer(work(order=order, actor=self.actor, at=self.at)).data)
