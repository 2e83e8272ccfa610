"""Verify the audit chain of one tenant or of all."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.audit import selectors
from apps.tenancy import context as tenancy_context
from apps.tenancy import selectors as tenancy_selectors


class Command(BaseCommand):
    """Recompute the hash chain and exit with an error at the first entry that does not fit."""

    help = "Verify the audit chain: every entry unchanged, none missing, none inserted."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take an optional tenant schema."""
        parser.add_argument("--schema", help="one tenant's schema; all tenants without it")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print one line per tenant; a broken chain ends the command with exit code 1."""
        schemas = [options["schema"]] if options["schema"] else tenancy_selectors.tenant_schemas_ready()
        broken = []
        for schema_name in schemas:
            with tenancy_context.tenant_context(schema_name=schema_name):
                report = selectors.chain_verify()
            state = "intact" if report.is_intact else f"BROKEN at position {report.broken_position}"
            self.stdout.write(
                f"{schema_name}: {state}, {report.sealed_count} sealed, {report.unsealed_count} not yet sealed. "
                f"{report.detail}"
            )
            if not report.is_intact:
                broken.append(schema_name)
        if broken:
            raise CommandError(f"The audit chain is broken in: {', '.join(broken)}.")
