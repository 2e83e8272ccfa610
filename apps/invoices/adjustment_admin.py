"""Adjustments in the back office."""

from unfold.decorators import display

from apps.common import formatting
from apps.common.admin import EMPTY, RecordAdmin, money_column, status_column, words_before_colon
from apps.invoices.adjustment_models import Adjustment

STATUS_TONES = {
    "PENDING_APPROVAL": "warning",
    "APPROVED": "info",
    "APPLIED": "success",
    "REJECTED": "neutral",
    "CANCELED": "neutral",
}


class AdjustmentAdmin(RecordAdmin):
    """Differences to what issued documents billed."""

    purpose = (
        "Differences to what final documents billed. Approved ones become lines of the customer's next document; the "
        "documents themselves never change."
    )
    list_display = ("public_id", "customer", "period", "amount_money", "reason", "status_badge", "invoice", "made_at")
    list_display_links = ("public_id",)
    list_filter = ("status", "reason_code", "currency")
    search_fields = ("customer__name", "customer__external_id", "invoice__number")
    list_select_related = ("customer", "billing_period", "invoice")
    ordering = ("-id",)
    fact_fields = (
        "customer",
        "subscription",
        "period",
        "amount_money",
        "reason",
        "comment",
        "status_badge",
        "made_by_name",
        "made_at",
        "decided_by_name",
        "decided_at",
        "decision_comment",
        "plan_version",
        "invoice",
        "applied_at",
    )

    amount_money = money_column("amount_minor", "Difference, before tax")
    status_badge = status_column(STATUS_TONES)

    @display(description="Reason", ordering="reason_code")
    def reason(self, adjustment: Adjustment) -> str:
        """Return the short name of the reason."""
        return words_before_colon(adjustment, "reason_code")

    @display(description="For")
    def period(self, adjustment: Adjustment) -> str:
        """Return the period that it belongs to, in the customer's own days."""
        period = adjustment.billing_period
        return formatting.period_text(period.starts_at, period.ends_at, period.timezone) if period else EMPTY

    def banner(self, record: Adjustment) -> tuple[str, str] | None:
        """Return that somebody has to decide, or where it is."""
        if record.status == "PENDING_APPROVAL":
            return "warning", f"Waits for approval by somebody other than {record.made_by_name}."
        return None


RECORDS = ((Adjustment, AdjustmentAdmin),)
