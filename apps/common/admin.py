"""
How the back office shows a noun: lists and pages to read, never forms to save.

Rows change through services only, so there is nothing to add, edit or delete here. What can be *done* with a row is
a button of the site (`apps/backoffice/buttons`), because most of it needs more than one noun. Classes built on this
are named in their app's `RECORDS` and registered by the back office; nothing registers itself.
"""

from collections.abc import Callable, Iterable
from datetime import date, datetime
from typing import Any, ClassVar

from django.contrib.admin.utils import display_for_field, display_for_value, label_for_field, lookup_field, unquote
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import Http404, HttpRequest
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.decorators import display

from apps.common import formatting

EMPTY = "\N{EN DASH}"

Column = Callable[..., Any]


class RecordAdmin(ModelAdmin):
    """A noun to read: a list with filters and search, and a page of facts with what belongs to it."""

    # Any one of these lets a person read the noun.
    view_permissions: ClassVar[tuple[str, ...]] = ("records.view",)
    fact_fields: ClassVar[tuple[str, ...]] = ()
    # Shown above the list and on an empty one: what the noun is for, in a sentence.
    purpose: ClassVar[str] = ""

    actions = None
    list_per_page = 50
    # Two counts of a large table for one page of it are one too many.
    show_full_result_count = False
    list_fullwidth = True
    list_filter_sheet = False
    list_before_template = "backoffice/list_head.html"
    empty_value_display = EMPTY

    def __init__(self, model: type[models.Model], admin_site: Any) -> None:
        super().__init__(model, admin_site)
        # Made once: the list finds its columns by identity.
        self._time_columns = {
            field.name: _time_column(field) for field in model._meta.fields if isinstance(field, models.DateField)
        }

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        """Return the columns; dates are written one way on all pages, the framework's lists have a way of their own."""
        return [self._time_columns.get(name, name) for name in super().get_list_display(request)]

    def has_view_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        """Return whether one of the user's roles lets them read this noun."""
        return any(request.user.has_perm(permission) for permission in self.view_permissions)

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Return whether the noun's group is shown to the user."""
        return self.has_view_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return no: rows are made by services."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        """Return no: rows are changed by services."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        """Return no: nothing is deleted."""
        return False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """Return the list, with what can be done on it."""
        plural = str(self.opts.verbose_name_plural)
        context = {
            "title": plural[:1].upper() + plural[1:],
            "purpose": self.purpose,
            "buttons": self.admin_site.list_buttons(request=request, model=self.model),
            **(extra_context or {}),
        }
        return super().changelist_view(request, context)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        """Return a row's page: its facts, what belongs to it, and what can be done with it."""
        record = self.get_object(request, unquote(object_id))
        if record is None:
            raise Http404(f"There is no {self.opts.verbose_name} with this id.")
        if not self.has_view_permission(request, record):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "title": str(record),
            "opts": self.opts,
            "record": record,
            "original": record,
            "facts": self.facts(record),
            "buttons": self.admin_site.record_buttons(request=request, record=record),
            "panels": self.admin_site.panels_of(request=request, record=record),
            "banner": self.banner(record),
            **(extra_context or {}),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "backoffice/record.html", context)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> models.Model | None:
        """Return the row by primary key, or by the public id that people paste from elsewhere."""
        if hasattr(self.model, "id_from_public") and "_" in object_id:
            try:
                object_id = str(self.model.id_from_public(object_id))
            except ValueError:
                return None
        record: models.Model | None = super().get_object(request, object_id, from_field)
        return record

    def banner(self, record: Any) -> tuple[str, str] | None:
        """Return (tone, sentence) to put above a row's facts, or nothing; tones: danger, warning, success, info."""
        return None

    def facts(self, record: models.Model) -> list[tuple[str, Any]]:
        """Return what the page says about a row: pairs of label and value."""
        pairs: list[tuple[str, Any]] = []
        if hasattr(record, "public_id"):
            pairs.append(("Id", format_html('<code class="ch-id">{}</code>', record.public_id)))
        for name in self.fact_fields:
            label = str(label_for_field(name, self.model, model_admin=self))
            pairs.append((label[:1].upper() + label[1:].removesuffix(" at"), self._value(name, record)))
        return pairs

    def _value(self, name: str, record: models.Model) -> Any:
        field, attribute, value = lookup_field(name, record, self)
        if value in (None, "", [], {}):
            return EMPTY
        if field is None:
            return display_for_value(value, EMPTY, getattr(attribute, "boolean", False))
        if isinstance(field, models.ForeignKey):
            return record_link(getattr(record, field.name))
        return _field_text(field, value)


def _field_text(field: "models.Field[Any, Any]", value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return formatting.instant_text(value)
    if isinstance(value, date):
        return formatting.date_text(value)
    if isinstance(value, dict | list):
        return format_html('<pre class="ch-json" tabindex="0">{}</pre>', formatting.json_text(value))
    return display_for_field(value, field, EMPTY)


def _time_column(field: "models.DateField[Any, Any]") -> Column:
    name = field.name
    has_clock = isinstance(field, models.DateTimeField)
    title = str(field.verbose_name)
    title = f"{title.removesuffix(' at')} (UTC)" if has_clock else title
    title = title[:1].upper() + title[1:]

    @display(description=title, ordering=name)
    def column(record: Any) -> str:
        value = getattr(record, name)
        if value is None:
            return EMPTY
        return formatting.instant_text(value).removesuffix(" UTC") if has_clock else formatting.date_text(value)

    column.__name__ = name
    return column


def record_link(record: models.Model | None, text: str = "") -> SafeString | str:
    """Return a link to a row's page in the back office, or its name where it has no page."""
    if record is None:
        return EMPTY
    words = text or str(record)
    url = record_url(record)
    return format_html('<a href="{}">{}</a>', url, words) if url else words


def record_url(record: models.Model) -> str:
    """Return where the back office shows a row; empty when it does not."""
    return url_of(label=record._meta.label_lower, pk=record.pk)


def url_of(*, label: str, pk: object) -> str:
    """Return the page of a row known by the lower-case label of its model and its key; empty without a page."""
    try:
        return reverse(f"admin:{label.replace('.', '_')}_change", args=[pk])
    except NoReverseMatch:
        return ""


def money_column(field: str, title: str, *, currency: str = "currency") -> Column:
    """Return a list column that shows minor units as money of the row's currency, right-aligned."""

    @display(description=title, ordering=field)
    def column(self: RecordAdmin, record: Any) -> SafeString:
        minor = getattr(record, field)
        code = record
        for part in currency.split("."):
            code = getattr(code, part)
        return money_cell(minor, str(code))

    return column


def money_cell(minor: int, currency: str) -> SafeString:
    """Return an amount for a table: tabular figures, right-aligned, a minus where we owe."""
    return format_html('<span class="ch-money">{}</span>', formatting.money_text(minor, currency))


def number_column(field: str, title: str) -> Column:
    """Return a list column of exact numbers, right-aligned."""

    @display(description=title, ordering=field)
    def column(self: RecordAdmin, record: Any) -> SafeString | str:
        value = getattr(record, field)
        if value is None:
            return EMPTY
        return format_html('<span class="ch-money">{}</span>', formatting.number_text(value))

    return column


def status_column(tones: dict[str, str], *, field: str = "status", title: str = "Status") -> Column:
    """Return a list column that shows a status as a badge; the word carries it, the colour only helps."""

    @display(description=title, ordering=field)
    def column(self: RecordAdmin, record: Any) -> SafeString:
        return badge(words_before_colon(record, field), tones.get(str(getattr(record, field)), "neutral"))

    return column


def badge(words: str, tone: str) -> SafeString:
    """Return a small label in one of the tones neutral, info, success, warning, danger."""
    return format_html('<span class="ch-badge ch-badge--{}">{}</span>', tone, words)


def words_before_colon(record: models.Model, field: str) -> str:
    """Return the short name of a choice whose label reads `Name: what it means`."""
    choices: Iterable[Any] = getattr(record._meta.get_field(field), "flatchoices", ())
    value = getattr(record, field)
    return str(dict(choices).get(value, value)).split(":", maxsplit=1)[0]
