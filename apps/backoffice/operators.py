"""The platform operators' site, on the shared schema: tenants, their hosts, and the operators themselves.

It shows no tenant's money: the tables are not in this schema, and nothing here enters another.
"""

from typing import Any

from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse

from apps.backoffice.site import StaffSite
from apps.common.admin import RecordAdmin, status_column
from apps.identity.admin import RoleGrantAdmin, UserAdmin
from apps.identity.models import RoleGrant, User
from apps.tenancy.models import Domain, Tenant

_STATE_TONES = {"REQUESTED": "info", "MIGRATING": "info", "SEEDING": "info", "READY": "success", "FAILED": "danger"}


class TenantAdmin(RecordAdmin):
    """Companies on the platform."""

    view_permissions = ("staff.write",)
    purpose = "Companies that bill with us, each in a schema of its own, and how far their provisioning has come."
    list_display = ("name", "slug", "state_badge", "timezone", "requested_at", "ready_at")
    list_filter = ("state",)
    search_fields = ("name", "slug")
    ordering = ("name",)
    fact_fields = (
        "name",
        "slug",
        "schema_name",
        "state_badge",
        "state_reason",
        "timezone",
        "requested_at",
        "ready_at",
    )

    state_badge = status_column(_STATE_TONES, field="state", title="State")

    def banner(self, record: Tenant) -> tuple[str, str] | None:
        """Return why provisioning stopped, if it did."""
        if record.state == "FAILED":
            return "danger", f"Provisioning stopped: {record.state_reason} Running it again continues where it stopped."
        return None


class DomainAdmin(RecordAdmin):
    """Hosts."""

    view_permissions = ("staff.write",)
    purpose = "The host names that lead to each tenant."
    list_display = ("domain", "tenant", "is_primary")
    search_fields = ("domain",)
    list_select_related = ("tenant",)
    ordering = ("domain",)
    fact_fields = ("domain", "tenant", "is_primary")


class OperatorsSite(StaffSite):
    """Tenants and operators."""

    index_title = "Tenants"

    def look(self, request: HttpRequest | None = None) -> dict[str, Any]:
        """Return the theme's settings, plainly marked as the platform's own."""
        look = super().look(request)
        return {**look, "SITE_HEADER": "Platform", "SITE_SUBHEADER": "Countinghouse operators", "COMMAND": {}}

    def get_sidebar_list(self, request: HttpRequest) -> list[dict[str, Any]]:
        """Return the four nouns there are."""
        items = [
            ("Tenants", "domain", "tenancy_tenant"),
            ("Domains", "link", "tenancy_domain"),
            ("Operators", "person", "identity_user"),
            ("Roles granted", "badge", "identity_rolegrant"),
        ]
        lines = [
            {"title": title, "icon": icon, "link": url, "active": request.path.startswith(url), "has_permission": True}
            for title, icon, url in ((t, i, reverse(f"admin:{name}_changelist")) for t, i, name in items)
        ]
        return [{"title": "", "items": lines, "separator": False, "collapsible": False}]

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """Return the list of tenants: it is what operators come for."""
        return self._registry[Tenant].changelist_view(request, extra_context)


operators_site = OperatorsSite()
operators_site.records_register(
    ((Tenant, TenantAdmin), (Domain, DomainAdmin), (User, UserAdmin), (RoleGrant, RoleGrantAdmin))
)
