"""Write the JSON Schema of pricing documents."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand

from apps.plans import documents


class Command(BaseCommand):
    """Generate the published schema from the engine's charge models; a test compares the two."""

    help = "Write the JSON Schema of pricing documents, e.g. to docs/schemas/pricing-document.json."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the file to write."""
        parser.add_argument("file", type=Path, help="where to write it")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write the file, making its folder if need be."""
        path: Path = options["file"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(documents.schema_text(), encoding="utf-8")
        self.stdout.write(f"{path} is written.")
