"""
One text, and so one hash, for one value: the same in every process, on every machine, in every year.

Rules: keys sorted by code point, no spaces, UTF-8; decimals and fractions as their shortest exact text, instants
in UTC, enums by value. Only types on the list below are accepted: a binary float has no single decimal text, and
the language's own `hash` changes from process to process, so neither takes part.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Final

from apps.engine.errors import NotCanonical
from apps.engine.exact import decimal_text, ratio_text

_LEAVES: Final = (str, int, bool, type(None), Decimal, Fraction, datetime, date, Enum)


def canonical_json(value: object) -> str:
    """
    Return the canonical JSON text of a value made of mappings, lists, text, whole and exact numbers and times.

    :raises NotCanonical: if a binary float, a naive datetime, a set or any other type is inside
    """
    _ensure_canonical(value)
    return _ENCODER.encode(value)


def plain_json(value: object) -> str:
    """
    Return the same text as `canonical_json` for a value that this engine made of text, lists and mappings only.

    It skips the search for what has no canonical text, which takes longer than the writing: only for values that
    cannot hold anything else.
    """
    return _ENCODER.encode(value)


def canonical_hash(value: object) -> str:
    """
    Return the SHA-256 of the canonical text as 64 lower-case hexadecimal digits.

    :raises NotCanonical: if the value has no canonical text
    """
    return text_hash(canonical_json(value))


def text_hash(text: str) -> str:
    """
    Return the SHA-256 of a text in UTF-8 as 64 lower-case hexadecimal digits.

    :raises NotCanonical: if the text is not well-formed Unicode
    """
    try:
        return hashlib.sha256(text.encode("utf-8")).hexdigest()
    except UnicodeEncodeError as exc:
        raise NotCanonical("holds half of a surrogate pair; send well-formed Unicode") from exc


def instant_text(at: datetime) -> str:
    """
    Return an instant as RFC 3339 text in UTC, with microseconds only when there are some.

    :raises NotCanonical: if it has no offset, because then it is not an instant
    """
    if at.tzinfo is None:
        raise NotCanonical("a datetime without an offset is not an instant; attach its time zone")
    return at.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def _ensure_canonical(value: object) -> None:
    pending: list[object] = [value]
    while pending:  # a loop, because a hostile document must not choose the depth of our stack
        item = pending.pop()
        if isinstance(item, Mapping):
            for key in item:
                if not isinstance(key, str):
                    raise NotCanonical(f"key {key!r} is not text; JSON keys are text")
            pending.extend(item.values())
        elif isinstance(item, list | tuple):
            pending.extend(item)
        elif not isinstance(item, _LEAVES):
            raise NotCanonical(f"a {type(item).__name__} has no canonical text; use text or an exact decimal")


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Decimal):
        return decimal_text(value)
    if isinstance(value, Fraction):
        return ratio_text(value.numerator, value.denominator)
    if isinstance(value, datetime):
        return instant_text(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    raise NotCanonical(f"a {type(value).__name__} has no canonical text")


_ENCODER: Final = json.JSONEncoder(
    default=_plain, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")
)
