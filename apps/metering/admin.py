"""Meters, events and running totals in the back office."""

from typing import Any

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.decorators import display

from apps.common.admin import RecordAdmin, number_column, status_column, words_before_colon
from apps.metering.import_models import UsageImport
from apps.metering.models import EventMapping, Meter, QuarantinedEvent, UsageEvent


class MeterAdmin(RecordAdmin):
    """What is measured."""

    purpose = "What is measured and how it adds up. A meter never changes: another way of counting is another version."
    list_display = ("code", "version", "name", "event_type", "aggregation_text", "unit_name", "is_current")
    list_filter = ("aggregation",)
    search_fields = ("code", "name", "event_type")
    fact_fields = (
        "code",
        "version",
        "name",
        "event_type",
        "aggregation",
        "value_property",
        "operation_property",
        "has_carry_over",
        "unit_name",
        "filters",
        "group_by",
        "rounding",
        "rules",
        "defined_at",
        "retired_at",
    )

    @display(description="Adds up by", ordering="aggregation")
    def aggregation_text(self, meter: Meter) -> str:
        """Return the short name of the aggregation."""
        return words_before_colon(meter, "aggregation")

    @display(description="Current", boolean=True)
    def is_current(self, meter: Meter) -> bool:
        """Return whether new plans may use this version."""
        return meter.retired_at is None


class EventMappingAdmin(RecordAdmin):
    """How a source's events are read."""

    purpose = "How events of other shapes are read: from our field to its place in the source's own event."
    list_display = ("source", "version", "defined_at")
    search_fields = ("source",)
    fact_fields = ("source", "version", "fields", "defined_at")


class FirstPagesPaginator(Paginator):
    """Count a firehose only as far as anybody would page: counting all of it would read all of it."""

    PAGES_MAX = 20

    @property
    def count(self) -> int:
        """Return the number of rows, up to what the first pages hold."""
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]
        return rows.order_by()[: self.PAGES_MAX * self.per_page].count()


class UsageEventAdmin(RecordAdmin):
    """Raw events."""

    purpose = "Events as they were sent, the newest of the last weeks first. They are facts: nothing changes them."
    list_display = ("occurred_at", "type", "event_id", "source", "quantity_money", "received_at")
    search_fields = ("event_id",)
    search_help_text = "The event's own id, as the source sent it."
    ordering = ("-occurred_at",)
    paginator = FirstPagesPaginator
    fact_fields = (
        "event_id",
        "source",
        "type",
        "customer_id",
        "subscription_id",
        "occurred_at",
        "received_at",
        "quantity_money",
        "properties",
    )

    quantity_money = number_column("quantity", "Quantity")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[UsageEvent], search_term: str
    ) -> tuple[QuerySet[UsageEvent], bool]:
        """Return events with exactly this id: a search for parts of ids would read every partition."""
        return (queryset.filter(event_id=search_term.strip()) if search_term.strip() else queryset), False


class QuarantinedEventAdmin(RecordAdmin):
    """Refused, not lost."""

    purpose = "Events that were refused, with the reason. Repair the cause, then replay them."
    list_display = ("received_at", "code", "source", "event_id", "status_badge", "detail")
    list_filter = ("status", "code", "source")
    search_fields = ("event_id", "code")
    fact_fields = ("code", "detail", "status_badge", "source", "event_id", "received_at", "replayed_at", "raw")

    status_badge = status_column({"HELD": "warning", "REPLAYED": "success"})


class UsageImportAdmin(RecordAdmin):
    """Files that were read in."""

    purpose = "Files of usage events read in by usage_import: how far each is, and what became of its events."
    list_display = (
        "file_name",
        "accepted_count",
        "duplicate_count",
        "conflict_count",
        "rejected_count",
        "read_at",
        "is_finished",
    )
    list_filter = ("format",)
    search_fields = ("file_name",)
    fact_fields = (
        "file_name",
        "is_finished",
        "accepted_count",
        "duplicate_count",
        "conflict_count",
        "rejected_count",
        "read_lines",
        "read_bytes",
        "read_sha256",
        "format",
        "encoding",
        "mapping_source",
        "columns",
        "begun_by_name",
        "begun_at",
        "read_at",
        "finished_at",
    )

    @display(description="Finished", boolean=True)
    def is_finished(self, usage_import: UsageImport) -> bool:
        """Return whether the file was read to its end."""
        return usage_import.finished_at is not None

    def banner(self, record: UsageImport) -> tuple[str, str] | None:
        """Say what to do about an import that did not come to its end."""
        if record.finished_at is not None:
            return None
        return "warning", "Not read to its end yet. Give the same file to usage_import again: it goes on where it was."


RECORDS = (
    (Meter, MeterAdmin),
    (EventMapping, EventMappingAdmin),
    (UsageEvent, UsageEventAdmin),
    (QuarantinedEvent, QuarantinedEventAdmin),
    (UsageImport, UsageImportAdmin),
)
