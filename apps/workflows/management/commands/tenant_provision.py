"""Make a tenant from the command line."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from apps.common import clock
from apps.tenancy.errors import ProvisioningError
from apps.workflows import provisioning


class Command(BaseCommand):
    """Register, build, seed and probe a tenant; run it again to finish one that failed half way."""

    help = "Provision a tenant: its schema, its chart of accounts, its issuing entity."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take slug and name; the rest has sensible defaults."""
        parser.add_argument("slug", help="3 to 40 characters a-z, 0-9 and -; becomes the host name")
        parser.add_argument("name", help="the company's legal name")
        parser.add_argument("--timezone", default="UTC", help="IANA zone of its books, e.g. Europe/Berlin")
        parser.add_argument("--domain", default="", help="host name; <slug>.<BASE_DOMAIN> without it")

    def handle(self, *args: Any, **options: Any) -> None:
        """Provision and print where the tenant is."""
        domain = options["domain"] or f"{options['slug']}.{settings.BASE_DOMAIN}"
        try:
            tenant = provisioning.tenant_provision(
                slug=options["slug"],
                name=options["name"],
                timezone=options["timezone"],
                domain=domain,
                at=clock.now(),
            )
        except ProvisioningError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{tenant.name} is {tenant.state.lower()} at {domain}.")
