"""Discounts and agreed prices in the back office."""

from django.utils.safestring import SafeString
from unfold.decorators import display

from apps.common import formatting
from apps.common.admin import RecordAdmin, badge
from apps.subscriptions.special_terms import AppliedDiscount, PriceOverride


def discount_words(discount: AppliedDiscount) -> str:
    """Return what a discount takes off, and on how many documents."""
    if discount.percent is not None:
        taken = f"{formatting.number_text(discount.percent)} %"
    else:
        taken = formatting.money_text(discount.amount_minor or 0, discount.currency)
    if discount.uses_max is None:
        return taken
    return f"{taken}, on {discount.uses_max} document{'' if discount.uses_max == 1 else 's'}"


def override_state(override: PriceOverride) -> SafeString:
    """Return how far an agreement about a price has come, as a badge."""
    if override.is_approved is None:
        return badge("To be decided", "warning")
    if not override.is_approved:
        return badge("Rejected", "neutral")
    return badge("Ended", "neutral") if override.ended_at is not None else badge("In force", "success")


class AppliedDiscountAdmin(RecordAdmin):
    """What a customer redeemed."""

    purpose = "Coupons that customers redeemed, with a copy of their terms. Which uses are taken stands with invoices."
    list_display = ("customer", "code", "takes", "subscription", "uses_max", "applied_at", "ended_at")
    list_filter = ("kind",)
    search_fields = ("code", "name", "customer__name", "customer__external_id")
    list_select_related = ("customer", "subscription__customer", "subscription__plan_version__plan")
    ordering = ("-id",)
    fact_fields = (
        "customer",
        "subscription",
        "coupon",
        "code",
        "name",
        "takes",
        "charge_codes",
        "plan_codes",
        "uses_max",
        "applied_at",
        "ended_at",
    )

    @display(description="Takes off")
    def takes(self, discount: AppliedDiscount) -> str:
        """Return the amount or the percentage."""
        return discount_words(discount)


class PriceOverrideAdmin(RecordAdmin):
    """A price of one's own."""

    purpose = "Prices agreed with one customer. Somebody asks, somebody else decides; only approved ones are billed."
    list_display = ("customer", "charge_code", "state", "requested_by_name", "requested_at", "decided_by_name")
    list_filter = ("is_approved",)
    search_fields = ("charge_code", "subscription__customer__name", "subscription__customer__external_id")
    list_select_related = ("subscription__customer", "subscription__plan_version__plan")
    ordering = ("-id",)
    fact_fields = (
        "subscription",
        "charge_code",
        "state",
        "terms",
        "reason",
        "requested_by_name",
        "requested_at",
        "decided_by_name",
        "decided_at",
        "comment",
        "ended_at",
    )

    @display(description="Customer", ordering="subscription__customer__name")
    def customer(self, override: PriceOverride) -> str:
        """Return the customer's name."""
        return override.subscription.customer.name

    @display(description="State", ordering="is_approved")
    def state(self, override: PriceOverride) -> SafeString:
        """Return how far the agreement has come."""
        return override_state(override)


RECORDS = ((AppliedDiscount, AppliedDiscountAdmin), (PriceOverride, PriceOverrideAdmin))
