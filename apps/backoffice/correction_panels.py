"""The tables under a correction, under an event, and under a refused one: effect, events, versions."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.db.models import Model
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.backoffice.tables import ROWS_SHOWN, Column, Panel
from apps.common import formatting
from apps.common.admin import EMPTY, badge, money_cell, record_link, url_of, words_before_colon
from apps.customers.models import Customer
from apps.metering import corrected_events, corrections, quarantine
from apps.metering.admin import CORRECTION_TONES, QUARANTINE_TONES
from apps.metering.correction_documents import CorrectedEvent, UsageCorrection
from apps.metering.models import QuarantinedEvent, UsageEvent

_SHOWN = ("type", "customer", "subscription", "occurred_at", "quantity", "properties")


def _correction(correction: UsageCorrection) -> list[Panel]:
    return [_effect(correction), _documents(correction), _events(correction), _counters(correction)]


def _effect(correction: UsageCorrection) -> Panel:
    lines = correction.effect["lines"][:ROWS_SHOWN]
    customers = Customer.objects.in_bulk([Customer.id_from_public(line["customer"]) for line in lines])
    left_out = correction.effect["lines_left_out"] + len(correction.effect["lines"]) - len(lines)
    more = f" (the largest of {len(lines) + left_out})" if left_out else ""
    unknown = "" if correction.effect["is_whole"] else "; more months than could be measured"
    return Panel(
        title=f"Effect on quantities{more}{unknown}",
        columns=(
            Column("Meter"),
            Column("Customer"),
            Column("Of"),
            Column("Before", True),
            Column("After", True),
            Column("Change", True),
        ),
        rows=[
            [
                f"{line['meter']} v{line['version']}",
                record_link(customers.get(Customer.id_from_public(line["customer"]))),
                line["month"] or "these events",
                formatting.number_text(line["units_before"]),
                formatting.number_text(line["units_after"]),
                f"{formatting.number_text(line['units_change'])} {line['unit_name']}".strip(),
            ]
            for line in lines
        ],
        empty="No meter counts these events.",
    )


def _documents(correction: UsageCorrection) -> Panel:
    effect = correction.document_effect or {"is_whole": False, "documents": []}
    unknown = "" if effect["is_whole"] else " (not all could be measured)"
    return Panel(
        title=f"Effect on final documents, before tax{unknown}",
        columns=(Column("Invoice"), Column("Becomes an adjustment of", True)),
        rows=[
            [
                format_html(
                    '<a href="{}">{}</a>',
                    url_of(label="invoices.invoice", pk=document["invoice"]),
                    document["number"],
                ),
                money_cell(document["amount_minor"], document["currency"]),
            ]
            for document in effect["documents"][:ROWS_SHOWN]
        ],
        empty="No final document has billed these periods; drafts and later documents take it in by themselves.",
    )


def _events(correction: UsageCorrection) -> Panel:
    rows = correction.events.order_by("position")[:ROWS_SHOWN]
    shown = f", the first {ROWS_SHOWN} of {correction.event_count}" if correction.event_count > ROWS_SHOWN else ""
    return Panel(
        title=f"Events{shown}",
        columns=(Column("#", True), Column("Event"), Column("Was"), Column("Is to be"), Column("Under the id")),
        rows=[
            [
                row.position,
                _event_link(row.event_key, f"{row.source}: {row.event_id}"),
                *_difference(row),
                _event_link(row.after_key, row.after_event_id) if row.after_event_id else EMPTY,
            ]
            for row in rows
        ],
        empty="It names no event.",
    )


def _difference(row: CorrectedEvent) -> tuple[Any, Any]:
    """Return what was and what is to be; of an amendment only what differs."""
    before = corrected_events.document_shown(row.before) if row.before is not None else {}
    after = corrected_events.document_shown(row.after) if row.after is not None else {}
    names = [name for name in _SHOWN if not (before and after) or before.get(name) != after.get(name)]
    if before and after and not names:
        return "the same", "the same, written anew"
    return tuple(  # type: ignore[return-value]  # two of them
        _json({name: document[name] for name in names if name in document}) if document else "nothing"
        for document in (before, after)
    )


def _json(document: dict[str, Any]) -> SafeString:
    return format_html('<pre class="ch-json" tabindex="0">{}</pre>', formatting.json_text(document))


def _event_link(key: UUID | None, words: str) -> SafeString | str:
    if key is None:
        return words
    return format_html('<a href="{}">{}</a>', url_of(label=UsageEvent._meta.label_lower, pk=key), words)


def _counters(correction: UsageCorrection) -> Panel:
    return Panel(
        title="Taken back by",
        columns=(Column("Correction"), Column("Status"), Column("Asked for by"), Column("Why")),
        rows=[
            [
                record_link(row),
                badge(words_before_colon(row, "status"), CORRECTION_TONES[str(row.status)]),
                row.requested_by_name,
                row.comment,
            ]
            for row in correction.counter_corrections.order_by("-id")[:ROWS_SHOWN]
        ],
        empty="Nobody took it back.",
    )


def _event(event: UsageEvent) -> list[Panel]:
    rows = corrections.corrections_of_event(key=event.event_key)[:ROWS_SHOWN]
    return [
        Panel(
            title="Corrections",
            columns=(Column("Correction"), Column("Status"), Column("Here it"), Column("Asked for by"), Column("Why")),
            rows=[
                [
                    record_link(row.correction),
                    badge(words_before_colon(row.correction, "status"), CORRECTION_TONES[str(row.correction.status)]),
                    _part(row, event.event_key),
                    row.correction.requested_by_name,
                    row.correction.comment,
                ]
                for row in rows
            ],
            empty="It counts as it was sent.",
        )
    ]


def _part(row: CorrectedEvent, key: UUID) -> str:
    if row.event_key == key:
        return "is cancelled" if row.after is None else f"is replaced by {row.after_event_id}"
    return "is brought" if row.after_key == key else f"is stood for by {row.after_event_id}"


def _quarantined(event: QuarantinedEvent) -> list[Panel]:
    versions = quarantine.versions_of(quarantined=event)
    return [
        Panel(
            title="Versions",
            columns=(Column("Version"), Column("Kept"), Column("Status"), Column("Written by"), Column("Why")),
            rows=[
                [
                    record_link(version, version.public_id),
                    formatting.instant_text(version.received_at),
                    badge(words_before_colon(version, "status"), QUARANTINE_TONES[str(version.status)]),
                    version.edited_by_name or "its producer",
                    version.edit_comment,
                ]
                for version in versions
            ],
            empty="It is as it came.",
        )
    ]


MAKERS: tuple[tuple[type[Model], Callable[[Any], list[Panel]]], ...] = (
    (UsageCorrection, _correction),
    (UsageEvent, _event),
    (QuarantinedEvent, _quarantined),
)
