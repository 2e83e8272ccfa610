"""What a button asks about a change of a subscription: what to, from when, how fees are divided, and why."""

from datetime import UTC, datetime
from typing import Any, ClassVar

from django import forms
from unfold import widgets

from apps.backoffice.buttons.forms import ReasonForm
from apps.common import formatting
from apps.plans import cohorts
from apps.plans import selectors as plan_selectors
from apps.subscriptions.inputs import Timing, When
from apps.subscriptions.models import PauseMode, ProrationMode, Subscription

_NOW, _END, _AT = Timing.NOW.value, Timing.PERIOD_END.value, Timing.AT.value
_TIMINGS = {_NOW: "Now", _END: "At the end of the running period", _AT: "At an instant to come"}
_AS_THE_PLAN_SAYS = ("", "As the plan says")


class InstantInput(forms.CharField):
    """An instant in UTC, written like 2026-02-01 00:00."""

    widget = widgets.UnfoldAdminTextInputWidget(attrs={"placeholder": "2026-02-01 00:00", "autocomplete": "off"})

    def clean(self, value: Any) -> datetime | None:
        """Return the instant, or nothing for an empty field."""
        text = str(super().clean(value) or "").strip()
        if not text:
            return None
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as error:
            raise forms.ValidationError(f"'{text[:40]}' is not a time; write it like 2026-02-01 00:00.") from error
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _timing(*allowed: str) -> forms.ChoiceField:
    return forms.ChoiceField(
        label="From when",
        choices=[(value, _TIMINGS[value]) for value in allowed],
        widget=widgets.UnfoldAdminSelectWidget(),
    )


def _proration(label: str) -> forms.ChoiceField:
    return forms.ChoiceField(
        label=label,
        choices=[_AS_THE_PLAN_SAYS, *ProrationMode.choices],
        required=False,
        widget=widgets.UnfoldAdminSelectWidget(),
    )


def _instant(label: str, help_text: str) -> InstantInput:
    return InstantInput(label=label, help_text=f"In UTC, like 2026-02-01 00:00. {help_text}", required=False)


class ChangeForm(ReasonForm):
    """What all changes have in common: the subscription, and the instant that a rehearsal named."""

    reason_code: ClassVar[str] = "changed"

    # What was rehearsed is what is confirmed: a later press repeats this instant instead of taking its own.
    rehearsed_at = InstantInput(required=False, widget=forms.HiddenInput())

    def __init__(self, data: Any = None, *, record: Subscription) -> None:
        super().__init__(data)
        self.record = record

    def clean(self) -> dict[str, Any]:
        """Add what the workflows take: when, how the fees are divided, and why."""
        cleaned = super().clean() or {}
        timing = cleaned.get("timing", _NOW)
        if timing == _AT and cleaned.get("at") is None and "at" not in self.errors:
            self.add_error("at", "Say at which instant.")
        repeated_at = cleaned.get("rehearsed_at")
        if repeated_at is not None and timing == _END:
            timing = _AT  # the period may end and another begin between looking and confirming
        cleaned["when"] = When(
            timing=Timing(timing),
            effective_at=repeated_at or (cleaned.get("at") if timing == _AT else None),
            proration=cleaned.get("proration") or None,
            reason_code=f"{self.reason_code}_by_staff",
            comment=cleaned.get("comment", ""),
        )
        return cleaned


class TermsForm(ChangeForm):
    """Another plan, or another version of it, another quantity, or both."""

    plan = forms.ChoiceField(label="Plan", required=False, widget=widgets.UnfoldAdminSelectWidget())
    quantity = forms.DecimalField(
        label="Quantity",
        required=False,
        min_value=0,
        max_digits=26,
        decimal_places=12,
        help_text="Such as seats; empty: as it is.",
        widget=widgets.UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal", "autocomplete": "off"}),
    )
    timing = _timing(_NOW, _END, _AT)
    at = _instant("Instant", "Only for an instant to come.")
    proration = _proration("Fees of the running period")

    field_order = ("plan", "quantity", "timing", "at", "proration", "comment")

    def __init__(self, data: Any = None, *, record: Subscription) -> None:
        super().__init__(data, record=record)
        field = self.fields["plan"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101  declared above
        field.choices = [("", f"As it is: {record.plan_version}"), *_versions_offered(record)]

    def clean(self) -> dict[str, Any]:
        """Ask for something to change, and add code and version of the plan."""
        cleaned = super().clean()
        code, _, version = str(cleaned.get("plan") or "").partition("@")
        cleaned["plan_code"], cleaned["plan_version"] = code or None, int(version) if version else None
        if not code and cleaned.get("quantity") is None and not self.errors:
            raise forms.ValidationError("Choose another plan, another quantity, or both.")
        return cleaned


class PauseForm(ChangeForm):
    """How to rest, from when, until when."""

    reason_code = "paused"

    mode = forms.ChoiceField(label="How", choices=PauseMode.choices, widget=widgets.UnfoldAdminSelectWidget())
    timing = _timing(_NOW, _END, _AT)
    at = _instant("Instant", "Only for an instant to come.")
    resume_at = _instant("Until", "Empty: until somebody resumes it.")

    field_order = ("mode", "timing", "at", "resume_at", "comment")


class ResumeForm(ChangeForm):
    """Why to go on; it goes on at once."""

    reason_code = "resumed"


class CancelForm(ChangeForm):
    """When to end, and whether unused fees are given back."""

    reason_code = "cancelled"

    timing = _timing(_END, _NOW)
    proration = _proration("Fees paid for unused time")

    field_order = ("timing", "proration", "comment")


def _versions_offered(subscription: Subscription) -> list[tuple[str, str]]:
    """Return the published versions in the customer's currency besides its own, the newest of each plan first."""
    versions = (
        plan_selectors.versions_effective()
        .filter(status="PUBLISHED", currency=subscription.customer.currency)
        .exclude(id=subscription.plan_version_id)
    )
    return [
        (f"{version.plan.code}@{version.version}", f"{version} (from {formatting.instant_text(version.effective_at)})")
        for version in versions
        if cohorts.is_offered_to(version=version, customer_id=subscription.customer_id)
    ]
