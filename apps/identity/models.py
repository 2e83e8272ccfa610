"""People, their roles, service keys, portal access. In each tenant schema its own, in the shared one the operators'."""

from django.contrib.auth import get_backends
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Lower

from apps.common import ids
from apps.common.models import Entity
from apps.identity.roles import PERMISSIONS, Role


class UserManager(BaseUserManager["User"]):
    """Look users up by e-mail, whatever its capitals."""

    def get_by_natural_key(self, username: str | None) -> "User":
        """Return the user with this e-mail."""
        return self.get(email=(username or "").lower())


class User(AbstractBaseUser):
    """A person: staff of the tenant (back office) or somebody of a customer (portal)."""

    id_prefix = "usr"

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    email = models.EmailField(max_length=254, unique=True, help_text="In lower case.")
    name = models.CharField(max_length=150, blank=True)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False, help_text="May sign in to the back office; what there is by role.")

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    objects = UserManager()

    class Meta:
        constraints = [
            models.CheckConstraint(name="user_email_is_lower_case", condition=models.Q(email=Lower("email")))
        ]
        ordering = ["email"]

    def __str__(self) -> str:
        return self.name or self.email

    @property
    def public_id(self) -> str:
        """Return the id as audit entries show it."""
        return ids.to_public(prefix=self.id_prefix, value=self.id)

    def get_full_name(self) -> str:
        """Return the name that the admin shows beside the address."""
        return self.name

    # The admin asks these three; `backends.RoleBackend` answers from the roles.
    def has_perm(self, perm: str, obj: models.Model | None = None) -> bool:
        """Return whether the user's roles allow this."""
        return self.is_active and any(
            backend.has_perm(self, perm, obj) for backend in get_backends() if hasattr(backend, "has_perm")
        )

    def has_perms(self, perms: list[str], obj: models.Model | None = None) -> bool:
        """Return whether the user's roles allow all of these."""
        return all(self.has_perm(perm) for perm in perms)

    def has_module_perms(self, app_label: str) -> bool:
        """Return whether any page of an app is open to the user; pages check again for themselves."""
        return self.is_active and self.is_staff


class RoleGrant(Entity):
    """A role given to a staff member."""

    id_prefix = "rgr"

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="role_grants")
    role = models.CharField(max_length=12, choices=Role)
    granted_at = models.DateTimeField()
    granted_by = models.CharField(max_length=200)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "role"], name="role_grant_once"),
            models.CheckConstraint(name="role_grant_known", condition=models.Q(role__in=Role.values)),
        ]

    def __str__(self) -> str:
        return f"{self.user}: {self.get_role_display()}"


class Scope(models.TextChoices):
    """What a service key may do."""

    EVENTS_WRITE = "events:write", "Send usage events"
    USAGE_READ = "usage:read", "Read usage and entitlements"
    CATALOG_WRITE = "catalog:write", "Read and write meters and plans"
    CUSTOMERS_WRITE = "customers:write", "Read and write customers and subscriptions"
    INVOICES_READ = "invoices:read", "Read invoices, the journal and the books"
    INVOICES_WRITE = "invoices:write", "Run billing, finalise and correct"
    PAYMENTS_WRITE = "payments:write", "Collect and record payments"
    ADMIN = "admin", "Everything"


class ApiKey(Entity):
    """A service's key: the prefix finds it, a keyed hash of the secret proves it; the secret itself is not kept."""

    id_prefix = "key"

    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=16, unique=True)
    secret_hash = models.CharField(max_length=64)
    is_live = models.BooleanField(default=True)
    scopes = ArrayField(models.CharField(max_length=20, choices=Scope))
    issued_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}...)"


class PortalMembership(Entity):
    """A person's access to one customer's portal pages."""

    id_prefix = "pmb"

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="portal_memberships")
    # The customer is a higher noun; its id is kept and the pair is unique.
    customer_id = models.UUIDField(db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "customer_id"], name="portal_membership_once")]

    def __str__(self) -> str:
        return f"{self.user} for {self.customer_id}"


class SignInLink(Entity):
    """A mailed link to the portal: single use, short-lived, bound to the browser that asked for it."""

    id_prefix = "sil"

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="sign_in_links")
    token_hash = models.CharField(max_length=64, unique=True)
    browser_hash = models.CharField(max_length=64)
    requested_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="sign_in_link_expires_later", condition=models.Q(expires_at__gt=models.F("requested_at"))
            )
        ]

    def __str__(self) -> str:
        return f"Sign-in link of {self.user}"


__all__ = ["PERMISSIONS", "ApiKey", "PortalMembership", "Role", "RoleGrant", "Scope", "SignInLink", "User"]
