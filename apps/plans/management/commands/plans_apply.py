"""Apply a pricing document from a file."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.common import clock
from apps.common.actors import OPERATOR
from apps.common.errors import DomainError
from apps.plans import documents, services
from apps.tenancy import context as tenancy_context
from apps.tenancy import selectors as tenancy_selectors

_FORMAT_BY_SUFFIX = {".yaml": "yaml", ".yml": "yaml", ".json": "json"}


class Command(BaseCommand):
    """Make a plan's newest terms be those of a file; the same file twice changes nothing."""

    help = "Apply a pricing document (YAML or JSON) to a tenant: makes a draft and prints what differs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the file, the tenant, and whether to publish."""
        parser.add_argument("file", type=Path, help="the pricing document")
        parser.add_argument("--schema", required=True, help="the tenant's schema, e.g. t_acme")
        parser.add_argument("--format", choices=sorted(documents.FORMATS), help="by default as the file's name says")
        parser.add_argument("--publish", action="store_true", help="freeze the terms and put them on sale")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the version and each value that differs; a refusal prints every problem and exits with 1."""
        path: Path = options["file"]
        text = _text_of(path)
        format_name = options["format"] or _FORMAT_BY_SUFFIX.get(path.suffix.lower())
        if format_name is None:
            raise CommandError(f"{path.name} does not say its format; add --format yaml or --format json.")
        if options["schema"] not in tenancy_selectors.tenant_schemas_ready():
            known = ", ".join(tenancy_selectors.tenant_schemas_ready()) or "none"
            raise CommandError(f"There is no ready tenant with the schema '{options['schema']}'; there are: {known}.")
        with tenancy_context.tenant_context(schema_name=options["schema"]):
            try:
                self._apply(documents.load_text(text=text, format=format_name), is_to_publish=options["publish"])
            except DomainError as error:
                problems = "".join(f"\n  {problem.pointer or '/'}: {problem.detail}" for problem in error.problems)
                raise CommandError(f"{error.detail}{problems}") from error

    def _apply(self, document: dict[str, Any], *, is_to_publish: bool) -> None:
        at = clock.now()
        applied = services.plan_document_apply(document=document, actor=OPERATOR, at=at)
        self.stdout.write(
            f"{applied.version} ({applied.version.status}): " + ("changed" if applied.is_changed else "unchanged")
        )
        for line in applied.difference:
            self.stdout.write(f"  {line}")
        if is_to_publish and (applied.is_changed or applied.version.status == "DRAFT"):
            version = services.plan_version_publish(
                plan_code=applied.plan.code, version=applied.version.version, actor=OPERATOR, at=at
            )
            self.stdout.write(f"{version} is published, effective {version.effective_at.isoformat()}")


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} cannot be read as UTF-8 text: {error}") from error
