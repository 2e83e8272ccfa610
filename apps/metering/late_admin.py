"""The inbox of late usage and its policies in the back office."""

from typing import Any

from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display

from apps.common import formatting
from apps.common.admin import EMPTY, RecordAdmin, money_cell, status_column, url_of
from apps.customers.models import Customer
from apps.metering import late_usage
from apps.metering.late_models import LateUsage, LateUsagePolicy

STATUS_TONES = {"FOUND": "warning", "ADJUSTED": "info", "NOTHING_DUE": "neutral", "WAIVED": "neutral"}


class LateUsageAdmin(RecordAdmin):
    """The inbox."""

    purpose = (
        "Usage that came, or was corrected, after its period was billed. Each batch shows what it changes on the bill, "
        "rated as its period was priced; it is settled by itself or by one click, as the policy says."
    )
    list_display = (
        "meter",
        "customer",
        "period",
        "counts",
        "units",
        "effect",
        "policy",
        "status_badge",
        "last_received_at",
    )
    list_display_links = ("meter",)
    list_filter = ("status", "window__meter__code")
    list_select_related = ("window__meter",)
    ordering = ("-last_received_at", "-id")
    fact_fields = (
        "meter",
        "customer",
        "period",
        "counts",
        "first_occurred_at",
        "last_occurred_at",
        "first_received_at",
        "last_received_at",
        "units",
        "effect",
        "policy",
        "status_badge",
        "waits_because",
        "resolution",
        "resolved_at",
    )

    status_badge = status_column(STATUS_TONES)

    def get_queryset(self, request: HttpRequest) -> QuerySet[LateUsage]:
        """Return late usage with the name of its customer, which the window knows by id only."""
        name = Customer.objects.filter(id=OuterRef("window__customer_id")).values("name")[:1]
        zone = Customer.objects.filter(id=OuterRef("window__customer_id")).values("timezone")[:1]
        found = super().get_queryset(request)
        return found.annotate(customer_name=Subquery(name), customer_zone=Subquery(zone))

    @display(description="Meter", ordering="window__meter__code")
    def meter(self, late: LateUsage) -> str:
        """Return the meter version whose usage came late."""
        return str(late.window.meter)

    @display(description="Customer")
    def customer(self, late: LateUsage) -> Any:
        """Return whose usage it is."""
        name, url = getattr(late, "customer_name", None), url_of(label="customers.customer", pk=late.window.customer_id)
        return format_html('<a href="{}">{}</a>', url, name) if name and url else name or EMPTY

    @display(description="Period")
    def period(self, late: LateUsage) -> str:
        """Return the billed interval in the customer's own days."""
        zone = getattr(late, "customer_zone", None) or "UTC"
        return formatting.period_text(late.window.starts_at, late.window.ends_at, zone)

    @display(description="Came late")
    def counts(self, late: LateUsage) -> str:
        """Return how many events and cancellations came."""
        parts = [(late.event_count, "event"), (late.cancelled_count, "cancellation")]
        return ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for count, word in parts if count)

    @display(description="Units")
    def units(self, late: LateUsage) -> str:
        """Return the quantity that was billed and the one that is there now."""
        if late.quantity_before is None or late.quantity_after is None:
            return EMPTY
        unit = late.window.meter.unit_name
        before, after = formatting.number_text(late.quantity_before), formatting.number_text(late.quantity_after)
        return f"{before} to {after} {unit}".strip()

    @display(description="Effect, before tax")
    def effect(self, late: LateUsage) -> SafeString | str:
        """Return what the period comes to more or less, by the real re-rating."""
        return EMPTY if late.effect_minor is None else money_cell(late.effect_minor, late.currency)

    @display(description="Policy")
    def policy(self, late: LateUsage) -> str:
        """Return what is said about this meter's late usage."""
        (policy,) = late_usage.policies_of(meters=[late.window.meter])
        return str(policy.policy).replace("_", " ")

    def banner(self, record: LateUsage) -> tuple[str, str] | None:
        """Return why it waits, or what became of it."""
        if record.status == "FOUND":
            return "warning", record.waits_because or "It is rated and settled within minutes, as the policy says."
        return "success", record.resolution


class LateUsagePolicyAdmin(RecordAdmin):
    """Policies."""

    purpose = (
        "What becomes of usage that comes after its document was final, for the tenant and for single meters, and how "
        "long documents wait for it. Without a row: the next invoice, up to 100 approved by rule. Each way has its "
        "price: the next invoice brings the money a period later and leaves documents and recognised revenue as they "
        "are; a document of its own comes at odd times; to hold delays every document of a period."
    )
    list_display = (
        "meter_code",
        "policy",
        "grace_hours",
        "hold_hours_max",
        "approved_up_to",
        "is_settled_automatically",
        "changed_at",
    )
    list_display_links = ("policy",)
    fact_fields = (
        "meter_code",
        "policy",
        "grace_hours",
        "hold_hours_max",
        "approved_up_to",
        "alone_after_hours",
        "is_settled_automatically",
        "changed_at",
    )


RECORDS = ((LateUsage, LateUsageAdmin), (LateUsagePolicy, LateUsagePolicyAdmin))
