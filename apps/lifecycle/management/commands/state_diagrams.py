"""Write docs/state-machines.md from the declared machines, or say that it is out of date."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.lifecycle import diagrams

_PAGE = Path(__file__).resolve().parents[4] / "docs" / "state-machines.md"


class Command(BaseCommand):
    """Draw the state machines."""

    help = "Write docs/state-machines.md from the models; with --check only compare."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--check", action="store_true", help="Write nothing; fail if the page is out of date.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write or compare the page."""
        page = diagrams.render()
        if not options["check"]:
            _PAGE.write_text(page, encoding="utf-8")
            self.stdout.write(f"Wrote {len(diagrams.machines())} machines to docs/state-machines.md.")
        elif not _PAGE.exists() or _PAGE.read_text(encoding="utf-8") != page:
            raise CommandError("docs/state-machines.md is out of date; run `python manage.py state_diagrams`.")
