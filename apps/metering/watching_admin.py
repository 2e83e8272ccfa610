"""Alerts, sources, proofs and archives in the back office."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.decorators import display

from apps.common import formatting
from apps.common.admin import EMPTY, RecordAdmin, money_cell, number_column, status_column, words_before_colon
from apps.metering.models import (
    AnomalyRule,
    SourceHeartbeat,
    UsageAlert,
    UsageArchive,
    UsageMending,
    UsageProof,
    UsageSource,
    WatchPolicy,
)


class LiveFilter(admin.SimpleListFilter):
    """Alerts whose cause is there."""

    title = "live"
    parameter_name = "live"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the one choice there is."""
        return [("yes", "Cause is there"), ("no", "Closed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[UsageAlert]) -> QuerySet[UsageAlert]:
        """Return the alerts that are asked for."""
        if self.value() == "yes":
            return queryset.exclude(status="CLOSED")
        return queryset.filter(status="CLOSED") if self.value() == "no" else queryset


class UsageAlertAdmin(RecordAdmin):
    """What is wrong with usage."""

    purpose = (
        "What is missing, late, silent, unusual or not equal. An alert closes by itself when its cause is gone; the "
        "money is an estimate by the average of past documents."
    )
    list_display = ("opened_at", "kind_text", "subject", "risk", "status_badge", "sentence", "last_seen_at")
    list_filter = (LiveFilter, "kind")
    search_fields = ("subject",)
    fact_fields = (
        "kind_text",
        "subject",
        "sentence",
        "risk",
        "status_badge",
        "opened_at",
        "last_seen_at",
        "acknowledged_at",
        "acknowledged_by",
        "comment",
        "closed_at",
        "facts_json",
    )

    status_badge = status_column({"OPEN": "danger", "ACKNOWLEDGED": "warning", "CLOSED": "success"})

    @display(description="What", ordering="kind")
    def kind_text(self, alert: UsageAlert) -> str:
        """Return the short name of the kind."""
        return words_before_colon(alert, "kind")

    @display(description="At risk, about")
    def risk(self, alert: UsageAlert) -> SafeString | str:
        """Return the estimated money, one amount per currency."""
        cells = [money_cell(minor, currency) for currency, minor in sorted(alert.at_risk.items())]
        return SafeString(" ".join(cells)) if cells else EMPTY

    @display(description="Facts")
    def facts_json(self, alert: UsageAlert) -> SafeString:
        """Return the numbers behind the sentence; the field's own name is the page's."""
        return format_html('<pre class="ch-json" tabindex="0">{}</pre>', formatting.json_text(alert.facts))


class UsageSourceAdmin(RecordAdmin):
    """Where events come from."""

    purpose = "Sources of events as the follower has read them: how far each is, how late, and how its clock runs."
    list_display = ("source", "events", "last_received_at", "watermark_at", "on_time", "clock_ahead")
    search_fields = ("source",)
    fact_fields = (
        "source",
        "events",
        "first_received_at",
        "last_received_at",
        "watermark_at",
        "on_time",
        "clock_ahead",
        "judged_sequence",
    )

    events = number_column("event_count", "Events")

    @display(description="Within five minutes")
    def on_time(self, source: UsageSource) -> str:
        """Return the share of timed events that came within five minutes of their occurrence."""
        if not source.timed_count:
            return EMPTY
        bps = sum(source.delay_counts[:5]) * 10_000 // source.timed_count
        return f"{bps // 100}.{bps % 100:02d} %"

    @display(description="Clock ahead")
    def clock_ahead(self, source: UsageSource) -> str:
        """Return by how much its clock ran ahead lately, at least."""
        seconds, ms = divmod(source.clock_ahead_ms, 1000)
        return f"{seconds}.{ms:03d} s" if source.clock_ahead_ms else EMPTY


class SourceHeartbeatAdmin(RecordAdmin):
    """What sources say they sent."""

    purpose = "A source's own word: so many events that occurred in this window were sent. What is here is counted."
    list_display = ("source", "starts_at", "ends_at", "sent", "found", "counted_at")
    search_fields = ("source",)
    fact_fields = ("source", "starts_at", "ends_at", "sent", "found", "counted_at", "received_at")

    sent = number_column("sent_count", "Sent")
    found = number_column("found_count", "Here")


class UsageProofAdmin(RecordAdmin):
    """Days that were rebuilt and compared."""

    purpose = (
        "A day rebuilt from its raw events and laid beside everything derived from them. What the day came to is kept; "
        "a difference opens an alert."
    )
    list_display = ("usage_date", "proven_at", "events", "running_totals", "differences_badge", "duration")
    list_filter = ("usage_date",)
    fact_fields = (
        "usage_date",
        "proven_at",
        "events",
        "events_digest",
        "running_totals",
        "aggregates_digest",
        "differences_badge",
        "first_differences",
        "came_to",
        "snapshot",
        "duration",
    )

    events = number_column("event_count", "Events")
    running_totals = number_column("aggregate_count", "Running totals")

    @display(description="Differences", ordering="difference_count")
    def differences_badge(self, proof: UsageProof) -> SafeString:
        """Return the number of differences as a badge; none is what it should be."""
        tone, words = ("danger", f"{proof.difference_count}") if proof.difference_count else ("success", "none")
        return format_html('<span class="ch-badge ch-badge--{}">{}</span>', tone, words)

    @display(description="First differences")
    def first_differences(self, proof: UsageProof) -> SafeString | str:
        """Return the first differences, one a line."""
        return format_html_join("", "<p>{}</p>", [(words,) for words in proof.differences]) or EMPTY

    @display(description="What the day came to")
    def came_to(self, proof: UsageProof) -> SafeString | str:
        """Return the day's totals per meter as a table."""
        rows = format_html_join(
            "",
            '<tr><td>{} v{}</td><td class="ch-number">{}</td><td class="ch-number">{}</td><td>{}</td>'
            '<td class="ch-number">{}</td><td class="ch-number">{}</td></tr>',
            [
                (
                    row["meter"],
                    row["version"],
                    formatting.number_text(row["events"]),
                    formatting.number_text(row["sum"]),
                    row["unit"],
                    formatting.number_text(row["max"]),
                    formatting.number_text(row["customers"]),
                )
                for row in proof.totals
            ],
        )
        if not rows:
            return EMPTY
        return format_html(
            '<table class="ch-table"><thead><tr><th scope="col">Meter</th><th scope="col" class="ch-number">Events</th>'
            '<th scope="col" class="ch-number">Sum</th><th scope="col">Unit</th>'
            '<th scope="col" class="ch-number">Largest</th><th scope="col" class="ch-number">Customers</th>'
            "</tr></thead><tbody>{}</tbody></table>",
            rows,
        )

    @display(description="Took", ordering="duration_ms")
    def duration(self, proof: UsageProof) -> str:
        """Return how long the proof took."""
        return f"{formatting.number_text(proof.duration_ms)} ms"

    def banner(self, record: UsageProof) -> tuple[str, str]:
        """Say whether the day is whole."""
        if record.difference_count:
            return "danger", (
                "Running totals are not what the raw events give. Find out who changed them, then mend each hour with "
                "`manage.py usage_proof --mend`; see the runbook of usage alerts."
            )
        return "success", "Rebuilt from the raw events, this day gave exactly what is stored."


class UsageArchiveAdmin(RecordAdmin):
    """Months that left the database."""

    purpose = "Months of raw events in files: written, read back, and only then taken out. Totals and documents stay."
    list_display = ("month_date", "rows", "status_badge", "location", "written_at", "retired_at", "restored_at")
    fact_fields = (
        "month_date",
        "status_badge",
        "rows",
        "location",
        "file_sha256",
        "size",
        "events_digest",
        "written_at",
        "verified_at",
        "retired_at",
        "restored_at",
        "abandoned_at",
        "manifest",
    )

    rows = number_column("row_count", "Events")
    size = number_column("file_bytes", "Bytes of the file")
    status_badge = status_column(
        {"WRITTEN": "warning", "VERIFIED": "info", "RETIRED": "neutral", "RESTORED": "success", "ABANDONED": "neutral"}
    )

    def banner(self, record: UsageArchive) -> tuple[str, str] | None:
        """Say how to have the month back."""
        if record.status != "RETIRED":
            return None
        return "info", (
            "These raw events are in the file only. "
            f"`manage.py usage_restore --month {record.month_date:%Y-%m}` brings them back, and lines of that time "
            "explain themselves again."
        )


class UsageMendingAdmin(RecordAdmin):
    """Hours that were rebuilt by order."""

    purpose = "Hours whose running totals were rebuilt from raw events by order, with the reason."
    list_display = ("mended_at", "hour_at", "customer_id", "reason", "actor_label")
    fact_fields = ("hour_at", "customer_id", "reason", "actor_label", "mended_at")


class AnomalyRuleAdmin(RecordAdmin):
    """When an hour is unusual."""

    purpose = (
        "When a customer's hour of a meter is told as unusual: by its share of the same hour of the weeks before. "
        "Meters without a rule take 400 % and 10 % from 100 units on. Set one with the button on a meter."
    )
    list_display = ("meter_code", "high_percent", "low_percent", "least", "is_active", "changed_at")
    fact_fields = ("meter_code", "high_percent", "low_percent", "least", "is_active", "changed_at")

    least = number_column("volume_min", "Least volume")


class WatchPolicyAdmin(RecordAdmin):
    """From when on a tenant is alerted."""

    purpose = (
        "From when on missing and late events are told, and how long raw events are kept. Without a row, the "
        "installation's settings hold."
    )
    list_display = (
        "loss_alert_bps",
        "delay_alert_seconds",
        "clock_alert_seconds",
        "retention_months",
        "changed_at",
    )
    fact_fields = list_display


RECORDS = (
    (UsageAlert, UsageAlertAdmin),
    (UsageSource, UsageSourceAdmin),
    (SourceHeartbeat, SourceHeartbeatAdmin),
    (UsageProof, UsageProofAdmin),
    (UsageArchive, UsageArchiveAdmin),
    (UsageMending, UsageMendingAdmin),
    (AnomalyRule, AnomalyRuleAdmin),
    (WatchPolicy, WatchPolicyAdmin),
)
