"""
Read a file of events line by line, however large: plain or gzip, JSON lines or CSV.

A line that makes no sense is handed on as a refusal with its number, and the next line is read; only what is no text
at all, or no table of events, is refused whole. Positions are counted in the unpacked text and carry its SHA-256, so
that a reader who comes back can prove that it stands before the same text as the last time.
"""

import codecs
import contextlib
import gzip
import hashlib
import io
import os
import zlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import BinaryIO, Final, Protocol, cast

from apps.metering.bodies import BODY_BYTES_MAX, EVENTS_MAX
from apps.metering.errors import EventFileInvalid, EventRefused
from apps.metering.event_tables import EventTable, RowUnfinished
from apps.metering.import_models import FileFormat
from apps.metering.normalisers import EVENT_BYTES_MAX

# A longer line is read over in pieces and not held; what is kept of it shows which one it was.
LINE_BYTES_MAX: Final = 1024 * 1024
ROW_LINES_MAX: Final = 100
_KEPT_BYTES: Final = 1_000
_PIECE_BYTES: Final = 1024 * 1024
_GZIP: Final = b"\x1f\x8b"
_UNREADABLE: Final = (OSError, EOFError, zlib.error)
_UTF8_MARK: Final = codecs.BOM_UTF8
_SUFFIXES: Final = {
    ".jsonl": FileFormat.JSONL,
    ".ndjson": FileFormat.JSONL,
    ".json": FileFormat.JSONL,
    ".csv": FileFormat.CSV,
}
_PACKED: Final = {
    b"PK\x03\x04": "zip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}


class Digest(Protocol):
    """A running hash."""

    def update(self, data: bytes, /) -> None:
        """Take more in."""
        ...

    def copy(self) -> "Digest":
        """Return another one that stands here."""
        ...

    def hexdigest(self) -> str:
        """Return what it comes to so far."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePosition:
    """A place between two lines: how much of the unpacked text is before it, and its running hash."""

    lines: int = 0
    bytes: int = 0
    digest: Digest = field(default_factory=hashlib.sha256)

    @property
    def sha256(self) -> str:
        """Return the hash of all that is before."""
        return self.digest.hexdigest()


@dataclass(slots=True, kw_only=True)
class FileEvent:
    """What stands on a line: the JSON text of an event, or what stands there instead and why it is none."""

    line: int
    raw: bytes
    refusal: EventRefused | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileBatch:
    """Events to take in together, and the place behind them; none when only empty lines were left."""

    events: list[FileEvent]
    after: FilePosition
    is_last: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReading:
    """How a file is to be read. What is left open is decided by its name and its first bytes."""

    name: str
    format: str = ""
    encoding: str = "utf-8"
    delimiter: str = ","
    columns: Mapping[str, str] = field(default_factory=dict)
    has_mapping: bool = False


@dataclass(frozen=True, slots=True)
class _Line:
    data: bytes
    size: int
    after: FilePosition


def prefix_find(*, stream: BinaryIO, prefixes: Sequence[tuple[int, str]]) -> tuple[int, Digest] | None:
    """
    Return the longest of the prefixes (bytes, SHA-256) that a file's text begins with, and its running hash.

    One that ends in the middle of a line is passed over when the text goes on: the line was not whole at that time.
    """
    content = unpacked(stream)
    digest: Digest = hashlib.sha256()
    at, last, found = 0, b"", None
    # What cannot be read is told by whoever reads the events; until there the prefixes hold.
    with contextlib.suppress(*_UNREADABLE):
        for size, sha256 in sorted(set(prefixes)):
            while at < size:
                piece = content.read(min(_PIECE_BYTES, size - at))
                if not piece:
                    return found
                digest.update(piece)
                at, last = at + len(piece), piece[-1:]
            if digest.hexdigest() == sha256 and (last == b"\n" or not content.peek(1)):
                found = size, digest.copy()
    return found


def unpacked(stream: BinaryIO) -> io.BufferedReader | gzip.GzipFile:
    """Return the text of a stream, out of its gzip if it is in one."""
    buffered = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(cast(io.RawIOBase, stream))
    return gzip.GzipFile(fileobj=buffered) if buffered.peek(2)[:2] == _GZIP else buffered


class EventFile:
    """A file that is read once, from some position to its end, in batches."""

    def __init__(self, *, stream: BinaryIO, reading: FileReading) -> None:
        """
        Look at the beginning of a file.

        :raises EventFileInvalid: if it is no text, its encoding is unknown, or a table lacks what events need
        """
        self.reading = reading
        self._content = unpacked(stream)
        self._stored = stream
        self._position = FilePosition()
        self._ahead: deque[_Line] = deque()
        ensure_encoding(reading.encoding)
        first = self._look_ahead(0)
        self.is_empty = first is None
        head = b"" if first is None else first.data
        _ensure_text(name=reading.name, head=head)
        head = head.removeprefix(_UTF8_MARK)
        self.format = FileFormat(reading.format or _format_of(reading.name, head))
        if self.format == FileFormat.JSONL and head.lstrip()[:1] == b"[":
            raise EventFileInvalid(
                f"{reading.name} is one JSON array; write one event a line, for instance with: jq -c '.[]'"
            )
        self.table = self._table() if self.format == FileFormat.CSV and not self.is_empty else None

    def _table(self) -> EventTable:
        while (line := self._look_ahead(0)) is not None and not line.data.strip():
            self._pass(1)
        if line is None:
            raise EventFileInvalid(f"{self.reading.name} has no header; a CSV begins with the names of its columns.")
        try:
            header = self._decoded(line.data)
        except EventRefused as refused:
            raise EventFileInvalid(f"The header of {self.reading.name} cannot be read. {refused.detail}") from refused
        table = EventTable(
            header=header,
            delimiter=self.reading.delimiter,
            columns=self.reading.columns,
            has_mapping=self.reading.has_mapping,
        )
        self._pass(1)
        return table

    def go_on(self, *, at: FilePosition) -> None:
        """Continue at a position that was proven with `prefix_find`."""
        if at.bytes > self._position.bytes:
            self._ahead.clear()
            self._content.seek(at.bytes)
            self._position = at

    @property
    def stored_bytes_all(self) -> int:
        """Return the size of the file as it is stored, packed or not; 0 for a pipe, which does not know."""
        return os.fstat(self._stored.fileno()).st_size if self._stored.seekable() else 0

    @property
    def stored_bytes_read(self) -> int:
        """Return how much of the file as it is stored was fetched so far; 0 for a pipe."""
        return self._stored.tell() if self._stored.seekable() else 0

    def batches(self) -> Iterator[FileBatch]:
        """
        Yield the rest of the file in batches of at most 10,000 events or 4 MiB; the last one says so.

        :raises EventFileInvalid: if the file cannot be read further, such as a gzip that is cut off
        """
        is_last = False
        while not is_last:
            events: list[FileEvent] = []
            size = 0
            while len(events) < EVENTS_MAX:
                line = self._look_ahead(0)
                if line is None:
                    is_last = True
                    break
                if events and size + min(line.size, LINE_BYTES_MAX) > BODY_BYTES_MAX:
                    break
                event = self._take()
                if event is not None:
                    events.append(event)
                    size += len(event.raw)
            yield FileBatch(events=events, after=self._position, is_last=is_last)

    def _take(self) -> FileEvent | None:
        """Take the next line, or the lines of a row; nothing if it is empty or a header again."""
        line = self._ahead[0]
        number = self._position.lines + 1
        try:
            return self._understood(line, number)
        except EventRefused as refused:
            self._pass(1)
            return FileEvent(line=number, raw=line.data, refusal=refused)

    def _understood(self, line: _Line, number: int) -> FileEvent | None:
        if line.size > LINE_BYTES_MAX:
            raise EventRefused(
                "too_large",
                f"The line has {line.size} bytes; {EVENT_BYTES_MAX} are the limit of an event. Only its beginning is "
                "kept.",
            )
        data = line.data.removeprefix(_UTF8_MARK) if number == 1 else line.data
        text = data.strip(b" \t\r\n")
        if not text:
            self._pass(1)
            return None
        if self.table is not None:
            return self._row(number)
        raw = text if self.reading.encoding == "utf-8" else self._decoded(text).encode()
        self._pass(1)
        return FileEvent(line=number, raw=raw)

    def _row(self, number: int) -> FileEvent | None:
        """Take a row of the table; a field in quotes may go over several lines."""
        assert self.table is not None  # noqa: S101  asked for rows of a table only
        text, lines, size = "", 0, 0
        while True:
            line = self._look_ahead(lines)
            if line is None or lines == ROW_LINES_MAX or size + line.size > LINE_BYTES_MAX:
                # Only the line that opens the quote is refused: the next ones are rows, until shown otherwise.
                raise EventRefused("invalid_row", "A quote is opened and not closed; double a quote inside of a value.")
            text, lines, size = text + self._decoded(line.data), lines + 1, size + line.size
            try:
                raw = self.table.event_of(text)
            except RowUnfinished:
                continue
            self._pass(lines)
            return None if raw is None else FileEvent(line=number, raw=raw)

    def _decoded(self, data: bytes) -> str:
        try:
            return data.removeprefix(_UTF8_MARK).decode(self.reading.encoding)
        except UnicodeDecodeError as error:
            raise EventRefused(
                "invalid_text",
                f"The line is not {self.reading.encoding} text (byte {error.start}); save the file as UTF-8 or give "
                "--encoding.",
            ) from error

    def _look_ahead(self, distance: int) -> _Line | None:
        """Return a line that is not taken yet, or nothing behind the last one."""
        while len(self._ahead) <= distance:
            line = self._read_line()
            if line is None:
                return None
            self._ahead.append(line)
        return self._ahead[distance]

    def _read_line(self) -> _Line | None:
        before = self._ahead[-1].after if self._ahead else self._position
        digest = before.digest.copy()
        data, size, piece = b"", 0, b""
        try:
            while not piece.endswith(b"\n"):
                piece = self._content.readline(_PIECE_BYTES)
                if not piece:
                    break
                digest.update(piece)
                size += len(piece)
                data = data + piece if size <= LINE_BYTES_MAX else data[:_KEPT_BYTES]
        except _UNREADABLE as error:
            raise EventFileInvalid(
                f"{self.reading.name} cannot be read behind line {before.lines}: {error}. What stands before is taken "
                "in; mend the file and give it again."
            ) from error
        if not size:
            return None
        after = FilePosition(lines=before.lines + 1, bytes=before.bytes + size, digest=digest)
        return _Line(data, size, after)

    def _pass(self, lines: int) -> None:
        for _ in range(lines):
            self._position = self._ahead.popleft().after


def ensure_encoding(encoding: str) -> None:
    """
    Require an encoding whose lines end as those of plain text do.

    :raises EventFileInvalid: if it is unknown or of another kind
    """
    try:
        is_plain = codecs.lookup(encoding).name and "{\n".encode(encoding) == b"{\n"
    except (LookupError, UnicodeError) as error:
        raise EventFileInvalid(f"The encoding '{encoding}' is unknown; for instance utf-8 or cp1252.") from error
    if not is_plain:
        raise EventFileInvalid(f"Files in {encoding} are not read; convert it first: iconv -f {encoding} -t UTF-8")


def _ensure_text(*, name: str, head: bytes) -> None:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise EventFileInvalid(f"{name} is UTF-16; convert it first: iconv -f UTF-16 -t UTF-8")
    packer = next((packer for magic, packer in _PACKED.items() if head.startswith(magic)), "")
    if packer:
        raise EventFileInvalid(f"{name} is packed with {packer}; unpack it first, or pipe its text to '-'.")
    # Only the first line is looked at: a later one with a NUL is one bad line of a text.
    if b"\0" in head:
        raise EventFileInvalid(f"{name} is not text: its first line holds NUL bytes. Give JSON lines or CSV.")


def _format_of(name: str, head: bytes) -> FileFormat:
    path = PurePath(name.lower())
    suffix = PurePath(path.stem).suffix if path.suffix == ".gz" else path.suffix
    return _SUFFIXES.get(suffix) or (FileFormat.JSONL if head.lstrip()[:1] in (b"{", b"[", b"") else FileFormat.CSV)
