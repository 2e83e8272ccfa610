"""Write terms as a file."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from apps.plans import documents
from apps.plans.management.plan_command import PlanCommand
from apps.plans.presets import PRESETS


class Command(PlanCommand):
    """Write a version, or a preset to begin with, as YAML that `plans_apply` takes."""

    help = "Write a plan version as YAML; applied again it changes nothing. Or a preset to begin with."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take a plan of a tenant, or the name of a preset."""
        parser.add_argument("plan", nargs="?", help="the code of a plan")
        parser.add_argument("--number", type=int, help="which version; by default the newest, draft or not")
        parser.add_argument("--preset", choices=[preset.name for preset in PRESETS], help="a document to begin with")
        parser.add_argument("--output", type=Path, help="the file to write; by default it is printed")
        self.add_schema_argument(parser, is_required=False)

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the document, or write it into a file."""
        code, preset_name, schema = options["plan"], options["preset"], options["schema"]
        if (code is None) == (preset_name is None):
            raise CommandError("Give either the code of a plan with --schema, or --preset NAME.")
        if preset_name is not None:
            text = next(preset.text for preset in PRESETS if preset.name == preset_name)
        elif schema is None:
            raise CommandError("Say whose plan it is: add --schema, e.g. --schema t_acme.")
        else:
            with self.tenant(schema):
                version = self.plan_version(plan_code=code, number=options["number"])
                text = documents.document_text(document=version.document)
        if options["output"] is None:
            self.stdout.write(text, ending="")
            return
        try:
            options["output"].write_text(text, encoding="utf-8")
        except OSError as error:
            raise CommandError(f"{options['output']} cannot be written: {error}") from error
        self.stdout.write(f"{options['output']} is written.")
