"""Files of the archive: rows as COPY text, compressed, with a manifest beside them; written whole or not at all."""

import gzip
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.db import connection

from apps.metering.errors import ArchiveBroken
from apps.tenancy import context as tenancy_context

_CHUNK: Final = 1 << 20


def archive_dir() -> Path:
    """Return the folder of this tenant's files, made when it is not there."""
    folder = Path(settings.USAGE_ARCHIVE_DIR) / tenancy_context.current_schema()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def rows_write(*, name: str, copy_statement: str) -> Path:
    """Write what a COPY gives into a file of this name; it has the name only when it is whole and on the disk."""
    target = archive_dir() / name
    part = target.with_name(f"{target.name}.part")
    with part.open("wb") as raw:
        # No time and no name inside, so that the same rows give the same file.
        with (
            gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=6, mtime=0, filename="") as packed,
            connection.wrap_database_errors,
            connection.cursor() as cursor,
            cursor.copy(copy_statement) as copy,
        ):
            for block in copy:
                packed.write(block)
        raw.flush()
        os.fsync(raw.fileno())
    part.replace(target)
    _sync_folder(target.parent)
    return target


def manifest_write(*, path: Path, manifest: dict[str, Any]) -> None:
    """Put the manifest beside its file, so that the file can be read without this database."""
    target = path.with_suffix(".json")
    part = target.with_name(f"{target.name}.part")
    with part.open("w", encoding="utf-8") as stream:
        json.dump(manifest, stream, indent=2, sort_keys=True)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(target)
    _sync_folder(target.parent)


def rows_read(*, path: Path, file_sha256: str, copy_statement: str) -> None:
    """
    Give a file's rows to a COPY.

    :raises ArchiveBroken: if the file is missing, or not byte for byte what was written
    """
    if not path.is_file():
        raise ArchiveBroken(f"The archive file {path.name} is not in its folder; bring it back from the backup.")
    if file_hash(path) != file_sha256:
        raise ArchiveBroken(
            f"The archive file {path.name} is not what was written: its SHA-256 differs. Bring it back from the backup."
        )
    with (
        gzip.open(path, "rb") as packed,
        connection.wrap_database_errors,
        connection.cursor() as cursor,
        cursor.copy(copy_statement) as copy,
    ):
        for block in iter(lambda: packed.read(_CHUNK), b""):
            copy.write(block)


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file."""
    digest = hashlib.sha256()
    for block in _blocks(path):
        digest.update(block)
    return digest.hexdigest()


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        yield from iter(lambda: stream.read(_CHUNK), b"")


def _sync_folder(folder: Path) -> None:
    # A name that is not on the disk is no name after a power cut.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
