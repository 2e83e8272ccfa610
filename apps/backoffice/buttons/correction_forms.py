"""What a button asks about a correction of usage: which events, what instead, why, and where the evidence is."""

import csv
import io
from typing import Any, ClassVar

import msgspec
from django import forms
from unfold import widgets

from apps.backoffice.buttons.forms import ReasonForm
from apps.backoffice.buttons.subscription_forms import InstantInput
from apps.customers.models import Customer
from apps.engine.exact import decimal_text
from apps.metering import corrected_events, corrections
from apps.metering.correction_documents import CorrectionReason
from apps.metering.corrections import CorrectionTerms
from apps.metering.models import QuarantinedEvent, UsageEvent


def _text(label: str, help_text: str = "", **options: Any) -> forms.CharField:
    return forms.CharField(label=label, help_text=help_text, widget=widgets.UnfoldAdminTextInputWidget(), **options)


def _area(label: str, help_text: str, **options: Any) -> forms.CharField:
    widget = widgets.UnfoldAdminTextareaWidget(attrs={"rows": 8, "spellcheck": "false"})
    return forms.CharField(label=label, help_text=help_text, widget=widget, strip=False, **options)


class CorrectionForm(forms.Form):
    """What all corrections have in common; the concrete form names the events."""

    kind: ClassVar[str] = ""

    reason_code = forms.ChoiceField(
        label="Reason", choices=CorrectionReason.choices, widget=widgets.UnfoldAdminSelectWidget()
    )
    comment = _text("What happened", "Who decides reads it; it is kept for ever.", max_length=500)
    evidence_url = forms.URLField(
        label="Evidence",
        required=False,
        max_length=500,
        assume_scheme="https",
        help_text="Link to the ticket, letter or log.",
        widget=widgets.UnfoldAdminTextInputWidget(attrs={"placeholder": "https://"}),
    )
    rehearsed_at = forms.CharField(required=False, widget=forms.HiddenInput())

    def __init__(self, data: Any = None, *, record: Any, initial: dict[str, Any] | None = None) -> None:
        super().__init__(data, initial=initial)
        self.record = record
        # What the correction is about comes first, then why.
        last = ("reason_code", "comment", "evidence_url", "rehearsed_at")
        self.order_fields([name for name in self.fields if name not in last])

    def clean(self) -> dict[str, Any]:
        """Add what the workflow takes: the terms and the events."""
        cleaned = super().clean() or {}
        cleaned["terms"] = CorrectionTerms(
            kind=self.kind,
            reason_code=cleaned.get("reason_code", ""),
            comment=cleaned.get("comment", ""),
            evidence_url=cleaned.get("evidence_url", ""),
        )
        if not self.errors:
            cleaned["events"] = self.events(cleaned)
        return cleaned

    def events(self, cleaned: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the events as the workflow takes them; none where it finds them by a window."""
        return []


class CancelEventForm(CorrectionForm):
    """Cancel the event whose page it is."""

    kind = "cancel"

    def events(self, cleaned: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the event by its source and id."""
        return [{"source": self.record.source, "id": self.record.event_id}]


class AmendEventForm(CorrectionForm):
    """What the event should have said; filled with what it says."""

    kind = "amend"

    type = _text("Type", max_length=120)
    customer = _text("Customer", "Its code or id.", max_length=120)
    occurred_at = _text("Occurred", "With an offset, like 2026-03-31T23:59:59Z.", max_length=60)
    quantity = _text("Quantity", "Empty: none beside the properties.", required=False, max_length=40)
    properties = _area("Properties", "The whole JSON object, as it should have been.", required=False)

    def __init__(self, data: Any = None, *, record: UsageEvent) -> None:
        stored = corrected_events.stored_events(keys=[record.event_key.hex])[record.event_key.hex]
        customer = Customer.objects.get(id=stored.customer_id)
        initial = {
            "type": stored.type,
            "customer": customer.external_id or customer.public_id,
            "occurred_at": stored.occurred_at.isoformat().replace("+00:00", "Z"),
            "quantity": "" if stored.quantity is None else decimal_text(stored.quantity),
            "properties": corrected_events.document_text(corrected_events.document_read(stored.properties)),
        }
        super().__init__(data, record=record, initial=initial)

    def clean_properties(self) -> dict[str, Any]:
        """Return the properties with their numbers exact."""
        try:
            return corrected_events.document_read(self.cleaned_data["properties"] or "{}")
        except (msgspec.DecodeError, ValueError) as error:
            raise forms.ValidationError(f"This is no JSON object: {error}.") from error

    def events(self, cleaned: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the event by source and id, and what is different."""
        amended = {"source": self.record.source, "id": self.record.event_id}
        for name in ("type", "customer", "occurred_at", "quantity", "properties"):
            if name in self.changed_data:
                amended[name] = cleaned[name] if cleaned[name] != "" else None
        return [amended]


class CancelManyForm(CorrectionForm):
    """Many events at once, pasted from a table."""

    kind = "cancel"

    listed = _area("Events", "One on a line: source, comma, id. Up to 10,000.")

    def events(self, cleaned: dict[str, Any]) -> list[dict[str, Any]]:
        """Return each line's event."""
        rows = [row for row in csv.reader(io.StringIO(cleaned["listed"]), skipinitialspace=True) if any(row)]
        for number, row in enumerate(rows, start=1):
            if len(row) != 2:
                self.add_error("listed", f"Line {number} is not a source, a comma and an id: {','.join(row)[:60]}")
                return []
        return [{"source": source.strip(), "id": event_id.strip()} for source, event_id in rows]


class BackfillForm(CorrectionForm):
    """Whole events that came too late for the door."""

    kind = "backfill"

    listed = _area("Events", "One JSON object on a line, as the producer would have sent it. Up to 10,000.")

    def events(self, cleaned: dict[str, Any]) -> list[dict[str, Any]]:
        """Return each line's event."""
        events = []
        for number, line in enumerate(cleaned["listed"].splitlines(), start=1):
            if line.strip():
                try:
                    events.append(corrected_events.document_read(line))
                except (msgspec.DecodeError, ValueError) as error:
                    self.add_error("listed", f"Line {number} is no JSON object: {error}.")
                    return []
        return events


class MeterBackfillForm(CorrectionForm):
    """Usage of before a meter's definition."""

    kind = "backfill"

    meter = _text("Meter", "Its code: the current version.", max_length=60)
    customer = _text("Customer", "Its code or id.", max_length=120)
    starts_at = InstantInput(label="From", help_text="Included; in UTC, like 2026-02-01 00:00.")
    ends_at = InstantInput(label="To", help_text="Excluded.")


class BoundForm(ReasonForm):
    """How much one person may correct alone."""

    events_max = forms.IntegerField(
        label="Events", min_value=0, help_text="In one correction; 0: every one needs another person.",
        widget=widgets.UnfoldAdminIntegerFieldWidget(),
    )  # fmt: skip
    units_max = forms.DecimalField(
        label="Units",
        min_value=0,
        max_digits=26,
        decimal_places=12,
        help_text="Up or down, of any one meter and customer.",
        widget=widgets.UnfoldAdminTextInputWidget(),
    )

    def __init__(self, data: Any = None) -> None:
        current = corrections.correction_bound_current()
        super().__init__(data, initial={"events_max": current.events_max, "units_max": decimal_text(current.units_max)})
        self.order_fields(["events_max", "units_max", "comment"])


class CounterForm(ReasonForm):
    """Why a correction is taken back."""

    rehearsed_at = forms.CharField(required=False, widget=forms.HiddenInput())

    def __init__(self, data: Any = None, *, record: Any) -> None:
        super().__init__(data)
        self.record = record


class QuarantineEditForm(ReasonForm):
    """The event's text as it should have been; filled with how it came."""

    raw = _area("Event", "Its text as it should have been sent. The event itself stays as it came.")
    rehearsed_at = forms.CharField(required=False, widget=forms.HiddenInput())

    def __init__(self, data: Any = None, *, record: QuarantinedEvent) -> None:
        super().__init__(data, initial={"raw": record.raw})
        self.record = record
        self.order_fields(["raw", "comment"])


class NewIdForm(ReasonForm):
    """Another id for a fact of its own."""

    event_id = _text("New id", "Its source has not used it; other than the first fact's.", max_length=255)

    def __init__(self, data: Any = None) -> None:
        super().__init__(data)
        self.order_fields(["event_id", "comment"])


class DiscardForm(ReasonForm):
    """Why a refused event is no usage."""

    reason_code = forms.ChoiceField(
        label="It is",
        choices=[
            ("test_data", "Test data"),
            ("sent_twice", "Sent again under another id already"),
            ("not_billable", "Nothing that is billed"),
            ("other", "Something else; the reason says"),
        ],
        widget=widgets.UnfoldAdminSelectWidget(),
    )


class ReplayAllForm(forms.Form):
    """Which refused events to send in again."""

    code = _text("Reason", "As the list shows it, such as unknown_customer. Empty: any.", required=False, max_length=40)
    customer = _text("Customer", "As the events name it. Empty: all.", required=False, max_length=255)
