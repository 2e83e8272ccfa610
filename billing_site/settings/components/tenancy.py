"""Which tables live in the shared schema and which in each tenant's own.

Money tables exist only in tenant schemas: django-tenants falls back to `public` in new threads and for unknown
schemas, and a missing table is an error while a wrong one would be an answer (ADR 0001).
"""

SHARED_APPS = [
    "apps.tenancy",
    "unfold",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    # Overrides migrate commands so that django-pgtrigger and django-tenants agree; hence before both.
    "django_tenants",
    "apps.identity",
    "apps.common",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "pgtrigger",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]
TENANT_APPS = [
    "apps.identity",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "pgtrigger",
    "apps.audit",
    "apps.messaging",
    "apps.lifecycle",
    "apps.customers",
    "apps.ledger",
    "apps.taxes",
    "apps.metering",
    "apps.plans",
    "apps.subscriptions",
    "apps.entitlements",
    "apps.invoices",
    "apps.payments",
    "apps.notifications",
    "apps.workflows",
    "apps.api",
    "apps.portal",
    "apps.backoffice",
]
INSTALLED_APPS = [*SHARED_APPS, *(app for app in TENANT_APPS if app not in SHARED_APPS)]

TENANT_MODEL = "tenancy.Tenant"
TENANT_DOMAIN_MODEL = "tenancy.Domain"
PUBLIC_SCHEMA_NAME = "public"
PUBLIC_SCHEMA_URLCONF = "billing_site.urls_public"
ROOT_URLCONF = "billing_site.urls_tenant"
# One SET per schema switch instead of one per cursor; safe on direct and session-pooled connections only
# (`apps.tenancy.checks` refuses a transaction pooler).
TENANT_LIMIT_SET_CALLS = True
SHOW_PUBLIC_IF_NO_TENANT_FOUND = False
AUTH_USER_MODEL = "identity.User"
