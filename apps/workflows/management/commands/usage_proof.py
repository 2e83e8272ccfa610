"""Rebuild a day of usage from its raw events, compare, and keep the proof; or mend one customer's hour."""

from argparse import ArgumentParser
from datetime import UTC, date, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.common import clock
from apps.common.actors import OPERATOR
from apps.common.errors import DomainError
from apps.customers import selectors as customer_selectors
from apps.metering import proofs
from apps.tenancy import context as tenancy_context
from apps.workflows import usage_retention


class Command(BaseCommand):
    """Prove a day, or mend an hour first and then prove its day."""

    help = "Prove that running totals are what the raw events of a day add up to; with --mend, rebuild an hour first."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the tenant, the day, and what to mend."""
        parser.add_argument("--schema", required=True, help="the tenant's schema")
        parser.add_argument("--day", help="the day of occurrence in UTC, like 2026-01-31")
        parser.add_argument("--mend", metavar="HOUR", help="rebuild this hour first, like 2026-01-31T14:00Z")
        parser.add_argument("--customer", help="with --mend: whose hour, by id or code")
        parser.add_argument("--reason", help="with --mend: why, kept for ever")

    def handle(self, *args: Any, **options: Any) -> None:
        """Say what the proof found; differences end the command with an error."""
        try:
            with tenancy_context.tenant_context(schema_name=options["schema"]):
                day = self._mend(options) if options["mend"] else _day(options["day"])
                proof = proofs.usage_proof_make(usage_date=day, at=clock.now())
                usage_retention.proof_alerts_settle(actor=OPERATOR, at=clock.now())
        except DomainError as error:
            raise CommandError(error.detail) from error
        self.stdout.write(
            f"{options['schema']}: {day} has {proof.event_count} events and {proof.aggregate_count} running totals, "
            f"{proof.difference_count} differences, {proof.duration_ms} ms."
        )
        for difference in proof.differences:
            self.stdout.write(f"  {difference}")
        if proof.difference_count:
            raise CommandError(f"{day} has {proof.difference_count} differences; --mend rebuilds an hour.")

    def _mend(self, options: dict[str, Any]) -> date:
        if not options["customer"] or not (options["reason"] or "").strip():
            raise CommandError("--mend needs --customer and --reason.")
        try:
            hour_at = datetime.fromisoformat(options["mend"])
        except ValueError as error:
            raise CommandError(f"'{options['mend']}' is not an hour; write it like 2026-01-31T14:00Z.") from error
        if hour_at.tzinfo is None:
            raise CommandError("The hour needs an offset; write it like 2026-01-31T14:00Z.")
        customer = customer_selectors.customer_by_reference(options["customer"])
        proofs.usage_hour_mend(
            customer_id=customer.id, hour_at=hour_at, reason=options["reason"], actor=OPERATOR, at=clock.now()
        )
        return hour_at.astimezone(UTC).date()


def _day(text: str | None) -> date:
    try:
        return date.fromisoformat(text or "")
    except ValueError as error:
        raise CommandError(f"'{text or ''}' is not a day; write it like --day 2026-01-31.") from error
