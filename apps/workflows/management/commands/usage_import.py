"""`manage.py usage_import --tenant acme FILE...`: read usage events from files, each counted once."""

import hashlib
import os
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec
from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError

from apps.common import clock
from apps.common.actors import OPERATOR
from apps.common.errors import DomainError
from apps.metering.event_files import EventFile, FileReading
from apps.metering.import_models import FileFormat, UsageImport
from apps.tenancy import context as tenancy_context
from apps.tenancy import selectors as tenancy_selectors
from apps.workflows import usage_files
from apps.workflows.usage_files import LineResult

# Everything was read and something of it was not taken in; 1 is for a command that could not go on.
EXIT_REFUSED: Final = 3
_SECOND: Final = 10**9
_STDIN: Final = "-"


class Command(BaseCommand):
    """Import files of usage events; a killed import goes on where it was, and no event counts twice."""

    help = (
        "Read usage events from files (JSON lines, or CSV with a header; gzip, too; - for standard input) through the "
        "same intake as HTTP. The same file again goes on where it was. Exit status: 0 all is in, 3 some lines were "
        "not taken in (see the report file), 1 it could not go on."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the files, whose they are, and how to read them."""
        parser.add_argument("files", nargs="+", metavar="FILE", help="a file of events; - for standard input")
        parser.add_argument("--tenant", required=True, help="the tenant's slug or schema, e.g. acme or t_acme")
        parser.add_argument("--mapping", default="", metavar="SOURCE", help="read the events by this source's mapping")
        parser.add_argument(
            "--columns",
            action="append",
            default=[],
            type=_column_pairs,
            metavar="FIELD=COLUMN,...",
            help="which column of a CSV gives a field: customer=account_id,properties.region=region; with == the same "
            "value in each row: source==till-3",
        )
        parser.add_argument("--format", choices=FileFormat.values, help="by default as the file's name or text says")
        parser.add_argument("--encoding", default="utf-8", help="of the text, e.g. cp1252; %(default)s by default")
        parser.add_argument("--delimiter", default=",", help="between the cells of a CSV; a comma by default")
        parser.add_argument("--report-dir", type=Path, default=Path(), help="where reports go; here by default")
        parser.add_argument("--dry-run", action="store_true", help="judge every line, store nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        """Import the files one after the other; a file that cannot be read ends the command."""
        delimiter = {"\\t": "\t", "tab": "\t"}.get(options["delimiter"], options["delimiter"])
        if len(delimiter) != 1:
            raise CommandError("--delimiter is one character, or tab.")
        if options["mapping"] and options["columns"]:
            raise CommandError("Give --mapping or --columns: a mapping says itself which column is which field.")
        columns = {field: column for pairs in options["columns"] for field, column in pairs}
        refused = 0
        with tenancy_context.tenant_context(schema_name=_schema_of(options["tenant"])):
            for name in options["files"]:
                reading = FileReading(
                    name="stdin" if name == _STDIN else name,
                    format=options["format"] or "",
                    encoding=options["encoding"].lower(),
                    delimiter=delimiter,
                    columns=columns,
                    has_mapping=bool(options["mapping"]),
                )
                refused += self._file(None if name == _STDIN else Path(name), reading, options)
        if refused:
            sys.exit(EXIT_REFUSED)

    def _file(self, path: Path | None, reading: FileReading, options: dict[str, Any]) -> int:
        """Import one file; return how many of its lines were not taken in."""
        with ExitStack() as closing:
            try:
                stream: BinaryIO = sys.stdin.buffer if path is None else closing.enter_context(path.open("rb"))
                file = EventFile(stream=stream, reading=reading)
                if file.is_empty:
                    self.stdout.write(f"{reading.name}: is empty.")
                    return 0
                # A dry run judges the whole file, also what is in already.
                usage_import = usage_files.usage_import_find(
                    path=None if options["dry_run"] else path,
                    file=file,
                    mapping_source=options["mapping"],
                    actor=OPERATOR,
                    at=clock.now(),
                )
                if file.table is not None and file.table.unread:
                    self.stderr.write(f"{reading.name}: columns not read: {', '.join(file.table.unread)}")
                report = _Report(_report_path(reading.name, options), keep_lines=usage_import.read_lines)
                return self._read(file, usage_import, report, options)
            except DomainError as error:
                raise CommandError(error.detail) from error
            except OSError as error:
                raise CommandError(f"{reading.name} cannot be read: {error.strerror or error}.") from error

    def _read(self, file: EventFile, usage_import: UsageImport, report: "_Report", options: dict[str, Any]) -> int:
        name = file.reading.name
        if usage_import.finished_at is not None:
            since = f"{usage_import.finished_at:%Y-%m-%d %H:%M} UTC"
            known = f"{usage_import.read_lines:,} lines of it are in since {since}, as {usage_import.file_name}"
            self.stderr.write(f"{name}: {known}; only what came behind them is read.")
        elif usage_import.read_lines:
            self.stderr.write(f"{name}: going on behind line {usage_import.read_lines:,}.")
        progress = _Progress(file=file, lines=usage_import.read_lines)
        for batch in file.batches():
            if not batch.events and usage_import.finished_at is not None:
                continue
            try:
                counts = usage_files.usage_import_take(
                    usage_import=usage_import,
                    batch=batch,
                    tell=report.add,
                    actor=OPERATOR,
                    at=clock.now(),
                    is_dry_run=options["dry_run"],
                )
            except (OperationalError, InterfaceError) as error:
                raise CommandError(
                    f"{name}: the database failed behind line {progress.lines:,} ({str(error).strip()}). Give the same "
                    "command again: it goes on there."
                ) from error
            progress.add(counts, lines=batch.after.lines)
            if progress.is_due or batch.is_last:
                self.stderr.write(f"{name}: {progress.sentence()}")
        return self._summary(name, progress, report, is_dry_run=options["dry_run"])

    def _summary(self, name: str, progress: "_Progress", report: "_Report", *, is_dry_run: bool) -> int:
        refused = progress.counts["conflict"] + progress.counts["rejected"]
        said = "would be accepted, nothing was stored" if is_dry_run else "accepted"
        where = f" Report: {report.path}" if refused else ""
        self.stdout.write(
            f"{name}: {progress.counts['accepted']:,} {said}; {progress.counts['duplicate']:,} were there already; "
            f"{progress.counts['conflict']:,} conflicts, {progress.counts['rejected']:,} rejected.{where}"
        )
        return refused


def _report_path(name: str, options: dict[str, Any]) -> Path:
    """Return where the report of a file is: of its own for files of one name in two folders, and for a dry run."""
    path = Path(name)
    folder: Path = options["report_dir"]
    is_elsewhere = path.resolve().parent != folder.resolve()
    place = f".{hashlib.sha256(str(path.resolve().parent).encode()).hexdigest()[:8]}" if is_elsewhere else ""
    return folder / f"{path.name}{place}{'.dry-run' if options['dry_run'] else ''}.report.jsonl"


class _Report:
    """A file of what was not taken in, one JSON document a line; it is made when there is something to say."""

    def __init__(self, path: Path, *, keep_lines: int) -> None:
        """Keep what was told of lines that are in, and forget what a killed run told of lines it did not commit."""
        self.path = path
        if self.path.exists():
            told = [text for text in self.path.read_bytes().splitlines(keepends=True) if text.endswith(b"\n")]
            kept = [text for text in told if msgspec.json.decode(text, type=dict[str, Any])["line"] <= keep_lines]
            self.path.write_bytes(b"".join(kept))
            if not kept:
                self.path.unlink()

    def add(self, results: Sequence[LineResult]) -> None:
        """Write results down, on the disk and not only on their way there."""
        with self.path.open("ab") as file:
            file.writelines(msgspec.json.encode(result.to_document()) + b"\n" for result in results)
            file.flush()
            os.fsync(file.fileno())


class _Progress:
    """How far a file is, how fast, and how long it will take."""

    def __init__(self, *, file: EventFile, lines: int) -> None:
        self._file = file
        self._begun = self._said = time.monotonic_ns()
        self._lines_before = self.lines = lines
        self.counts = dict.fromkeys(("accepted", "duplicate", "conflict", "rejected"), 0)
        self._bytes_all = file.stored_bytes_all
        self._bytes_before = file.stored_bytes_read

    def add(self, counts: dict[str, int], *, lines: int) -> None:
        """Count a batch that is in."""
        self.lines = lines
        for name, count in counts.items():
            self.counts[name] += count

    @property
    def is_due(self) -> bool:
        """Return whether a second has passed since it was asked last."""
        now = time.monotonic_ns()
        if now - self._said < _SECOND:
            return False
        self._said = now
        return True

    def sentence(self) -> str:
        """Return where it is."""
        nanoseconds = max(time.monotonic_ns() - self._begun, 1)
        rate = (self.lines - self._lines_before) * _SECOND // nanoseconds
        counted = ", ".join(f"{count:,} {name}" for name, count in self.counts.items())
        parts = [f"line {self.lines:,}", f"{rate:,} lines/s", counted]
        if self._bytes_all:
            read = self._file.stored_bytes_read
            parts.insert(1, f"{read * 100 // self._bytes_all} %")
            left = (self._bytes_all - read) * nanoseconds // max(read - self._bytes_before, 1) // _SECOND
            if read < self._bytes_all:
                parts.append(f"about {left:,} s left")
        return ", ".join(parts)


def _schema_of(tenant: str) -> str:
    ready = tenancy_selectors.tenant_schemas_ready()
    for schema in (tenant, f"t_{tenant.replace('-', '_')}"):
        if schema in ready:
            return schema
    raise CommandError(f"There is no ready tenant '{tenant}'; there are: {', '.join(ready) or 'none'}.")


def _column_pairs(text: str) -> Iterable[tuple[str, str]]:
    pairs = []
    for part in text.split(","):
        name, sign, column = part.partition("=")
        if not (sign and name.strip() and column.strip()):
            raise ArgumentTypeError(f"'{part}' is no FIELD=COLUMN, such as customer=account_id.")
        pairs.append((name.strip(), column.strip()))
    return pairs
