"""Django settings, put together from components; the environment decides values (`billing_site/env.py`)."""

from billing_site.settings.base import *
