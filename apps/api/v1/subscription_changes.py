"""Changes of a subscription: other terms, a pause, a return, an end, and what is agreed for later."""

from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api import pagination
from apps.api.base import DRY_RUN_PARAMETER, IDEMPOTENCY_PARAMETER, ApiView
from apps.api.schema import page
from apps.api.serializers import EmptySerializer, ExactField, InstantField, PublicIdField, StrictSerializer
from apps.subscriptions import selectors
from apps.subscriptions.inputs import TermsChange, Timing, When
from apps.subscriptions.models import PauseMode, ProrationMode
from apps.workflows import subscription_changes

_PARAMETERS = [IDEMPOTENCY_PARAMETER, DRY_RUN_PARAMETER]


class WhenSerializer(StrictSerializer):
    """When something is to happen, how it divides the fees, and why."""

    timing = serializers.ChoiceField(choices=[timing.value for timing in Timing], default=Timing.NOW.value)
    at = InstantField(required=False, help_text="With now: the instant that a dry run named. With at: the instant.")
    proration = serializers.ChoiceField(choices=ProrationMode.values, required=False)
    reason_code = serializers.CharField(max_length=60, required=False, default="")
    comment = serializers.CharField(max_length=500, required=False, default="")


class ChangePostSerializer(WhenSerializer):
    """Another plan, version or quantity; what is left out stays as it is."""

    plan = serializers.CharField(max_length=60, required=False)
    plan_version = serializers.IntegerField(min_value=1, required=False)
    quantity = serializers.DecimalField(max_digits=26, decimal_places=12, coerce_to_string=True, required=False)


class PausePostSerializer(WhenSerializer):
    """A pause: how, from when, until when."""

    mode = serializers.ChoiceField(choices=PauseMode.values)
    resume_at = InstantField(required=False)


class ResumePostSerializer(StrictSerializer):
    """The end of a pause."""

    at = InstantField(required=False)


class ChangeSerializer(serializers.Serializer):
    """A change of a subscription: agreed for an instant, then applied or withdrawn."""

    id = PublicIdField()
    kind = serializers.CharField()
    effective_at = InstantField()
    plan = serializers.SerializerMethodField()
    plan_version = serializers.SerializerMethodField()
    quantity = ExactField(allow_null=True)
    pause_mode = serializers.CharField()
    proration = serializers.CharField(source="proration_mode")
    reason_code = serializers.CharField()
    comment = serializers.CharField()
    requested_at = InstantField()
    applied_at = InstantField(allow_null=True)
    withdrawn_at = InstantField(allow_null=True)

    @extend_schema_field({"type": ["string", "null"]})
    def get_plan(self, row: Any) -> str | None:
        """Return the code of the plan it moves to, if it does."""
        return row.plan_version.plan.code if row.plan_version else None

    @extend_schema_field({"type": ["integer", "null"]})
    def get_plan_version(self, row: Any) -> int | None:
        """Return the version it moves to, if it does."""
        return row.plan_version.version if row.plan_version else None


class ChangeOutcomeSerializer(serializers.Serializer):
    """A change, and the document of the time that it closed."""

    change = ChangeSerializer()
    document = serializers.JSONField(allow_null=True)


class SubscriptionCommand(ApiView):
    """What all commands on a subscription have in common."""

    scopes = {"POST": "customers:write"}
    allows_dry_run = True

    def when(self, data: dict[str, Any]) -> When:
        """Return the timing that a body names."""
        return When(
            timing=Timing(data["timing"]),
            effective_at=data.get("at"),
            proration=data.get("proration"),
            reason_code=data["reason_code"],
            comment=data["comment"],
        )


class SubscriptionChangeView(SubscriptionCommand):
    """Move a subscription to other terms."""

    @extend_schema(request=ChangePostSerializer, responses={201: ChangeOutcomeSerializer}, parameters=_PARAMETERS)
    def post(self, request: Request, reference: str) -> Response:
        """Change plan, version or quantity; with `dry_run` see the amounts and the instant to repeat as `at`."""
        data = self.read(ChangePostSerializer)
        outcome = subscription_changes.terms_change(
            subscription=selectors.subscription_by_reference(reference),
            wanted=TermsChange(
                plan_code=data.get("plan"), plan_version=data.get("plan_version"), quantity=data.get("quantity")
            ),
            when=self.when(data),
            actor=self.actor,
            at=self.at,
        )
        return Response(ChangeOutcomeSerializer(outcome).data, status=201)


class SubscriptionCancel(SubscriptionCommand):
    """End a subscription."""

    @extend_schema(request=WhenSerializer, responses={201: ChangeOutcomeSerializer}, parameters=_PARAMETERS)
    def post(self, request: Request, reference: str) -> Response:
        """End it now, at the end of its period, or at an instant to come."""
        data = self.read(WhenSerializer)
        outcome = subscription_changes.cancel(
            subscription=selectors.subscription_by_reference(reference),
            when=self.when(data),
            actor=self.actor,
            at=self.at,
        )
        return Response(ChangeOutcomeSerializer(outcome).data, status=201)


class SubscriptionPause(SubscriptionCommand):
    """Let a subscription rest."""

    @extend_schema(request=PausePostSerializer, responses={201: ChangeOutcomeSerializer}, parameters=_PARAMETERS)
    def post(self, request: Request, reference: str) -> Response:
        """Pause it: `freeze` stops its clock, `keep_fixed` goes on with the fixed fees and bills no usage."""
        data = self.read(PausePostSerializer)
        outcome = subscription_changes.pause(
            subscription=selectors.subscription_by_reference(reference),
            mode=data["mode"],
            when=self.when(data),
            resume_at=data.get("resume_at"),
            actor=self.actor,
            at=self.at,
        )
        return Response(ChangeOutcomeSerializer(outcome).data, status=201)


class SubscriptionResume(SubscriptionCommand):
    """Let a paused subscription go on."""

    @extend_schema(request=ResumePostSerializer, responses={201: ChangeOutcomeSerializer}, parameters=_PARAMETERS)
    def post(self, request: Request, reference: str) -> Response:
        """Resume it now, or at an instant to come."""
        data = self.read(ResumePostSerializer)
        outcome = subscription_changes.resume(
            subscription=selectors.subscription_by_reference(reference),
            effective_at=data.get("at"),
            actor=self.actor,
            at=self.at,
        )
        return Response(ChangeOutcomeSerializer(outcome).data, status=201)


class SubscriptionChangeList(ApiView):
    """A subscription's changes."""

    scopes = {"GET": "customers:write"}

    @extend_schema(parameters=pagination.LIST_PARAMETERS, responses=page(ChangeSerializer))
    def get(self, request: Request, reference: str) -> Response:
        """List what was agreed, newest first: scheduled, applied and withdrawn."""
        subscription = selectors.subscription_by_reference(reference)
        rows_shown, cursor = pagination.page_of(request, selectors.changes_of(subscription_id=subscription.id))
        return Response({"data": ChangeSerializer(rows_shown, many=True).data, "next_cursor": cursor})


class SubscriptionChangeWithdraw(ApiView):
    """Take back what was agreed for later."""

    scopes = {"POST": "customers:write"}

    @extend_schema(request=EmptySerializer, responses=ChangeSerializer, parameters=[IDEMPOTENCY_PARAMETER])
    def post(self, request: Request, reference: str, change_reference: str) -> Response:
        """Withdraw a change that has not taken effect."""
        self.read(EmptySerializer)
        subscription = selectors.subscription_by_reference(reference)
        change = selectors.change_by_reference(subscription_id=subscription.id, reference=change_reference)
        withdrawn = subscription_changes.withdraw(
            subscription=subscription, change_id=change.id, actor=self.actor, at=self.at
        )
        return Response(ChangeSerializer(withdrawn).data)
