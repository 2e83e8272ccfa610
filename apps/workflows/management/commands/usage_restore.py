"""Bring a month's raw events back from the archive."""

from argparse import ArgumentParser
from datetime import date, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.common import clock
from apps.common.actors import OPERATOR
from apps.common.errors import DomainError
from apps.tenancy import context as tenancy_context
from apps.workflows import usage_retention


class Command(BaseCommand):
    """Bring a month's raw events back from the archive."""

    help = "Bring a month's raw events back from the archive."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the tenant and the month."""
        parser.add_argument("--schema", required=True, help="the tenant's schema")
        parser.add_argument("--month", required=True, help="the month of occurrence, like 2024-01")

    def handle(self, *args: Any, **options: Any) -> None:
        """Say what became of the month."""
        month = _month(options["month"])
        try:
            with tenancy_context.tenant_context(schema_name=options["schema"]):
                archive = usage_retention.usage_month_restore(month=month, actor=OPERATOR, at=clock.now())
        except DomainError as error:
            raise CommandError(error.detail) from error
        self.stdout.write(
            f"{options['schema']}: {month:%Y-%m} is restored: {archive.row_count} events, file {archive.location}, "
            f"SHA-256 {archive.file_sha256}."
        )


def _month(text: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m").date()  # noqa: DTZ007  a month, no instant
    except ValueError as error:
        raise CommandError(f"'{text}' is not a month; write it like 2024-01.") from error
