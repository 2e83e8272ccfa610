"""How usage events are taken in, and what is kept of their properties."""

from dataclasses import replace
from typing import Any

from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.base import IDEMPOTENCY_PARAMETER, ApiView
from apps.api.pagination import LIST_PARAMETERS, page_of
from apps.api.serializers import InstantField, PublicIdField, StrictSerializer
from apps.identity.models import Scope
from apps.metering import intake_settings, intake_terms
from apps.metering.event_checks import TYPE_LENGTH_MAX
from apps.metering.intake_models import AHEAD_SECONDS_MAX, BEHIND_DAYS_MAX, DEDUP_WINDOW_HOURS_MIN, WINDOW_HOURS_MAX
from apps.metering.models import EventTypePolicy

_PROPERTY_LENGTH_MAX = 60


class UsageSettingsPatchSerializer(StrictSerializer):
    """What is to change of how events are taken in."""

    behind_days_max = serializers.IntegerField(
        min_value=1, max_value=BEHIND_DAYS_MAX, required=False, help_text="Events that happened longer ago are refused."
    )
    ahead_seconds_max = serializers.IntegerField(
        min_value=0, max_value=AHEAD_SECONDS_MAX, required=False, help_text="How far a clock may run ahead of ours."
    )
    dedup_window_hours = serializers.IntegerField(
        min_value=DEDUP_WINDOW_HOURS_MIN,
        max_value=WINDOW_HOURS_MAX,
        required=False,
        allow_null=True,
        help_text="After it, an id that comes again is a new event and counts; null: an id names one event for ever.",
    )
    retry_window_hours = serializers.IntegerField(
        min_value=1,
        max_value=WINDOW_HOURS_MAX,
        required=False,
        help_text="The longest time after which your producers send an event again; no window may be shorter.",
    )


class UsageSettingsSerializer(serializers.Serializer[Any]):
    """How events are taken in."""

    behind_days_max = serializers.IntegerField()
    ahead_seconds_max = serializers.IntegerField()
    dedup_window_hours = serializers.IntegerField(allow_null=True)
    retry_window_hours = serializers.IntegerField()


class UsageSettingsView(ApiView):
    """How the tenant's events are taken in."""

    scopes = {"GET": Scope.CATALOG_WRITE.value, "PATCH": Scope.CATALOG_WRITE.value}

    @extend_schema(operation_id="usage_settings_retrieve", responses=UsageSettingsSerializer)
    def get(self, request: Request) -> Response:
        """Return the settings, or the defaults while none are set."""
        return Response(UsageSettingsSerializer(intake_terms.usage_terms()).data)

    @extend_schema(
        operation_id="usage_settings_update", request=UsageSettingsPatchSerializer, responses=UsageSettingsSerializer
    )
    def patch(self, request: Request) -> Response:
        """Change the settings; they hold from the next batch on."""
        terms = replace(intake_terms.usage_terms(), **self.read(UsageSettingsPatchSerializer))
        row = intake_settings.usage_settings_set(terms=terms, actor=self.actor, at=self.at)
        return Response(UsageSettingsSerializer(row).data)


class EventTypePolicyInputSerializer(StrictSerializer):
    """What is kept of the properties of one type's events."""

    event_type = serializers.CharField(max_length=TYPE_LENGTH_MAX)
    kept_properties = serializers.ListField(
        child=serializers.CharField(max_length=_PROPERTY_LENGTH_MAX),
        allow_null=True,
        required=False,
        help_text="Only these are stored; null or left out: every property is.",
    )
    hashed_properties = serializers.ListField(
        child=serializers.CharField(max_length=_PROPERTY_LENGTH_MAX),
        required=False,
        help_text="Stored as a keyed hash: equal values can be counted and grouped by, and not be read.",
    )


class EventTypePolicySerializer(serializers.Serializer[Any]):
    """One version of what is kept."""

    id = PublicIdField()
    event_type = serializers.CharField()
    version = serializers.IntegerField()
    kept_properties = serializers.SerializerMethodField()
    hashed_properties = serializers.ListField(child=serializers.CharField())
    defined_at = InstantField()

    def get_kept_properties(self, row: EventTypePolicy) -> list[str] | None:
        """Return the list, or nothing where all properties are stored."""
        return list(row.kept_properties) if row.is_limited else None


class EventTypePolicyList(ApiView):
    """All policies, and the way to define one."""

    scopes = {"GET": Scope.CATALOG_WRITE.value, "POST": Scope.CATALOG_WRITE.value}

    @extend_schema(
        operation_id="event_type_policies_list",
        parameters=LIST_PARAMETERS,
        responses=inline_serializer(
            "EventTypePolicyPage",
            {"data": EventTypePolicySerializer(many=True), "next_cursor": serializers.CharField(allow_null=True)},
        ),
    )
    def get(self, request: Request) -> Response:
        """List all versions of all policies, newest first."""
        page, cursor = page_of(request, intake_settings.event_type_policies_queryset())
        return Response({"data": EventTypePolicySerializer(page, many=True).data, "next_cursor": cursor})

    @extend_schema(
        operation_id="event_type_policies_create",
        request=EventTypePolicyInputSerializer,
        responses={201: EventTypePolicySerializer},
        parameters=[IDEMPOTENCY_PARAMETER],
    )
    def post(self, request: Request) -> Response:
        """Define a policy or a further version of it; the same again answers with the one that is there."""
        asked = self.read(EventTypePolicyInputSerializer)
        row = intake_settings.event_type_policy_define(
            event_type=asked["event_type"],
            kept_properties=asked.get("kept_properties"),
            hashed_properties=asked.get("hashed_properties", ()),
            actor=self.actor,
            at=self.at,
        )
        return Response(EventTypePolicySerializer(row).data, status=201)
