"""One PostgreSQL, reached through the tenant-aware backend."""

from typing import Any

from psycopg.conninfo import conninfo_to_dict

from billing_site.settings.components.environment import ENV

_parts = {name: str(value) for name, value in conninfo_to_dict(ENV.database_url).items()}
_standard = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}

DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django_tenants.postgresql_backend",
        **{django: _parts.get(libpq, "") for libpq, django in _standard.items()},
        "CONN_MAX_AGE": ENV.db_max_age_seconds,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {name: value for name, value in _parts.items() if name not in _standard},
        "TEST": {"NAME": None},
    }
}
if ENV.replica_url:
    # Reports only (`apps/common/db.py`): without the tenant-aware backend, because each statement says its schema.
    _replica = {name: str(value) for name, value in conninfo_to_dict(ENV.replica_url).items()}
    DATABASES["replica"] = {
        **DATABASES["default"],
        "ENGINE": "django.db.backends.postgresql",
        **{django: _replica.get(libpq, "") for libpq, django in _standard.items()},
        "OPTIONS": {name: value for name, value in _replica.items() if name not in _standard},
    }
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
USE_TZ = True
TIME_ZONE = "UTC"

# Triggers travel with migrations, one set per tenant schema; nothing is installed behind a migration's back.
PGTRIGGER_MIGRATIONS = True
PGTRIGGER_INSTALL_ON_MIGRATE = False
