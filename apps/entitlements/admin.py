"""Grants, caps and decisions in the back office."""

from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from unfold.decorators import display

from apps.common.admin import RecordAdmin, number_column, words_before_colon
from apps.customers.models import Customer
from apps.entitlements import selectors
from apps.entitlements.models import AccessDecision, Entitlement, UsageCap
from apps.plans.models import PlanVersion


class EntitlementAdmin(RecordAdmin):
    """Grants beside the plan."""

    purpose = "What was granted beside the plan, to whom, for what, and until when. One key grants once."
    list_display = ("customer", "feature_code", "is_granted", "extra", "starts_at", "ends_at", "revoked_at")
    list_filter = ("is_granted",)
    search_fields = ("customer__name", "customer__external_id", "feature_code", "grant_key")
    list_select_related = ("customer",)
    fact_fields = (
        "customer",
        "feature_code",
        "is_granted",
        "extra",
        "starts_at",
        "ends_at",
        "grant_key",
        "comment",
        "granted_by_name",
        "granted_at",
        "revoked_by_name",
        "revoked_at",
    )

    extra = number_column("extra_units", "Extra units")


class UsageCapAdmin(RecordAdmin):
    """Lines that customers draw for themselves."""

    purpose = "Caps that customers set for their own usage. A soft one needs its approver before more is accepted."
    list_display = ("customer", "meter", "kind_text", "units", "approver_email", "asked_at", "withdrawn_at")
    list_filter = ("kind",)
    search_fields = ("customer__name", "customer__external_id", "meter__code")
    list_select_related = ("customer", "meter")
    fact_fields = (
        "customer",
        "subscription",
        "meter",
        "kind_text",
        "units",
        "approver_email",
        "asked_by_name",
        "asked_at",
        "withdrawn_by_name",
        "withdrawn_at",
    )

    units = number_column("cap_units", "Units in a period")

    @display(description="Kind", ordering="kind")
    def kind_text(self, cap: UsageCap) -> str:
        """Return the kind in words."""
        return words_before_colon(cap, "kind")


class AccessDecisionAdmin(RecordAdmin):
    """Why was access refused?"""

    purpose = "Why access was refused, or allowed: every refusal and a sample of the rest, with what was looked at."
    list_display = ("decided_at", "customer_name", "feature_code", "is_allowed", "reason", "used", "limit", "asked")
    list_filter = ("is_allowed", "reason", "occasion", "decided_at")
    search_fields = ("feature_code", "event_id")
    search_help_text = "The feature, or the id of the event."
    fact_fields = (
        "decided_at",
        "customer_name",
        "feature_code",
        "is_allowed",
        "reason",
        "policy",
        "used",
        "limit",
        "asked",
        "plan_version_name",
        "limit_id",
        "counter_id",
        "occasion",
        "event_source",
        "event_id",
        "decided_again",
        "question",
    )

    used = number_column("used_units", "Used")
    limit = number_column("limit_units", "Limit")
    asked = number_column("asked_units", "Asked for")

    @display(description="Customer")
    def customer_name(self, entry: AccessDecision) -> str:
        """Return whom it was about."""
        return str(getattr(entry, "customer_label", None) or "")

    def get_queryset(self, request: HttpRequest) -> QuerySet[AccessDecision]:
        """Return decisions with the names of their customers."""
        name = Customer.objects.filter(id=OuterRef("customer_id")).values("name")[:1]
        rows: QuerySet[AccessDecision] = super().get_queryset(request)
        return rows.annotate(customer_label=Subquery(name))

    @display(description="Plan version")
    def plan_version_name(self, entry: AccessDecision) -> str:
        """Return the terms that were looked at."""
        if entry.plan_version_id is None:
            return ""
        version = PlanVersion.objects.filter(id=entry.plan_version_id).select_related("plan").first()
        return "" if version is None else str(version)

    @display(description="Decided again")
    def decided_again(self, entry: AccessDecision) -> str:
        """Return what the recorded question is decided as now."""
        replay = selectors.decision_replay(entry=entry)
        return f"{replay.decision.reason}: {'the same' if replay.is_same else 'another answer than then'}"


RECORDS = (
    (Entitlement, EntitlementAdmin),
    (UsageCap, UsageCapAdmin),
    (AccessDecision, AccessDecisionAdmin),
)
