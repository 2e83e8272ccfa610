"""Write a batch: identity and event in one transaction, COPY for what is new, a second way for what may be there."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final

from django.db import connection

from apps.common.db import fetch_all, unit_of_work
from apps.metering import usage_rows, usage_store_sql
from apps.metering.usage_rows import UsageRow

_BY_KEY: Final = attrgetter("key")


@unit_of_work
def usage_batch_store(*, rows: Sequence[UsageRow], at: datetime, is_repeat_expected: bool) -> dict[bytes, str]:
    """
    Write identities and events one after the other, and return the verdicts of `usage_keys_store`.

    :raises django.db.IntegrityError: if a repeat is not expected and a key is taken; nothing is written then
    """
    repeats = usage_keys_store(rows=rows, at=at, is_repeat_expected=is_repeat_expected)
    usage_events_store(rows=[row for row in rows if row.key not in repeats])
    return repeats


@unit_of_work
def usage_keys_store(
    *, rows: Sequence[UsageRow], at: datetime, is_repeat_expected: bool, known_since: datetime | None = None
) -> dict[bytes, str]:
    """
    Write the identity of events; return the verdict, "duplicate" or "conflict", of each key that was there already.

    :param is_repeat_expected: go the way that tells keys apart, instead of the fast one that fails on the first repeat
    :param known_since: keys received until then are forgotten, and written anew; nothing when none is
    :raises django.db.IntegrityError: on the fast way, if a key is taken; nothing is written then
    """
    ordered = sorted(rows, key=_BY_KEY)
    if is_repeat_expected:
        return _keys_insert(ordered, at, known_since)
    if ordered:
        _copy(usage_store_sql.COPY_KEYS, usage_rows.copied_keys(ordered, received_at=at))
    return {}


@unit_of_work
def usage_events_store(*, rows: Sequence[UsageRow], stands_for: Mapping[bytes, str] = MappingProxyType({})) -> None:
    """
    Write events whose identity is written; the trigger adds them to the totals in the same statement.

    Whoever writes events of the same customers waits from here until the commit, so this comes last.

    :param stands_for: for keys of events that restate others, the transaction that wrote the other
    """
    ordered = sorted(rows, key=_BY_KEY)
    if ordered and stands_for:
        xid_of = {row.key: int(stands_for[row.key]) if row.key in stands_for else None for row in ordered}
        _copy(usage_store_sql.COPY_RESTATED, usage_rows.copied_restated_events(ordered, xid_of=xid_of))
    elif ordered:
        _copy(usage_store_sql.COPY_EVENTS, usage_rows.copied_events(ordered))


def usage_stored_find(*, rows: Sequence[UsageRow], known_since: datetime | None = None) -> dict[bytes, str]:
    """Return the verdict, "duplicate" or "conflict", of each row whose key is stored, committed and not forgotten."""
    return {row.key: verdict for row, verdict in _verdicts(rows, known_since)}


def usage_contents_compare(*, rows: Sequence[UsageRow]) -> dict[int, str]:
    """Return the verdict of each row, by its position: of one id with several contents, each has its own."""
    return {row.position: verdict for row, verdict in _verdicts(rows, None)}


def _verdicts(rows: Sequence[UsageRow], known_since: datetime | None) -> list[tuple[UsageRow, str]]:
    if not rows:
        return []
    return [
        (rows[number - 1], "duplicate" if is_same else "conflict")
        for number, is_same in fetch_all(usage_store_sql.FIND_STORED, _parameters(rows, known_since))
    ]


def _keys_insert(rows: Sequence[UsageRow], at: datetime, known_since: datetime | None) -> dict[bytes, str]:
    """Write the keys that are not there, and return the verdicts of the others."""
    repeats = usage_stored_find(rows=rows, known_since=known_since)
    fresh = [row for row in rows if row.key not in repeats]
    if fresh:
        written = fetch_all(usage_store_sql.INSERT_KEYS, {"at": at, **_parameters(fresh, known_since)})
        if len(written) < len(fresh):
            # Somebody wrote them since we looked. A later statement sees what the insert waited for.
            inserted = {bytes(key) for (key,) in written}
            overtaken = [row for row in fresh if row.key not in inserted]
            # Whoever wrote them did so a moment ago, so none of them is forgotten.
            repeats |= usage_stored_find(rows=overtaken)
    return repeats


def _parameters(rows: Sequence[UsageRow], known_since: datetime | None) -> dict[str, Any]:
    keys, hashes = [row.key.hex() for row in rows], [row.payload_hash.hex() for row in rows]
    return {"keys": keys, "hashes": hashes, "known_since": known_since}


def _copy(statement: str, block: bytes) -> None:
    # The cursor's COPY is the driver's own: its errors must be translated for those who catch Django's.
    with connection.wrap_database_errors, connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(block)
