"""Subscriptions and their periods in the back office."""

from typing import Any

from django.contrib.admin import SimpleListFilter
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.decorators import display

from apps.common import formatting
from apps.common.admin import RecordAdmin, status_column
from apps.subscriptions.models import BillingPeriod, Subscription


class SubscriptionAdmin(RecordAdmin):
    """Who is on which terms."""

    purpose = "Who is on which terms since when. Periods are computed from the anchor in the subscription's time zone."
    list_display = ("customer", "plan_version", "status_badge", "starts_at", "anchor_kind", "external_id")
    list_filter = ("status", "anchor_kind")
    search_fields = ("customer__name", "customer__external_id", "external_id", "plan_version__plan__code")
    list_select_related = ("customer", "plan_version__plan")
    fact_fields = (
        "customer",
        "plan_version",
        "status_badge",
        "external_id",
        "starts_at",
        "anchor_kind",
        "timezone",
        "activated_at",
        "ended_at",
    )

    status_badge = status_column({"PENDING": "info", "ACTIVE": "success", "ENDED": "neutral"})


class ParkedFilter(SimpleListFilter):
    """Periods that could not be closed."""

    title = "parked"
    parameter_name = "parked"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the one choice there is."""
        return [("yes", "Waiting for a person")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[BillingPeriod]) -> QuerySet[BillingPeriod]:
        """Return what could not be closed and is not closed since."""
        if self.value() != "yes":
            return queryset
        return queryset.filter(parked_at__isnull=False).exclude(status="CLOSED")


class BillingPeriodAdmin(RecordAdmin):
    """What is billed at once."""

    purpose = "The stored intervals that are billed. A parked one could not be closed: its reason says what to do."
    list_display = ("customer", "sequence", "period", "status_badge", "parked_at", "park_reason")
    list_filter = ("status", ParkedFilter)
    search_fields = ("subscription__customer__name", "subscription__customer__external_id")
    list_select_related = ("subscription__customer", "subscription__plan_version__plan")
    ordering = ("-ends_at", "-id")
    fact_fields = (
        "subscription",
        "sequence",
        "starts_at",
        "ends_at",
        "status_badge",
        "closed_at",
        "claimed_until",
        "parked_at",
        "park_reason",
    )

    status_badge = status_column({"OPEN": "info", "CLOSING": "warning", "CLOSED": "success"})

    def banner(self, record: BillingPeriod) -> tuple[str, str] | None:
        """Return why the period waits, if it does."""
        if record.parked_at and record.status != "CLOSED":
            return "warning", f"Parked, because: {record.park_reason}"
        return None

    @display(description="Customer", ordering="subscription__customer__name")
    def customer(self, period: BillingPeriod) -> str:
        """Return the customer's name."""
        return period.subscription.customer.name

    @display(description="Period", ordering="starts_at")
    def period(self, period: BillingPeriod) -> str:
        """Return the interval in the subscription's own days."""
        return formatting.period_text(period.starts_at, period.ends_at, period.subscription.timezone)


RECORDS = ((Subscription, SubscriptionAdmin), (BillingPeriod, BillingPeriodAdmin))
