"""Forms of those buttons that need to be told something."""

from datetime import UTC, datetime
from typing import Any

from django import forms
from unfold import widgets

from apps.identity.models import Scope
from apps.plans import cohorts


class ReasonForm(forms.Form):
    """Why, for the audit trail."""

    comment = forms.CharField(
        label="Reason",
        max_length=500,
        help_text="Kept in the audit trail.",
        widget=widgets.UnfoldAdminTextInputWidget(),
    )


class ClockForm(forms.Form):
    """Where to move a clock."""

    to = forms.CharField(
        label="New time",
        help_text="In UTC, like 2026-02-01 00:00. Clocks move forward only.",
        widget=widgets.UnfoldAdminTextInputWidget(attrs={"placeholder": "2026-02-01 00:00", "autocomplete": "off"}),
    )

    def clean_to(self) -> datetime:
        """Return the time as an instant in UTC."""
        text: str = self.cleaned_data["to"]
        try:
            moment = datetime.fromisoformat(text.strip())
        except ValueError as error:
            raise forms.ValidationError(f"'{text}' is not a time; write it like 2026-02-01 00:00.") from error
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


class PublishForm(forms.Form):
    """For whom a version goes on sale."""

    cohort = forms.ModelChoiceField(
        queryset=cohorts.cohorts_queryset(),
        required=False,
        empty_label="Everybody",
        label="For",
        help_text="A cohort's version is on sale for its members only; the others keep the one before.",
        widget=widgets.UnfoldAdminSelectWidget(),
    )


class ApiKeyForm(forms.Form):
    """What a new key may do, and for how long."""

    name = forms.CharField(
        max_length=100, help_text="Which program will use it.", widget=widgets.UnfoldAdminTextInputWidget()
    )
    scopes = forms.MultipleChoiceField(choices=Scope.choices, widget=forms.CheckboxSelectMultiple)
    is_live = forms.BooleanField(
        required=False, label="Live key", help_text="Unset: a test key.", widget=widgets.UnfoldBooleanWidget()
    )
    expires_date = forms.DateField(
        required=False,
        label="Expires",
        help_text="First day on which it no longer works, like 2027-01-31; empty: never.",
        widget=widgets.UnfoldAdminTextInputWidget(attrs={"placeholder": "2027-01-31"}),
    )

    @property
    def expires_at(self) -> datetime | None:
        """Return the first instant at which the key no longer works."""
        data: dict[str, Any] = self.cleaned_data
        day = data.get("expires_date")
        return datetime(day.year, day.month, day.day, tzinfo=UTC) if day else None

    def clean(self) -> dict[str, Any]:
        """Add the instant of expiry to what was given."""
        cleaned = super().clean() or {}
        cleaned["expires_at"] = self.expires_at
        return cleaned
