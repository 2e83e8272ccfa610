"""How the house is put together: packages, settings, and the table of variables in the README."""

from importlib.metadata import packages_distributions

import pytest
from django.conf import settings

from billing_site import env
from tests.contracts import readme_blocks

_SECRET = "x" * 32
_DATABASE = "postgresql://someone@/somewhere?host=/somewhere"


def test_one_state_machine_package() -> None:
    """Two packages answer to `import django_fsm`; the archived one must not be the one that wins."""
    assert packages_distributions()["django_fsm"] == ["django-fsm-2"]


def test_theme_comes_before_tenants() -> None:
    """Both override the admin's index and list pages; behind the tenants' package the theme's sidebar is lost."""
    order = settings.INSTALLED_APPS
    assert order.index("unfold") < order.index("django_tenants") < order.index("django.contrib.admin")
    assert order.index("apps.tenancy") < order.index("pgtrigger"), "our migrate command is the one that is found"


def test_every_app_is_installed_in_one_place_on_purpose() -> None:
    """Only people, tenants and plumbing are shared; money apps live in tenant schemas and nowhere else."""
    shared = {name for name in settings.SHARED_APPS if name.startswith("apps.")}
    tenant = {name for name in settings.TENANT_APPS if name.startswith("apps.")}
    assert shared == {"apps.tenancy", "apps.identity", "apps.common"}
    assert shared & tenant == {"apps.identity"}


def test_tenants_are_never_found_by_accident() -> None:
    """An unknown host is refused, schemas are made on purpose, and cache keys carry the schema."""
    from apps.tenancy.models import Tenant

    assert settings.SHOW_PUBLIC_IF_NO_TENANT_FOUND is False
    assert (Tenant.auto_create_schema, Tenant.auto_drop_schema) == (False, False)
    assert settings.CACHES["default"]["KEY_FUNCTION"] == "django_tenants.cache.make_key"


def test_times_are_stored_in_utc() -> None:
    """S064: the database and the workers live in UTC; zones are a matter of the customer's calendar."""
    assert (settings.USE_TZ, settings.TIME_ZONE, settings.CELERY_TIMEZONE) == (True, "UTC", "UTC")


def test_a_killed_worker_gives_its_message_back() -> None:
    """Late acknowledgement alone loses the message of a killed child; tasks end before the broker asks again."""
    assert settings.CELERY_TASK_ACKS_LATE
    assert settings.CELERY_TASK_REJECT_ON_WORKER_LOST
    assert settings.CELERY_TASK_IGNORE_RESULT
    assert settings.CELERY_BROKER_TRANSPORT_OPTIONS["visibility_timeout"] > settings.CELERY_TASK_TIME_LIMIT


def test_every_beat_row_names_a_task_that_exists() -> None:
    """A job nobody implements would be silence every minute."""
    from apps.workflows import tasks  # noqa: F401  declares them
    from billing_site.celery import app

    known = set(app.tasks)
    assert {row["task"] for row in settings.BEAT_SCHEDULE.values()} <= known


@pytest.mark.parametrize("name", ["SECRET_KEY", "DATABASE_URL"])
def test_the_environment_names_everything_that_is_wrong(name: str) -> None:
    """One start, one complete answer: missing and malformed variables together, each with its meaning."""
    given = {"SECRET_KEY": _SECRET, "DATABASE_URL": _DATABASE, "INVOICE_GRACE_HOURS": "soon", "DEBUG": "maybe"}
    del given[name]
    with pytest.raises(env.EnvironmentInvalid) as refusal:
        env.read(given)
    for expected in (f"{name} is not set", "INVOICE_GRACE_HOURS is wrong", "DEBUG is wrong"):
        assert expected in str(refusal.value)
    assert _SECRET not in str(refusal.value)


def test_the_environment_is_typed() -> None:
    """Text becomes numbers and switches once, at the start."""
    read = env.read({"SECRET_KEY": _SECRET, "DATABASE_URL": _DATABASE, "DEBUG": "true", "INVOICE_GRACE_HOURS": "0"})
    assert (read.debug, read.invoice_grace_hours, read.log_level) == (True, 0, "INFO")


def test_the_readme_lists_every_variable() -> None:
    """The table in the README is the reader's own; `python -m tests.contracts.readme_blocks` rewrites it."""
    assert readme_blocks.written() == readme_blocks.environment_table()
