"""Payment methods and attempts in the back office."""

from unfold.decorators import display

from apps.common.admin import RecordAdmin, money_column, record_link, status_column
from apps.payments.models import PaymentAttempt, PaymentMethod

STATUS_TONES = {
    "CREATED": "info",
    "SUBMITTED": "info",
    "SUCCEEDED": "success",
    "FAILED": "danger",
    "UNKNOWN": "warning",
}


class PaymentAttemptAdmin(RecordAdmin):
    """Tries to collect."""

    purpose = "Every try to collect. Unknown means no answer was heard: it is looked up, never repeated."
    list_display = ("opened_at", "invoice", "customer", "amount_money", "status_badge", "failure_code", "resolved_at")
    list_filter = ("status", "failure_kind", "gateway")
    search_fields = ("invoice__number", "gateway_reference", "invoice__customer__name")
    list_select_related = ("invoice__customer", "method")
    ordering = ("-id",)
    fact_fields = (
        "invoice",
        "customer",
        "sequence",
        "amount_money",
        "status_badge",
        "method",
        "gateway",
        "gateway_reference",
        "idempotency_key",
        "failure_code",
        "failure_kind",
        "opened_at",
        "submitted_at",
        "resolved_at",
        "lookups",
        "next_lookup_at",
    )

    status_badge = status_column(STATUS_TONES)
    amount_money = money_column("amount_minor", "Amount")

    @display(description="Customer", ordering="invoice__customer__name")
    def customer(self, attempt: PaymentAttempt) -> str:
        """Return who is charged, linked."""
        return record_link(attempt.invoice.customer)


class PaymentMethodAdmin(RecordAdmin):
    """Ways to pay."""

    purpose = "Tokens of the payment processor that may be charged. No card number is kept here."
    list_display = ("label", "customer", "gateway", "is_default", "attached_at", "detached_at")
    list_filter = ("gateway", "is_default")
    search_fields = ("label", "customer__name")
    list_select_related = ("customer",)
    fact_fields = ("label", "customer", "gateway", "is_default", "attached_at", "detached_at")


RECORDS = ((PaymentAttempt, PaymentAttemptAdmin), (PaymentMethod, PaymentMethodAdmin))
