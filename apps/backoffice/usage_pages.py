"""Pages about usage that are no list of one noun: find an event, and what was refused or is counted by no meter."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from unfold import widgets

from apps.backoffice import buttons, signing_in
from apps.backoffice.buttons.subscription_forms import InstantInput
from apps.backoffice.pages import page_render
from apps.backoffice.tables import ROWS_SHOWN, Column, Panel
from apps.common import clock, formatting
from apps.common.admin import badge, record_link
from apps.customers import selectors as customer_selectors
from apps.customers.errors import CustomerUnknown
from apps.customers.models import Customer
from apps.identity.models import User
from apps.metering import corrected_events, event_identity, quarantine, unmatched
from apps.metering.models import QuarantinedEvent, UsageCancellation, UsageEvent

_WINDOW = timedelta(days=31)


class EventSearchForm(forms.Form):
    """One event by its identity, or a customer's in a window."""

    source = forms.CharField(required=False, max_length=255, widget=widgets.UnfoldAdminTextInputWidget())
    event_id = forms.CharField(label="Id", required=False, max_length=255, widget=widgets.UnfoldAdminTextInputWidget())
    customer = forms.CharField(
        required=False, max_length=120, help_text="Code or id.", widget=widgets.UnfoldAdminTextInputWidget()
    )
    type = forms.CharField(required=False, max_length=120, widget=widgets.UnfoldAdminTextInputWidget())
    starts_at = InstantInput(
        label="From", required=False, help_text="In UTC, like 2026-02-01 00:00; a month from there."
    )

    def clean(self) -> dict[str, Any]:
        """Require one way of finding."""
        cleaned = super().clean() or {}
        is_named = bool(cleaned.get("source")) and bool(cleaned.get("event_id"))
        if not is_named and not cleaned.get("customer"):
            raise forms.ValidationError("Give source and id, or a customer and from when.")
        if any("\0" in str(value) for value in cleaned.values()):
            raise forms.ValidationError("No source, id or code holds a NUL.")
        return cleaned


def usage_search(request: HttpRequest) -> HttpResponse:
    """Find stored events, each with what can be done about it."""
    _require(request)
    is_asked = bool(request.GET)
    form = EventSearchForm(request.GET if is_asked else None)
    problem, panel = "", None
    if is_asked and form.is_valid():
        try:
            panel = _found_panel(_found(form.cleaned_data), signing_in.staff_of(request))
        except CustomerUnknown as error:
            problem = error.detail
    context = {"title": "Find an event", "form": form, "panel": panel, "problem": problem}
    return page_render(request, "backoffice/usage_search.html", context)


def _found(asked: dict[str, Any]) -> list[UsageEvent]:
    if asked["source"] and asked["event_id"]:
        key = event_identity.event_key(source=asked["source"], event_id=asked["event_id"])
        event = corrected_events.event_by_key(UUID(key))
        return [event] if event is not None else []
    customer = customer_selectors.customer_by_reference(asked["customer"])
    starts_at: datetime = asked["starts_at"] or clock.now() - _WINDOW
    events = UsageEvent.objects.filter(
        customer_id=customer.id, occurred_at__gte=starts_at, occurred_at__lt=starts_at.astimezone(UTC) + _WINDOW
    )
    if asked["type"]:
        events = events.filter(type=asked["type"])
    return list(events.order_by("occurred_at")[: ROWS_SHOWN + 1])


def _found_panel(events: list[UsageEvent], user: User) -> Panel:
    shown = events[:ROWS_SHOWN]
    cancelled = set(
        UsageCancellation.objects.filter(event_key__in=[event.event_key for event in shown]).values_list(
            "event_key", flat=True
        )
    )
    customers = Customer.objects.in_bulk({event.customer_id for event in shown})
    more = f"; there are more than {ROWS_SHOWN}, begin later" if len(events) > len(shown) else ""
    return Panel(
        title=f"Events found{more}",
        columns=(
            Column("Occurred (UTC)"),
            Column("Type"),
            Column("Event"),
            Column("Customer"),
            Column("Quantity", True),
            Column("Properties"),
            Column("State"),
            Column("Correct it"),
        ),
        rows=[
            [
                formatting.instant_text(event.occurred_at, has_seconds=True).removesuffix(" UTC"),
                event.type,
                record_link(event, f"{event.source}: {event.event_id}"),
                record_link(customers.get(event.customer_id)),
                "" if event.quantity is None else formatting.number_text(event.quantity),
                ", ".join(f"{name}: {value}" for name, value in event.properties.items())[:120],
                badge("Cancelled", "neutral") if event.event_key in cancelled else badge("Counts", "success"),
                "" if event.event_key in cancelled else _links(event, user),
            ]
            for event in shown
        ],
        empty="No such event is stored. A refused one is in quarantine, one of long ago in the archive.",
    )


def _links(event: UsageEvent, user: User) -> SafeString | str:
    links = [
        format_html('<a href="{}">{}<span class="ch-unseen"> {}</span></a>', offer.url, offer.title, event.event_id)
        for offer in buttons.offers_for_record(user=user, record=event)
    ]
    return format_html(" &nbsp; ".join("{}" for _ in links), *links) if links else ""


def usage_uncounted(request: HttpRequest) -> HttpResponse:
    """Show what was refused by reason and age, and what was accepted and is counted by no meter, with the remedies."""
    _require(request)
    at = clock.now()
    user = signing_in.staff_of(request)
    context = {
        "title": "Usage not counted",
        "panels": [_refused_panel(at), _unmatched_panel()],
        "buttons": buttons.offers_for_list(user=user, model=QuarantinedEvent),
    }
    return page_render(request, "backoffice/usage_uncounted.html", context)


def _refused_panel(at: datetime) -> Panel:
    listed = reverse("admin:metering_quarantinedevent_changelist")
    return Panel(
        title="Refused, by reason",
        columns=(
            Column("Reason"),
            Column("Wait", True),
            Column("Customers", True),
            Column("Last hour", True),
            Column("Last day", True),
            Column("Last week", True),
            Column("Older", True),
            Column("Oldest"),
        ),
        rows=[
            [
                format_html(
                    '<a href="{}?{}">{}</a>',
                    listed,
                    urlencode({"status__exact": "HELD", "code": count.code}),
                    count.code.replace("_", " "),
                ),
                count.count,
                count.customers,
                count.within_hour,
                count.within_day,
                count.within_week,
                count.older,
                formatting.age_text(count.oldest_received_at, at),
            ]
            for count in quarantine.quarantine_counts(at=at)
        ],
        empty="Nothing is refused that somebody has not dealt with.",
    )


def _unmatched_panel() -> Panel:
    return Panel(
        title="Accepted, and counted by no meter",
        columns=(
            Column("Type"),
            Column("Because"),
            Column("Events", True),
            Column("Days"),
            Column("For instance"),
            Column("What to do"),
        ),
        rows=[
            [
                line.event_type,
                line.reason.replace("_", " "),
                formatting.number_text(line.event_count),
                _days(line),
                _sample(line),
                line.remedy,
            ]
            for line in unmatched.unmatched_lines()
        ],
        empty="Every accepted event is counted by a meter.",
    )


def _days(line: unmatched.UnmatchedLine) -> str:
    first, last = formatting.date_text(line.first_date), formatting.date_text(line.last_date)
    return first if first == last else f"{first} to {last}"


def _sample(line: unmatched.UnmatchedLine) -> SafeString | str:
    if line.sample is None:
        return "those of the last day count now"
    return record_link(line.sample, f"{line.sample.source}: {line.sample.event_id}")


def _require(request: HttpRequest) -> None:
    if not request.user.has_perm("records.view"):
        raise PermissionDenied
