"""Print what differs between terms."""

import sys
from argparse import ArgumentParser
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from apps.plans import documents
from apps.plans.errors import PlanUnknown, PlanVersionUnknown
from apps.plans.management.plan_command import FilePlan, PlanCommand


class Command(PlanCommand):
    """Compare a file with the newest version of its plan, or two versions of one plan; stores nothing."""

    help = "Print what a file would change of its plan, or what differs between two versions."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take a file, or a plan and two of its versions."""
        parser.add_argument("file", type=Path, nargs="?", help="a pricing document, compared with its plan's newest")
        parser.add_argument("--plan", help="the code of a plan, to compare two of its versions")
        parser.add_argument("--from", type=int, dest="before", help="with --plan: the version that was")
        parser.add_argument("--to", type=int, dest="after", help="with --plan: the version that becomes")
        parser.add_argument("--exit-code", action="store_true", help="exit with 1 when anything differs, for pipelines")
        self.add_schema_argument(parser)
        self.add_file_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Print a line per value: + is new, - is gone, ~ is another value."""
        path, code, before, after = (options[name] for name in ("file", "plan", "before", "after"))
        between = (code, before, after)
        if (path is None) == (code is None) or (any(between) and None in between):
            raise CommandError("Give either a file, or --plan CODE with --from N and --to M.")
        with self.tenant(options["schema"]):
            if path is None:
                differs = self._versions(code, before, after)
            else:
                plans = self.file_plans(path=path, format_name=options["format"], left_out=options["leave_out"])
                differs = self._files(path.name, plans)
        if differs and options["exit_code"]:
            sys.exit(1)

    def _versions(self, code: str, before: int, after: int) -> bool:
        old = self.plan_version(plan_code=code, number=before)
        new = self.plan_version(plan_code=code, number=after)
        return self._print(f"{old} to {new}", old.document, new.document)

    def _files(self, name: str, plans: list[FilePlan]) -> bool:
        # Each is printed, also after one that differs.
        results = [self._file(name, plan) for plan in plans]
        return any(results)

    def _file(self, name: str, plan: FilePlan) -> bool:
        canonical = self.validated(plan)
        try:
            newest = self.plan_version(plan_code=canonical.code, number=None)
        except (PlanUnknown, PlanVersionUnknown):
            return self._print(f"{name} is a new plan, {canonical.code}", {}, canonical.to_document())
        return self._print(f"{newest} ({newest.status}) to {name}", newest.document, canonical.to_document())

    def _print(self, title: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
        lines = documents.differences(before=before, after=after)
        count = "nothing differs" if not lines else f"{len(lines)} value{'' if len(lines) == 1 else 's'} differ"
        self.stdout.write(f"{title}: {count}{'s' if len(lines) == 1 else ''}")
        for line in lines:
            self.stdout.write(f"  {line}")
        return bool(lines)
