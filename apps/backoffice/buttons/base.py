"""What a button is: one sentence of effect, one permission, one call inward."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django import forms
from django.db.models import Model

from apps.common.actors import Actor


@dataclass(frozen=True, slots=True, kw_only=True)
class Press:
    """A confirmed press: on which row, with which form, by whom, when."""

    record: Any
    data: dict[str, Any]
    actor: Actor
    wall_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a press did: a sentence, the row to show next, and a secret that is shown this once."""

    message: str
    record: Model | None = None
    secret: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What a press would do, found out by doing it and rolling it back; `at` is the instant to repeat."""

    at: datetime
    sentence: str
    lines: list[tuple[str, str, str]]  # description, service period, amount
    totals: list[tuple[str, str]]
    issues: list[str]
    heads: tuple[str, str, str] = ("Line", "For", "Net")
    note: str = (
        "Usage that is told about later still joins the document during its grace; everything else stays as shown."
    )


def _always(record: Any) -> bool:
    return True


def _name(record: Any) -> str:
    return str(record)


def _nothing(record: Any) -> str:
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Button:
    """Something staff may do with a row, or on a list."""

    name: str
    title: str
    # What will happen, said before it does.
    effect: str
    permission: str
    model: type[Model]
    run: Callable[[Press], Outcome]
    is_on_list: bool = False
    is_offered: Callable[[Any], bool] = _always
    form_class: Callable[..., forms.Form] = forms.Form
    # What it is about, and the amount at stake, for the confirmation.
    subject: Callable[[Any], str] = _name
    amount: Callable[[Any], str] = _nothing
    is_grave: bool = False
    # With one, the first press shows what would happen, and the second does that. Its form takes the row, and has a
    # hidden field `rehearsed_at`.
    rehearse: Callable[[Press], Rehearsal] | None = None
    rehearsal_title: str = "Show what it bills"
    # The form is filled from the row, as a rehearsed one always is.
    takes_record: bool = False
    # How a row is found where its table has no index by key.
    find: Callable[[UUID], Any] | None = None

    @property
    def is_rehearsed(self) -> bool:
        """Tell whether the first press only shows what would happen."""
        return self.rehearse is not None

    def form(self, *, record: Any, data: Any) -> forms.Form:
        """Return the form that the button asks, filled in when there is data."""
        if self.is_rehearsed or self.takes_record:
            return self.form_class(data, record=record)
        return self.form_class(data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A button as a page shows it."""

    title: str
    url: str
    is_grave: bool
