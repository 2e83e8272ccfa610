"""Identifiers: UUIDv7 inside (made before the row is written), TypeID outside (`inv_01j...`).

A TypeID is the prefix, an underscore and the UUID's 128 bits as 26 characters of Crockford's base 32 in lower case
(the public TypeID specification, version 0.3).
"""

import re
from uuid import UUID

from uuid_utils.compat import uuid7

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUES = {character: value for value, character in enumerate(_ALPHABET)}
_LENGTH = 26
# Every entity's prefix is three letters (a contract of the models).
_PUBLIC = re.compile(f"[a-z]{{3}}_[0-7][{_ALPHABET}]{{{_LENGTH - 1}}}")


class IdInvalid(ValueError):
    """The text is not an identifier of the kind asked for."""


def new_id() -> UUID:
    """Return a fresh UUIDv7; later ids sort after earlier ones."""
    return uuid7()


def to_public(*, prefix: str, value: UUID) -> str:
    """Return the TypeID of a UUID."""
    number = value.int
    characters = [_ALPHABET[(number >> shift) & 31] for shift in range(125, -5, -5)]
    return f"{prefix}_{''.join(characters)}"


def from_public(*, prefix: str, text: str) -> UUID:
    """
    Return the UUID inside a TypeID.

    :raises IdInvalid: if the prefix is another one or the suffix is not 26 characters that hold 128 bits
    """
    head, _, suffix = text.rpartition("_")
    if head != prefix:
        raise IdInvalid(f"Expected an id that begins with '{prefix}_', got '{text[:60]}'.")
    if len(suffix) != _LENGTH or suffix[0] > "7" or any(character not in _VALUES for character in suffix):
        raise IdInvalid(f"'{text[:60]}' is not a complete id: after '{prefix}_' come 26 characters 0-9, a-z.")
    number = 0
    for character in suffix:
        number = number << 5 | _VALUES[character]
    return UUID(int=number)


def looks_public(text: str) -> bool:
    """Return whether a text reads like a public id, of whatever entity: a caller's code must not."""
    return _PUBLIC.fullmatch(text) is not None


def is_searchable(text: str) -> bool:
    """Return whether a text can be looked up: the database takes neither NUL nor half characters, even in questions."""
    return not any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text)
