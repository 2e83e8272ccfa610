"""Meters, events and running totals in the back office."""

from typing import Any
from uuid import UUID

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display

from apps.common.admin import RecordAdmin, number_column, status_column, words_before_colon
from apps.common.formatting import instant_text, number_text
from apps.metering import corrected_events, late_admin
from apps.metering.correction_documents import CorrectionBound, UsageCorrection
from apps.metering.corrections import EVENTS_MAX_ALONE, UNITS_MAX_ALONE
from apps.metering.import_models import UsageImport
from apps.metering.models import (
    EventMapping,
    EventTypePolicy,
    Meter,
    QuarantinedEvent,
    UsageCancellation,
    UsageEvent,
    UsageSettings,
)

CORRECTION_TONES = {
    "PENDING_APPROVAL": "warning",
    "APPROVED": "info",
    "APPLIED": "success",
    "REJECTED": "neutral",
    "CANCELED": "neutral",
}
QUARANTINE_TONES = {"HELD": "warning", "REPLAYED": "success", "EDITED": "info", "DISCARDED": "neutral"}


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
        "weight_property",
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


class UsageSettingsAdmin(RecordAdmin):
    """How events are taken in."""

    purpose = "How old and how new events may be, and how long an id is known. Without a row the defaults hold."
    list_display = ("__str__", "retry_window_hours", "changed_at")
    fact_fields = (
        "behind_days_max",
        "ahead_seconds_max",
        "dedup_window_hours",
        "retry_window_hours",
        "keys_forgotten_until",
        "changed_at",
    )


class EventTypePolicyAdmin(RecordAdmin):
    """What is kept of events."""

    purpose = "What is stored of the properties of one type's events; the highest version of a type is in force."
    list_display = ("event_type", "version", "is_limited", "kept_properties", "hashed_properties", "defined_at")
    search_fields = ("event_type",)
    fact_fields = ("event_type", "version", "is_limited", "kept_properties", "hashed_properties", "defined_at")


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

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> UsageEvent | None:
        """Return an event by its key, found by when it was received: events have no index of their own by key."""
        try:
            return corrected_events.event_by_key(UUID(object_id))
        except ValueError:
            return None

    def banner(self, record: UsageEvent) -> tuple[str, str] | None:
        """Say when an event counts no more."""
        cancelled = UsageCancellation.objects.filter(event_key=record.event_key).first()
        if cancelled is None:
            return None
        named = UsageCorrection(id=cancelled.correction_id).public_id
        return "warning", f"This event counts no more since {instant_text(cancelled.cancelled_at)}: {named}."


class QuarantinedEventAdmin(RecordAdmin):
    """Refused, not lost."""

    purpose = (
        "Events that were refused, with the reason, as they came. Repair the cause, then replay them; edit what cannot "
        "go in as it is; discard what is no usage."
    )
    list_display = ("received_at", "code", "source", "event_id", "customer_reference", "status_badge", "detail")
    list_filter = ("status", "code", "source")
    search_fields = ("event_id", "code", "customer_reference")
    fact_fields = (
        "code",
        "detail",
        "status_badge",
        "source",
        "event_id",
        "customer_reference",
        "received_at",
        "replayed_at",
        "edits",
        "edited_by_name",
        "edit_comment",
        "closed_at",
        "closed_by_name",
        "close_reason",
        "close_comment",
        "raw",
    )

    status_badge = status_column(QUARANTINE_TONES)


class UsageCorrectionAdmin(RecordAdmin):
    """Usage that counts differently than it was sent."""

    purpose = (
        "Corrections of usage: events that count no more, others in their place, and what came too late. Small ones "
        "are applied at once, larger ones wait for somebody other than who asked. To correct one event, find it first."
    )
    list_display = (
        "requested_at",
        "kind_text",
        "event_count",
        "units_text",
        "reason_text",
        "requested_by_name",
        "status_badge",
        "decided_by_name",
    )
    list_filter = ("status", "kind", "reason_code")
    search_fields = ("comment", "requested_by_name")
    list_select_related = ("counters",)
    fact_fields = (
        "status_badge",
        "kind",
        "reason_code",
        "comment",
        "evidence",
        "event_count",
        "counters",
        "is_for_newer_meters",
        "is_within_bound",
        "requested_by_name",
        "requested_at",
        "decided_by_name",
        "decided_at",
        "decision_comment",
        "applied_at",
    )

    status_badge = status_column(CORRECTION_TONES)

    @display(description="Does", ordering="kind")
    def kind_text(self, correction: UsageCorrection) -> str:
        """Return the short name of its kind."""
        return words_before_colon(correction, "kind")

    @display(description="Why", ordering="reason_code")
    def reason_text(self, correction: UsageCorrection) -> str:
        """Return the short name of its reason."""
        return words_before_colon(correction, "reason_code")

    @display(description="Units")
    def units_text(self, correction: UsageCorrection) -> str:
        """Return what it changes, by meter."""
        changes = [
            f"{number_text(total['units_change'])} {total['unit_name'] or total['meter']}"
            for total in correction.effect["meters"]
            if total["units_change"] != "0"
        ]
        return ", ".join(changes[:3]) + (", \u2026" if len(changes) > 3 else "")

    @display(description="Evidence")
    def evidence(self, correction: UsageCorrection) -> SafeString | str:
        """Return a link to where the evidence is kept."""
        url = correction.evidence_url
        return format_html('<a href="{}" rel="noopener noreferrer">{}</a>', url, url) if url else ""


class CorrectionBoundAdmin(RecordAdmin):
    """How much one person may correct alone."""

    purpose = (
        f"Up to the newest of these one person corrects usage alone. Where there is none: {EVENTS_MAX_ALONE} events "
        f"and {UNITS_MAX_ALONE} units of any one meter and customer."
    )
    list_display = ("set_at", "events_max", "units_max_text", "set_by_name", "comment")
    fact_fields = ("set_at", "events_max", "units_max_text", "set_by_name", "comment")

    units_max_text = number_column("units_max", "Units max")


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
    *late_admin.RECORDS,
    (Meter, MeterAdmin),
    (EventMapping, EventMappingAdmin),
    (UsageSettings, UsageSettingsAdmin),
    (EventTypePolicy, EventTypePolicyAdmin),
    (UsageEvent, UsageEventAdmin),
    (QuarantinedEvent, QuarantinedEventAdmin),
    (UsageCorrection, UsageCorrectionAdmin),
    (CorrectionBound, CorrectionBoundAdmin),
    (UsageImport, UsageImportAdmin),
)
