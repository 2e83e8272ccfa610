"""What commands about plans share: the tenant they work in, the files they read, and refusals in full."""

from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.common.errors import DomainError
from apps.plans import documents, selectors
from apps.plans.documents.tier_files import LEAVABLE, TierPlan, plans_of_tier_file
from apps.plans.errors import PlanDocumentInvalid
from apps.plans.models import PlanVersion
from apps.tenancy import context as tenancy_context
from apps.tenancy import selectors as tenancy_selectors

_FORMAT_BY_SUFFIX = {".yaml": "yaml", ".yml": "yaml", ".json": "json"}
TIERS_FORMAT = "tiers"


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePlan:
    """One plan of a file; refusals name the place where it stands there."""

    document: dict[str, Any]
    tier: TierPlan | None = None


class PlanCommand(BaseCommand):
    """A command in the schema of one tenant."""

    def add_schema_argument(self, parser: ArgumentParser, *, is_required: bool = True) -> None:
        """Take the tenant."""
        parser.add_argument("--schema", required=is_required, help="the tenant's schema, e.g. t_acme")

    def add_file_arguments(self, parser: ArgumentParser) -> None:
        """Take how a file of plans is to be read."""
        parser.add_argument(
            "--format",
            choices=sorted([*documents.FORMATS, TIERS_FORMAT]),
            help="by default as the file's name says; tiers: a YAML or JSON file that lists tiers, each becomes a plan",
        )
        parser.add_argument(
            "--leave-out",
            action="append",
            default=[],
            choices=sorted(LEAVABLE),
            help="with --format tiers: import without this part of the file, which plans cannot say",
        )

    @contextmanager
    def tenant(self, schema: str) -> Iterator[None]:
        """Work in a tenant's schema; a refusal ends the command with every problem and its place."""
        ready = tenancy_selectors.tenant_schemas_ready()
        if schema not in ready:
            known = ", ".join(ready) or "none"
            raise CommandError(f"There is no ready tenant with the schema '{schema}'; there are: {known}.")
        with tenancy_context.tenant_context(schema_name=schema), self.refusals():
            yield

    @contextmanager
    def refusals(self) -> Iterator[None]:
        """End the command when something is refused, with every problem and its place."""
        try:
            yield
        except DomainError as error:
            problems = "".join(f"\n  {problem.pointer or '/'}: {problem.detail}" for problem in error.problems)
            raise CommandError(f"{error.detail}{problems}") from error

    def file_plans(self, *, path: Path, format_name: str | None, left_out: list[str]) -> list[FilePlan]:
        """
        Return the plans that a file describes, not yet validated.

        :raises PlanDocumentInvalid: if it cannot be read, or holds what no plan can say
        """
        text_format = _FORMAT_BY_SUFFIX.get(path.suffix.lower())
        if format_name == TIERS_FORMAT:
            # JSON is read as JSON only where the name says so; every JSON text of numbers and words is YAML, too.
            document = documents.load_text(text=_text_of(path), format=text_format or "yaml")
            tiers = plans_of_tier_file(document=document, left_out=left_out)
            return [FilePlan(document=tier.document, tier=tier) for tier in tiers]
        if left_out:
            raise CommandError("--leave-out is for --format tiers; other documents have no part to leave out.")
        text_format = format_name or text_format
        if text_format is None:
            raise CommandError(f"{path.name} does not say its format; add --format yaml or --format json.")
        return [FilePlan(document=documents.load_text(text=_text_of(path), format=text_format))]

    def validated(self, plan: FilePlan) -> documents.CanonicalPlan:
        """
        Return a plan of a file in canonical form.

        :raises PlanDocumentInvalid: naming every problem with its place in the file
        """
        try:
            return documents.validate(document=plan.document, known_meters=selectors.meters_current())
        except PlanDocumentInvalid as error:
            if plan.tier is None:
                raise
            raise plan.tier.in_file(error) from error

    def plan_version(self, *, plan_code: str, number: int | None) -> PlanVersion:
        """
        Return a version of a plan, the newest without a number.

        :raises PlanUnknown: if there is no such plan
        :raises PlanVersionUnknown: if it has no such version, or none at all
        """
        if number is None:
            return selectors.plan_version_newest(plan_code=plan_code)
        return selectors.plan_version_get(plan_code=plan_code, version=number)


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} cannot be read as UTF-8 text: {error}") from error
