"""What every process shares; each concern has its component."""

from pathlib import Path

from billing_site.settings.components.environment import ENV

BASE_DIR = Path(__file__).resolve().parents[2]

SECRET_KEY = ENV.secret_key
DEBUG = ENV.debug
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

from billing_site.settings.components.billing import *  # noqa: E402
from billing_site.settings.components.celery import *  # noqa: E402
from billing_site.settings.components.database import *  # noqa: E402
from billing_site.settings.components.logging import *  # noqa: E402
from billing_site.settings.components.metering import *  # noqa: E402
from billing_site.settings.components.payments import *  # noqa: E402
from billing_site.settings.components.rest import *  # noqa: E402
from billing_site.settings.components.security import *  # noqa: E402
from billing_site.settings.components.tenancy import *  # noqa: E402
from billing_site.settings.components.web import *  # noqa: E402
