"""The tables under late usage and adjustments: what came, what it changes, and both rating decisions."""

from typing import Any

from django.db.models import Model

from apps.backoffice.tables import ROWS_SHOWN, Column, Panel
from apps.common import formatting
from apps.common.admin import badge, money_cell, record_link, words_before_colon
from apps.invoices.adjustment_admin import STATUS_TONES
from apps.invoices.models import Adjustment
from apps.metering import late_usage
from apps.metering import selectors as metering_selectors
from apps.metering.models import LateUsage


def _late_usage(late: LateUsage) -> list[Panel]:
    window = late.window
    found = Adjustment.objects.filter(billing_period_id=window.source_id).select_related("invoice").order_by("-id")
    panels = [_adjustments(list(found[:ROWS_SHOWN]))]
    if late.status == "FOUND":
        events = metering_selectors.usage_events_changed(
            meter=window.meter,
            customer_id=window.customer_id,
            subscription_id=window.subscription_id,
            starts_at=window.starts_at,
            ends_at=window.ends_at,
            snapshot_before=window.snapshot,
            snapshot_after=metering_selectors.snapshot_now(),
            limit=ROWS_SHOWN,
        )
        panels.insert(0, _events(events))
    return panels


def _events(events: list[Any]) -> Panel:
    return Panel(
        title="Events and cancellations that came late",
        columns=(
            Column("Occurred"),
            Column("Received"),
            Column("Event id"),
            Column("Source"),
            Column("Quantity", True),
        ),
        rows=[
            [
                formatting.instant_text(event.occurred_at),
                formatting.instant_text(event.received_at),
                event.event_id,
                event.source,
                "" if event.quantity is None else formatting.number_text(event.quantity),
            ]
            for event in events
        ],
        empty="What came was accounted for by a later reading; settling it says so.",
    )


def _adjustments(found: list[Adjustment]) -> Panel:
    return Panel(
        title="Adjustments of the period",
        columns=(Column("Id"), Column("Made"), Column("Status"), Column("Difference", True), Column("Invoice")),
        rows=[
            [
                record_link(adjustment),
                formatting.instant_text(adjustment.made_at),
                badge(words_before_colon(adjustment, "status"), STATUS_TONES[str(adjustment.status)]),
                money_cell(adjustment.amount_minor, adjustment.currency),
                record_link(adjustment.invoice, adjustment.invoice.number or "draft") if adjustment.invoice else "",
            ]
            for adjustment in found
        ],
        empty="Nothing of the period has been adjusted yet.",
    )


def _adjustment(adjustment: Adjustment) -> list[Panel]:
    return [
        Panel(
            title="Lines",
            columns=(
                Column("Charge"),
                Column("For"),
                Column("Units billed", True),
                Column("Units now", True),
                Column("Billed", True),
                Column("Owed", True),
                Column("Difference", True),
            ),
            rows=[
                [
                    line.description,
                    formatting.period_text(line.service_starts_at, line.service_ends_at, _zone(adjustment)),
                    formatting.number_text(line.before["quantity"]),
                    formatting.number_text(line.after["quantity"]),
                    money_cell(int(line.before["amount_minor"]), adjustment.currency),
                    money_cell(int(line.after["amount_minor"]), adjustment.currency),
                    money_cell(line.amount_minor, adjustment.currency),
                ]
                for line in adjustment.lines.order_by("position")
            ],
            empty="It has no line.",
        ),
        Panel(
            title="Late usage behind it",
            columns=(Column("Meter"), Column("Events", True), Column("Cancellations", True), Column("Last received")),
            rows=[
                [
                    record_link(late, str(late.window.meter)),
                    late.event_count,
                    late.cancelled_count,
                    formatting.instant_text(late.last_received_at),
                ]
                for late in late_usage.late_usage_queryset().filter(adjustment_id=adjustment.id)[:ROWS_SHOWN]
            ],
            empty="None: it was made on purpose.",
        ),
    ]


def _zone(adjustment: Adjustment) -> str:
    return adjustment.billing_period.timezone if adjustment.billing_period else "UTC"


MAKERS: tuple[tuple[type[Model], Any], ...] = ((LateUsage, _late_usage), (Adjustment, _adjustment))
