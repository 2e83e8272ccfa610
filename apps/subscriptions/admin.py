"""Subscriptions and their periods in the back office."""

from datetime import UTC
from typing import Any

from django.contrib.admin import SimpleListFilter
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.decorators import display

from apps.common import formatting
from apps.common.admin import RecordAdmin, badge, number_column, status_column, words_before_colon
from apps.subscriptions import selectors
from apps.subscriptions.models import BillingPeriod, ChangeKind, Subscription, SubscriptionChange


def change_words(change: SubscriptionChange) -> str:
    """Return what a change does, in words."""
    quantity = "" if change.quantity is None else f"quantity {formatting.number_text(change.quantity)}"
    if change.kind == ChangeKind.PLAN:
        return f"To {change.plan_version}" + (f", {quantity}" if quantity else "")
    if change.kind == ChangeKind.QUANTITY:
        return f"To {quantity}"
    if change.kind == ChangeKind.PAUSE:
        return f"Pause, {words_before_colon(change, 'pause_mode').lower()}"
    return words_before_colon(change, "kind")


def change_state(change: SubscriptionChange) -> SafeString:
    """Return what became of a change, as a badge."""
    if change.applied_at is not None:
        return badge("Applied", "success")
    return badge("Scheduled", "info") if change.is_scheduled else badge("Withdrawn", "neutral")


class SubscriptionAdmin(RecordAdmin):
    """Who is on which terms."""

    purpose = "Who is on which terms since when. Periods are computed from the anchor in the subscription's time zone."
    list_display = (
        "customer",
        "plan_version",
        "amount_of",
        "status_badge",
        "starts_at",
        "trial_ends_at",
        "external_id",
    )
    list_filter = ("status", "anchor_kind")
    search_fields = ("customer__name", "customer__external_id", "external_id", "plan_version__plan__code")
    list_select_related = ("customer", "plan_version__plan")
    fact_fields = (
        "customer",
        "plan_version",
        "amount_of",
        "status_badge",
        "external_id",
        "starts_at",
        "trial_ends_at",
        "activated_at",
        "anchor_kind",
        "anchor",
        "timezone",
        "pause_mode",
        "paused_at",
        "ended_at",
    )

    status_badge = status_column(
        {"PENDING": "info", "TRIALING": "info", "ACTIVE": "success", "PAUSED": "warning", "ENDED": "neutral"}
    )
    amount_of = number_column("quantity", "Quantity")

    def banner(self, record: Subscription) -> tuple[str, str] | None:
        """Return what is agreed to come next, or that it rests."""
        upcoming = selectors.changes_scheduled(subscription_id=record.id).first()
        if upcoming is None:
            return None
        instant = formatting.instant_text(upcoming.effective_at, record.timezone)
        return "info", f"Agreed for {instant}: {change_words(upcoming)}."

    @display(description="Anchor, by its own clock")
    def anchor(self, subscription: Subscription) -> str:
        """Return the wall-clock time from which periods are counted."""
        wall = subscription.anchor_wall.astimezone(UTC)
        return f"{formatting.date_text(wall.date())}, {wall:%H:%M}"


class SubscriptionChangeAdmin(RecordAdmin):
    """What was agreed for when."""

    purpose = (
        "Changes of subscriptions: agreed for an instant, then applied or withdrawn. What was agreed never changes."
    )
    list_display = ("customer", "what", "effective_at", "state", "requested_by", "requested_at")
    list_filter = ("kind",)
    search_fields = ("subscription__customer__name", "subscription__customer__external_id", "subscription__external_id")
    list_select_related = ("subscription__customer", "subscription__plan_version__plan", "plan_version__plan")
    ordering = ("-effective_at", "-id")
    fact_fields = (
        "subscription",
        "what",
        "state",
        "effective_at",
        "plan_version",
        "proration_mode",
        "reason_code",
        "comment",
        "requested_by",
        "requested_at",
        "applied_at",
        "withdrawn_at",
    )

    @display(description="Customer", ordering="subscription__customer__name")
    def customer(self, change: SubscriptionChange) -> str:
        """Return the customer's name."""
        return change.subscription.customer.name

    @display(description="What")
    def what(self, change: SubscriptionChange) -> str:
        """Return what it does."""
        return change_words(change)

    @display(description="State", ordering="applied_at")
    def state(self, change: SubscriptionChange) -> SafeString:
        """Return what became of it."""
        return change_state(change)


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
    list_display = ("customer", "sequence", "period", "kind", "status_badge", "parked_at", "park_reason")
    list_filter = ("status", "kind", ParkedFilter)
    search_fields = ("subscription__customer__name", "subscription__customer__external_id")
    list_select_related = ("subscription__customer", "subscription__plan_version__plan")
    ordering = ("-ends_at", "-id")
    fact_fields = (
        "subscription",
        "sequence",
        "starts_at",
        "ends_at",
        "kind",
        "plan_version",
        "amount_of",
        "proration_mode",
        "cut_from_at",
        "is_credit_due",
        "prepaid_by",
        "is_fixed_covered",
        "status_badge",
        "closed_at",
        "claimed_until",
        "parked_at",
        "park_reason",
    )

    amount_of = number_column("quantity", "Quantity")
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


RECORDS = (
    (Subscription, SubscriptionAdmin),
    (SubscriptionChange, SubscriptionChangeAdmin),
    (BillingPeriod, BillingPeriodAdmin),
)
