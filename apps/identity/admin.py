"""People, roles and keys in the back office."""

from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.decorators import display

from apps.common.admin import RecordAdmin, badge
from apps.identity.models import ApiKey, PortalMembership, RoleGrant, User


class UserAdmin(RecordAdmin):
    """Staff and portal users."""

    view_permissions = ("staff.write",)
    purpose = "People who may sign in: staff here, customers' people in the portal. What staff may do is set by roles."
    list_display = ("email", "name", "is_staff", "is_active", "roles_text")
    list_filter = ("is_staff", "is_active")
    search_fields = ("email", "name")
    fact_fields = ("email", "name", "is_staff", "is_active", "roles_text", "last_login")

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        """Return users with their roles, in one query more."""
        users: QuerySet[User] = super().get_queryset(request)
        return users.prefetch_related("role_grants")

    @display(description="Roles")
    def roles_text(self, user: User) -> str:
        """Return the names of the user's roles."""
        return ", ".join(sorted(grant.get_role_display().split(":")[0] for grant in user.role_grants.all()))


class RoleGrantAdmin(RecordAdmin):
    """Who was trusted with what, when and by whom."""

    view_permissions = ("staff.write", "audit.view")
    purpose = "What each member of staff is trusted with, since when, and who said so."
    list_display = ("user", "role", "granted_at", "granted_by")
    list_filter = ("role",)
    search_fields = ("user__email", "user__name")
    list_select_related = ("user",)
    fact_fields = ("user", "role", "granted_at", "granted_by")


class ApiKeyAdmin(RecordAdmin):
    """Keys of services; the secret was shown once and is not here."""

    view_permissions = ("staff.write",)
    purpose = "Keys by which other programs call the API. A key's secret is shown once, when it is issued."
    list_display = ("name", "prefix", "state", "scopes_text", "issued_at", "last_used_at")
    list_filter = ("is_live",)
    search_fields = ("name", "prefix")
    fact_fields = (
        "name",
        "prefix",
        "state",
        "scopes_text",
        "is_live",
        "issued_at",
        "expires_at",
        "revoked_at",
        "last_used_at",
    )

    @display(description="State")
    def state(self, key: ApiKey) -> str:
        """Return whether the key still opens anything."""
        if key.revoked_at:
            return badge("Revoked", "neutral")
        return badge("Live", "success") if key.is_live else badge("Test", "info")

    @display(description="Scopes")
    def scopes_text(self, key: ApiKey) -> str:
        """Return the scopes in one line."""
        return ", ".join(key.scopes)


class PortalMembershipAdmin(RecordAdmin):
    """Who may see which customer's portal pages."""

    view_permissions = ("staff.write", "records.view")
    purpose = "Which people may see which customer's pages in the portal."
    list_display = ("user", "customer_id")
    search_fields = ("user__email",)
    list_select_related = ("user",)
    fact_fields = ("user", "customer_id")


RECORDS = (
    (User, UserAdmin),
    (RoleGrant, RoleGrantAdmin),
    (ApiKey, ApiKeyAdmin),
    (PortalMembership, PortalMembershipAdmin),
)
