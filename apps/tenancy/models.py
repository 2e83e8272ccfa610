"""Tenants and their host names: the only business rows of the shared schema."""

import pgtrigger
from django.db import models
from django_tenants.models import DomainMixin, TenantMixin


class TenantState(models.TextChoices):
    """How far provisioning has come."""

    REQUESTED = "REQUESTED", "Requested: the row exists, nothing is built yet"
    MIGRATING = "MIGRATING", "Migrating: its schema is being built"
    SEEDING = "SEEDING", "Seeding: chart of accounts and defaults are being written"
    READY = "READY", "Ready: the probe passed, requests and jobs are served"
    FAILED = "FAILED", "Failed: provisioning stopped; the reason is stored and it can be run again"


class Tenant(TenantMixin):
    """A company that bills its customers with us; one schema of its own."""

    # Creating and dropping schemas is the provisioning service's business, never a side effect of save().
    auto_create_schema = False
    auto_drop_schema = False

    name = models.CharField(max_length=200)
    slug = models.SlugField(max_length=40, unique=True)
    state = models.CharField(max_length=12, choices=TenantState, default=TenantState.REQUESTED)
    state_reason = models.TextField(blank=True)
    timezone = models.CharField(max_length=64, default="UTC")
    requested_at = models.DateTimeField()
    ready_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="tenant_schema_is_not_shared",
                condition=~models.Q(schema_name__in=["public", "information_schema"])
                & ~models.Q(schema_name__startswith="pg_"),
            ),
            models.CheckConstraint(name="tenant_state_known", condition=models.Q(state__in=TenantState.values)),
            models.CheckConstraint(
                name="tenant_ready_has_time",
                condition=~models.Q(state=TenantState.READY) | models.Q(ready_at__isnull=False),
            ),
        ]
        triggers = [pgtrigger.Protect(name="tenant_kept", operation=pgtrigger.Delete)]

    def __str__(self) -> str:
        return self.name


class Domain(DomainMixin):
    """A host name that leads to a tenant."""
