"""Discounts and agreed prices in the back office."""

from unfold.decorators import display

from apps.common import formatting
from apps.common.admin import RecordAdmin, badge
from apps.subscriptions.special_terms import AppliedDiscount, PriceOverride


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
        if discount.percent is not None:
            return f"{formatting.number_text(discount.percent)} %"
        return formatting.money_text(discount.amount_minor or 0, discount.currency)


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
    def state(self, override: PriceOverride) -> str:
        """Return how far the agreement has come."""
        if override.is_approved is None:
            return badge("To be decided", "warning")
        if not override.is_approved:
            return badge("Rejected", "neutral")
        return badge("Ended", "neutral") if override.ended_at is not None else badge("In force", "success")


RECORDS = ((AppliedDiscount, AppliedDiscountAdmin), (PriceOverride, PriceOverrideAdmin))
