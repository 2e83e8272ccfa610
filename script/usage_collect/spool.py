"""Events on the disk, from when they are taken until the server has answered for them."""

import contextlib
import fcntl
import json
import os
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

BODY_BYTES_MAX = 3 * 1024 * 1024
_SEGMENT_BYTES_MAX = 8 * 1024 * 1024
# The number of a file and a byte in it.
Place = tuple[int, int]


def say(text: str) -> None:
    """Tell whoever watches, on stderr."""
    print(f"usage_collect: {text}", file=sys.stderr, flush=True)


class SpoolFull(Exception):
    """There is no room for more until something was sent."""


class Spool:
    """Events on the disk, in numbered files, between the place that is answered for and the last one that is safe."""

    def __init__(self, folder: Path, *, bytes_max: int) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = (folder / "lock").open("w")
        self._file = -1
        self.end: Place = (0, 0)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f"Another collector works in {folder}; give each a --spool of its own.") from None
        self.folder, self._bytes_max = folder, bytes_max
        # Room comes back by whole files, so there are always several.
        self._segment_bytes = min(_SEGMENT_BYTES_MAX, bytes_max // 4)
        self.changed = threading.Condition()
        self.sent, self.until = self._read_position()
        numbers = sorted(int(path.stem) for path in folder.glob("*.events"))
        for number in numbers:
            if number < self.sent[0]:
                self._path(number).unlink()
        numbers = [number for number in numbers if number >= self.sent[0]]
        if numbers:
            self._cut_torn_line(self._path(numbers[-1]))
        self._sizes = {number: self._path(number).stat().st_size for number in numbers}
        self.pending = sum(self._lines_in(number) for number in numbers)
        self._arrivals: deque[tuple[int, float]] = deque([(self.pending, time.monotonic())] if self.pending else [])
        self._segment_begin((numbers[-1] if numbers else self.sent[0]) + 1)

    def append(self, lines: list[bytes]) -> None:
        """
        Put lines on the disk; when this returns they are safe.

        :raises SpoolFull: if the spool has its size, or the disk is full; nothing of the lines is kept then
        """
        data = b"".join(line + b"\n" for line in lines)
        with self.changed:
            used = sum(self._sizes.values()) + self._refused_bytes()
        if used + len(data) > self._bytes_max:
            raise SpoolFull(f"{self.folder} holds {used} bytes; {self._bytes_max} are the limit")
        try:
            written = 0
            while written < len(data):
                written += os.write(self._file, data[written:])
            os.fsync(self._file)
        except OSError as error:
            # What is half written was never acknowledged, and must not stand before what comes next.
            os.ftruncate(self._file, self.end[1])
            raise SpoolFull(f"{self.folder}: {error.strerror}") from error
        with self.changed:
            self.end = (self.end[0], self.end[1] + len(data))
            self._sizes[self.end[0]] = self.end[1]
            self.pending += len(lines)
            self._arrivals.append((len(lines), time.monotonic()))
            self.changed.notify_all()
        if self.end[1] >= self._segment_bytes:
            self._segment_begin(self.end[0] + 1)

    def waited(self) -> float:
        """Return for how many seconds the oldest line has been waiting."""
        return time.monotonic() - self._arrivals[0][1] if self._arrivals else 0.0

    def read(self, *, events_max: int) -> tuple[list[tuple[Place, bytes]], Place]:
        """Return the next lines with their places, and the place behind them; no further than what is safe."""
        lines: list[tuple[Place, bytes]] = []
        limit, size = self.until or self.end, 0
        number, offset = self.sent
        while number <= limit[0]:
            end = limit[1] if number == limit[0] else sys.maxsize
            with contextlib.suppress(FileNotFoundError), self._path(number).open("rb") as file:
                file.seek(offset)
                while offset < end and (line := file.readline()):
                    is_full = not self.until and (len(lines) == events_max or size + len(line) > BODY_BYTES_MAX)
                    if lines and is_full:
                        return lines, (number, offset)
                    lines.append(((number, offset), line.rstrip(b"\n")))
                    offset, size = offset + len(line), size + len(line) + 1
            if number == limit[0]:
                break
            number, offset = number + 1, 0
        return lines, (number, offset)

    def plan(self, until: Place) -> None:
        """Fix how far the next batch goes, so that after a crash the very same events are taken together."""
        self._write_position(self.sent, until)
        self.until = until

    def forget(self, *, count: int, after: Place) -> None:
        """Record that everything before a place is answered for, and give its room back."""
        self._write_position(after, None)
        for number in range(self.sent[0], after[0]):
            self._path(number).unlink(missing_ok=True)
        with self.changed:
            self._sizes = {number: size for number, size in self._sizes.items() if number >= after[0]}
            self.sent, self.until = after, None
            self.pending -= count
            while count:
                arrived, at = self._arrivals.popleft()
                if arrived > count:
                    self._arrivals.appendleft((arrived - count, at))
                count -= min(arrived, count)

    def refuse(self, records: list[dict[str, Any]]) -> None:
        """Keep what was refused, safe on the disk."""
        with (self.folder / "refused.jsonl").open("ab") as file:
            file.writelines(json.dumps(record).encode() + b"\n" for record in records)
            file.flush()
            os.fsync(file.fileno())

    def _refused_bytes(self) -> int:
        try:
            return (self.folder / "refused.jsonl").stat().st_size
        except FileNotFoundError:
            return 0

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:012}.events"

    def _lines_in(self, number: int) -> int:
        with self._path(number).open("rb") as file:
            file.seek(self.sent[1] if number == self.sent[0] else 0)
            return sum(1 for _line in file)

    def _cut_torn_line(self, path: Path) -> None:
        data = path.read_bytes()
        if not data.endswith(b"\n"):
            os.truncate(path, data.rfind(b"\n") + 1)

    def _segment_begin(self, number: int) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file = os.open(self._path(number), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._sync_folder()
        with self.changed:
            self.end = (number, 0)
            self._sizes[number] = 0

    def _read_position(self) -> tuple[Place, Place | None]:
        try:
            stored = json.loads((self.folder / "position.json").read_bytes())
        except FileNotFoundError:
            return (0, 0), None
        return tuple(stored["sent"]), tuple(stored["until"]) if stored["until"] else None

    def _write_position(self, sent: Place, until: Place | None) -> None:
        path = self.folder / "position.json.new"
        with path.open("wb") as file:
            file.write(json.dumps({"sent": sent, "until": until}).encode())
            file.flush()
            os.fsync(file.fileno())
        path.replace(self.folder / "position.json")
        self._sync_folder()

    def _sync_folder(self) -> None:
        descriptor = os.open(self.folder, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
