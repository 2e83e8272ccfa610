"""Write a batch: identity and event in one transaction, COPY for what is new, a second way for what may be there."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from types import MappingProxyType
from typing import Final

from django.db import connection

from apps.common.db import fetch_all, unit_of_work
from apps.metering import usage_store_sql
from apps.metering.usage_rows import UsageRow

_BY_KEY: Final = attrgetter("key")
_NULL: Final = r"\N"


@unit_of_work
def usage_batch_store(
    *,
    rows: Sequence[UsageRow],
    at: datetime,
    is_repeat_expected: bool,
    stands_for: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, str]:
    """
    Write events with their identity; the trigger adds them to the totals in the same statement.

    Returns the verdict, "duplicate" or "conflict", of each key that was there already and so was not written again.

    :param is_repeat_expected: go the way that tells keys apart, instead of the fast one that fails on the first repeat
    :param stands_for: for keys of events that restate others, the transaction that wrote the other
    :raises django.db.IntegrityError: on the fast way, if a key is taken; nothing is written then
    """
    ordered = sorted(rows, key=_BY_KEY)
    received = at.isoformat()
    repeats: dict[str, str] = {}
    if is_repeat_expected:
        repeats = _keys_insert(ordered, at)
        ordered = [row for row in ordered if row.key not in repeats] if repeats else ordered
    else:
        _copy(usage_store_sql.COPY_KEYS, [f"{row.key}\t\\\\x{row.payload_hash}\t{received}\n" for row in ordered])
    if stands_for:
        lines = [f"{row.key}\t{row.line}\t{stands_for.get(row.key, _NULL)}\n" for row in ordered]
        _copy(usage_store_sql.COPY_RESTATED, lines)
    else:
        _copy(usage_store_sql.COPY_EVENTS, [f"{row.key}\t{row.line}\n" for row in ordered])
    return repeats


def usage_stored_find(*, rows: Sequence[UsageRow]) -> dict[str, str]:
    """Return the verdict, "duplicate" or "conflict", of each row whose key is stored and committed."""
    if not rows:
        return {}
    return {
        rows[number - 1].key: "duplicate" if is_same else "conflict"
        for number, is_same in fetch_all(usage_store_sql.FIND_STORED, _keys_and_hashes(rows))
    }


def _keys_insert(rows: Sequence[UsageRow], at: datetime) -> dict[str, str]:
    """Write the keys that are not there, and return the verdicts of the others."""
    repeats = usage_stored_find(rows=rows)
    fresh = [row for row in rows if row.key not in repeats]
    if fresh:
        written = fetch_all(usage_store_sql.INSERT_KEYS, {"at": at, **_keys_and_hashes(fresh)})
        if len(written) < len(fresh):
            # Somebody wrote them since we looked. A later statement sees what the insert waited for.
            inserted = {key for (key,) in written}
            repeats |= usage_stored_find(rows=[row for row in fresh if row.key not in inserted])
    return repeats


def _keys_and_hashes(rows: Sequence[UsageRow]) -> dict[str, list[str]]:
    return {"keys": [row.key for row in rows], "hashes": [row.payload_hash for row in rows]}


def _copy(statement: str, lines: Iterable[str]) -> None:
    block = "".join(lines)
    if not block:
        return
    # The cursor's COPY is the driver's own: its errors must be translated for those who catch Django's.
    with connection.wrap_database_errors, connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(block)
