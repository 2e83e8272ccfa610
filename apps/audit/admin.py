"""The audit trail in the back office."""

from typing import Any

from django.contrib.admin import SimpleListFilter
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from unfold.decorators import display

from apps.audit.models import AuditEntry
from apps.common.admin import EMPTY, RecordAdmin, url_of


class SealedFilter(SimpleListFilter):
    """Sealed into the chain, or still waiting for the sealer."""

    title = "chain"
    parameter_name = "sealed"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the two sides."""
        return [("yes", "Sealed"), ("no", "Waiting for the sealer")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        """Return the side that was chosen."""
        if self.value() not in ("yes", "no"):
            return queryset
        return queryset.filter(position__isnull=self.value() == "no")


class AuditEntryAdmin(RecordAdmin):
    """Who did what, when and why."""

    view_permissions = ("audit.view",)
    purpose = "Everything ever done, by whom and why. Entries are sealed into a hash chain and cannot be changed."
    list_display = ("at", "what", "action", "actor_label", "actor_kind", "reason_code", "position")
    list_filter = ("actor_kind", "entity_type", SealedFilter)
    search_fields = ("actor_label", "action", "entity_type")
    ordering = ("-id",)
    fact_fields = (
        "at",
        "what",
        "action",
        "actor_label",
        "actor_kind",
        "reason_code",
        "comment",
        "before",
        "after",
        "request_id",
        "position",
        "entry_hash",
        "previous_hash",
    )

    @display(description="What")
    def what(self, entry: AuditEntry) -> str:
        """Return the noun, linked to its page."""
        name = entry.entity_type.rpartition(".")[2]
        url = url_of(label=entry.entity_type, pk=entry.entity_id)
        return format_html('<a href="{}">{}</a>', url, name) if url else name or EMPTY


RECORDS = ((AuditEntry, AuditEntryAdmin),)
