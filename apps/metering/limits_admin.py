"""Limits of windows in the back office."""

from unfold.decorators import display

from apps.common.admin import RecordAdmin, number_column, words_before_colon
from apps.metering.limit_models import UsageLimit, UsageLimitChange, UsageThreshold


class UsageLimitAdmin(RecordAdmin):
    """How much may be used in which window."""

    purpose = "How much of a meter may be used in which window, who says so, and what happens above."
    list_display = ("customer", "feature_code", "units", "on_exceed_text", "origin_text", "starts_at", "ends_at")
    list_filter = ("on_exceed", "origin")
    search_fields = ("customer__name", "customer__external_id", "feature_code")
    list_select_related = ("customer",)
    fact_fields = (
        "customer",
        "feature_code",
        "meter",
        "units",
        "on_exceed_text",
        "origin_text",
        "thresholds",
        "subscription_id",
        "starts_at",
        "ends_at",
        "counter_id",
        "withdrawn_at",
    )

    units = number_column("limit_units", "Limit")

    @display(description="Above it", ordering="on_exceed")
    def on_exceed_text(self, limit: UsageLimit) -> str:
        """Return what happens above the limit."""
        return words_before_colon(limit, "on_exceed")

    @display(description="Drawn by", ordering="origin")
    def origin_text(self, limit: UsageLimit) -> str:
        """Return who drew the line."""
        return words_before_colon(limit, "origin")


class UsageLimitChangeAdmin(RecordAdmin):
    """What became of limits."""

    purpose = "Each time a limit was made, moved or withdrawn: who, when, from what, to what."
    list_display = ("changed_at", "limit", "before", "after", "to_on_exceed", "changed_by_name")
    search_fields = ("limit__feature_code", "limit__customer__external_id")
    list_select_related = ("limit",)
    fact_fields = ("changed_at", "limit", "before", "after", "from_on_exceed", "to_on_exceed", "changed_by_name")

    before = number_column("from_units", "From")
    after = number_column("to_units", "To")


class UsageThresholdAdmin(RecordAdmin):
    """Which shares of limits were told."""

    purpose = "Shares of limits that usage came to; each is told once."
    list_display = ("reached_at", "limit", "percent", "used", "of_limit")
    search_fields = ("limit__feature_code", "limit__customer__external_id")
    list_select_related = ("limit",)
    fact_fields = ("reached_at", "limit", "percent", "used", "of_limit")

    used = number_column("used_units", "Used")
    of_limit = number_column("limit_units", "Limit then")


RECORDS = (
    (UsageLimit, UsageLimitAdmin),
    (UsageLimitChange, UsageLimitChangeAdmin),
    (UsageThreshold, UsageThresholdAdmin),
)
