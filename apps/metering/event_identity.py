"""
What makes two events the same, and what tells a repeat from a contradiction.

The identity is the producer's: (source, id), for ever, inside one tenant. The hash of the content is no part of it:
two equal readings under two ids are two events, and one id with two contents is a conflict that is shown.
Both are SHA-256 of a canonical text, so every process, machine and release computes the same.
"""

import hashlib
import re
from typing import Any, Final

import msgspec

# Properties with their keys sorted and exact numbers written as numbers: the text that is hashed and stored.
CANONICAL: Final = msgspec.json.Encoder(order="sorted", decimal_format="number")

# Both cases spelt out: a pattern that ignores case takes twice the time.
_UUID7 = re.compile(r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-7[0-9A-Fa-f]{3}-[89ABab][0-9A-Fa-f]{3}-[0-9A-Fa-f]{12}")
# An escaped NUL, unless the backslash before it is itself escaped.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_HASH_VERSION: Final = 1


def event_key(*, source: str, event_id: str) -> str:
    """Return the 32 hexadecimal digits under which an event is known for ever."""
    return event_key_bytes(source=source, event_id=event_id).hex()


def event_key_bytes(*, source: str, event_id: str) -> bytes:
    """
    Return the 16 bytes under which an event is known for ever.

    A time-ordered id (UUIDv7) keeps its 48 bits of time in front: neighbours in time are neighbours in the index,
    where random keys would write a page image for almost every event. The other bits are hash in either case.
    """
    # Neither part can hold a NUL, so the joint is unambiguous.
    digest = hashlib.sha256(f"{source}\0{event_id}".encode()).digest()
    if len(event_id) == 36 and _UUID7.fullmatch(event_id):
        return bytes.fromhex(event_id[:8] + event_id[9:13]) + digest[:10]
    return digest[:16]


def payload_hash(content: tuple[Any, ...]) -> tuple[bytes, bytes]:
    """
    Return the SHA-256 of an event's content, and the canonical text it is made of.

    Order of keys and spelling of numbers do not matter.
    """
    canonical = CANONICAL.encode((_HASH_VERSION, *content))
    return hashlib.sha256(canonical).digest(), canonical


def holds_nul(canonical: str) -> bool:
    """Return whether a canonical text holds a NUL character, which the database cannot store."""
    return "\\u0000" in canonical and _NUL.search(canonical) is not None
