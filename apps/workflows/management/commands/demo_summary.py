"""Say where everything is and how to get in."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from apps.workflows import demo_access


class Command(BaseCommand):
    """Print addresses, sign-ins and API keys of the demo."""

    help = "Print addresses, sign-ins and API keys of the demo tenants."

    def handle(self, *args: Any, **options: Any) -> None:
        """Print one block per tenant."""
        for access in demo_access.access_read():
            self.stdout.write(f"\n{access.name}")
            self.stdout.write(f"  Back office   {access.backoffice_url}")
            for email, roles in access.staff.items():
                self.stdout.write(f"                {email:28} ({roles})")
            self.stdout.write(f"                password: {access.password}")
            self.stdout.write(f"  Portal        {access.portal_url}")
            self.stdout.write(f"                {access.portal_email}: the link is mailed into {self._mail_folder()}")
            self.stdout.write(f"  API           {access.api_url}docs/")
            self.stdout.write(f"                key: {access.api_key}")

    @staticmethod
    def _mail_folder() -> str:
        return str(getattr(settings, "EMAIL_FILE_PATH", "the mail server's hands"))
