"""Apply the pricing documents of a file."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from apps.common import clock
from apps.common.actors import OPERATOR
from apps.common.db import unit_of_work
from apps.plans import services
from apps.plans.management.plan_command import FilePlan, PlanCommand


class Command(PlanCommand):
    """Make a plan's newest terms be those of a file; the same file twice changes nothing."""

    help = "Apply a pricing document, or a file of tiers, to a tenant: makes drafts and prints what differs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the file, the tenant, and whether to publish."""
        parser.add_argument("file", type=Path, help="the pricing document")
        self.add_schema_argument(parser)
        self.add_file_arguments(parser)
        parser.add_argument("--publish", action="store_true", help="freeze the terms and put them on sale")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print each version and each value that differs; a refusal prints every problem and exits with 1."""
        with self.refusals():
            plans = self.file_plans(path=options["file"], format_name=options["format"], left_out=options["leave_out"])
        with self.tenant(options["schema"]):
            # Every plan is read before one is stored: half a price list is a wrong one.
            for plan in plans:
                self.validated(plan)
            self._apply(plans)
            if options["publish"]:
                self._publish(plans)

    @unit_of_work
    def _apply(self, plans: list[FilePlan]) -> None:
        for plan in plans:
            applied = services.plan_document_apply(document=plan.document, actor=OPERATOR, at=clock.now())
            state = "changed" if applied.is_changed else "unchanged"
            self.stdout.write(f"{applied.version} ({applied.version.status}): {state}")
            for line in applied.difference:
                self.stdout.write(f"  {line}")
            for warning in applied.warnings:
                self.stdout.write(f"  ! {warning}")

    @unit_of_work
    def _publish(self, plans: list[FilePlan]) -> None:
        told = []
        for plan in plans:
            newest = self.plan_version(plan_code=plan.document["plan"], number=None)
            if newest.status != "DRAFT":
                continue
            version = services.plan_version_publish(
                plan_code=newest.plan.code, version=newest.version, actor=OPERATOR, at=clock.now()
            )
            told.append(f"{version} is published, effective {version.effective_at.isoformat()}")
        for line in told:
            self.stdout.write(line)
