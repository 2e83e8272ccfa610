"""Write a batch: identity and event in one transaction, COPY for what is new, a second way for what may be there."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from types import MappingProxyType
from typing import Final

from django.db import connection

from apps.common.db import fetch_all, unit_of_work
from apps.metering import usage_rows, usage_store_sql
from apps.metering.usage_rows import UsageRow

_BY_KEY: Final = attrgetter("key")


@unit_of_work
def usage_batch_store(
    *,
    rows: Sequence[UsageRow],
    at: datetime,
    is_repeat_expected: bool,
    stands_for: Mapping[bytes, str] = MappingProxyType({}),
) -> dict[bytes, str]:
    """
    Write events with their identity; the trigger adds them to the totals in the same statement.

    Returns the verdict, "duplicate" or "conflict", of each key that was there already and so was not written again.

    :param is_repeat_expected: go the way that tells keys apart, instead of the fast one that fails on the first repeat
    :param stands_for: for keys of events that restate others, the transaction that wrote the other
    :raises django.db.IntegrityError: on the fast way, if a key is taken; nothing is written then
    """
    ordered = sorted(rows, key=_BY_KEY)
    repeats: dict[bytes, str] = {}
    if is_repeat_expected:
        repeats = _keys_insert(ordered, at)
        ordered = [row for row in ordered if row.key not in repeats] if repeats else ordered
    elif ordered:
        _copy(usage_store_sql.COPY_KEYS, usage_rows.copied_keys(ordered, received_at=at))
    if ordered and stands_for:
        xid_of = {row.key: int(stands_for[row.key]) if row.key in stands_for else None for row in ordered}
        _copy(usage_store_sql.COPY_RESTATED, usage_rows.copied_restated_events(ordered, xid_of=xid_of))
    elif ordered:
        _copy(usage_store_sql.COPY_EVENTS, usage_rows.copied_events(ordered))
    return repeats


def usage_stored_find(*, rows: Sequence[UsageRow]) -> dict[bytes, str]:
    """Return the verdict, "duplicate" or "conflict", of each row whose key is stored and committed."""
    if not rows:
        return {}
    return {
        rows[number - 1].key: "duplicate" if is_same else "conflict"
        for number, is_same in fetch_all(usage_store_sql.FIND_STORED, _keys_and_hashes(rows))
    }


def _keys_insert(rows: Sequence[UsageRow], at: datetime) -> dict[bytes, str]:
    """Write the keys that are not there, and return the verdicts of the others."""
    repeats = usage_stored_find(rows=rows)
    fresh = [row for row in rows if row.key not in repeats]
    if fresh:
        written = fetch_all(usage_store_sql.INSERT_KEYS, {"at": at, **_keys_and_hashes(fresh)})
        if len(written) < len(fresh):
            # Somebody wrote them since we looked. A later statement sees what the insert waited for.
            inserted = {bytes(key) for (key,) in written}
            repeats |= usage_stored_find(rows=[row for row in fresh if row.key not in inserted])
    return repeats


def _keys_and_hashes(rows: Sequence[UsageRow]) -> dict[str, list[str]]:
    return {"keys": [row.key.hex() for row in rows], "hashes": [row.payload_hash.hex() for row in rows]}


def _copy(statement: str, block: bytes) -> None:
    # The cursor's COPY is the driver's own: its errors must be translated for those who catch Django's.
    with connection.wrap_database_errors, connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(block)
