"""Make the demo tenants, once."""

from typing import Any

from django.core.management.base import BaseCommand

from apps.common import clock
from apps.workflows import demo, demo_access


class Command(BaseCommand):
    """Provision two demo tenants and live a year in each; tenants that are there keep what they have."""

    help = "Provision and fill the demo tenants; safe to repeat."

    def handle(self, *args: Any, **options: Any) -> None:
        """Fill, telling how far it is."""
        tenants = demo.demo_provision(at=clock.now(), say=self._say)
        demo_access.access_ensure(tenants=tenants, at=clock.now(), say=self._say)

    def _say(self, text: str) -> None:
        self.stdout.write(f"  {text}")
        self.stdout.flush()
