"""Check what must always hold, in one tenant or in all."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.common import clock
from apps.tenancy import context as tenancy_context
from apps.tenancy import selectors as tenancy_selectors
from apps.workflows import invariants


class Command(BaseCommand):
    """Run the registry of invariants and end with an error if one does not hold."""

    help = "Run every invariant of the registry and name the rows that break one."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take an optional tenant schema."""
        parser.add_argument("--schema", help="one tenant's schema; all tenants without it")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print one line per tenant and finding."""
        schemas = [options["schema"]] if options["schema"] else tenancy_selectors.tenant_schemas_ready()
        broken = 0
        for schema_name in schemas:
            with tenancy_context.tenant_context(schema_name=schema_name):
                findings = invariants.invariants_check(at=clock.now())
            self.stdout.write(
                f"{schema_name}: {len(invariants.REGISTRY) - len(findings)} hold, {len(findings)} do not."
            )
            for finding in findings:
                self.stdout.write(f"  {finding.name}: {'; '.join(finding.rows)}")
            broken += len(findings)
        if broken:
            raise CommandError(f"{broken} invariants do not hold.")
