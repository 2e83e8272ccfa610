"""
From the bytes of a request to the bytes of its events.

The body is split, not understood: each event keeps its own text, so that one that makes no sense is refused with its
text at hand while its neighbours go on. A body that is not JSON is refused whole, because nobody can say where its
events begin and end.
"""

import re
from typing import Final

import msgspec

from apps.metering.errors import BatchInvalid, BatchTooLarge

EVENTS_MAX: Final = 10_000
BODY_BYTES_MAX: Final = 4 * 1024 * 1024


class _Envelope(msgspec.Struct, forbid_unknown_fields=True):
    events: list[msgspec.Raw]


_envelope = msgspec.json.Decoder(_Envelope)
_array = msgspec.json.Decoder(list[msgspec.Raw])
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{},]', re.DOTALL)
_STRING_OR_WORD = re.compile(rb'"(?:[^"\\]|\\.)*"|[^\s"{}\[\],:]+', re.DOTALL)
_EVENTS_KEY = re.compile(rb'\s*\{\s*"events"\s*:\s*(?=\[)')
_SPACE: Final = b" \t\r\n"


def batch_split(body: bytes) -> list[bytes]:
    """
    Return the JSON text of each event of `{"events": [...]}` or of a plain array (a CloudEvents batch).

    :raises BatchTooLarge: above 10,000 events or 4 MiB
    :raises BatchInvalid: if the body is not JSON of that shape
    """
    if len(body) > BODY_BYTES_MAX:
        raise BatchTooLarge(f"The body has {len(body)} bytes; {BODY_BYTES_MAX} are the limit. Send smaller batches.")
    try:
        is_array = body.lstrip()[:1] == b"["
        events = [bytes(raw) for raw in _array.decode(body if is_array else _enveloped(body))]
    except msgspec.ValidationError as error:
        raise BatchInvalid(f'Send {{"events": [...]}} or an array of events: {error}.') from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        events = _split_by_brackets(body, error)
    if len(events) > EVENTS_MAX:
        raise BatchTooLarge(f"The batch has {len(events)} events; {EVENTS_MAX} are the limit. Send smaller batches.")
    return events


def single_split(body: bytes) -> list[bytes]:
    """
    Return the body of a single event as a batch of one.

    :raises BatchTooLarge: above 4 MiB
    :raises BatchInvalid: if the body is not a JSON object
    """
    if body.lstrip()[:1] != b"{":
        raise BatchInvalid("Send one event as a JSON object; several go to events/batch.")
    # As the one element of an array: whatever closes the object early leaves two elements, or no JSON.
    events = batch_split(b"[" + body + b"]")
    if len(events) != 1:
        raise BatchInvalid("Send one event as a JSON object; several go to events/batch.")
    return events


def _enveloped(body: bytes) -> memoryview:
    """
    Return the array inside `{"events": [...]}`, whose only key must stand there once.

    Of a key that is repeated a decoder keeps the last value, and the events of the first would be gone without a word.
    What lies between the first bracket and the last is one array only if nothing else is there.
    """
    start = _EVENTS_KEY.match(body)
    stripped = body.rstrip(_SPACE)
    inside = stripped[:-1].rstrip(_SPACE)
    if start is None or stripped[-1:] != b"}" or inside[-1:] != b"]":
        _envelope.decode(body)
        raise BatchInvalid('Send {"events": [...]} with this one key, written plainly and once.')
    return memoryview(inside)[start.end() :]


def depth_of(raw: bytes) -> int:
    """Return how deep the brackets of a JSON text are nested."""
    depth = deepest = 0
    for match in _TOKEN.finditer(raw):
        token = match[0]
        if token in (b"[", b"{"):
            depth += 1
            deepest = max(deepest, depth)
        elif token in (b"]", b"}"):
            depth -= 1
    return deepest


def _split_by_brackets(body: bytes, error: Exception) -> list[bytes]:
    """
    Split a body that the decoder gave up on, when it is certain where each of its events ends.

    One event that is nested too deep, or says NaN, must not cost its neighbours; an event whose end nobody can tell
    makes the whole body no JSON.
    """
    refusal = BatchInvalid(
        f"The body is not JSON of one array of events: {str(error)[:200]}. Nothing of it was stored."
    )
    start = _EVENTS_KEY.match(body)
    begin = start.end() if start else 0
    if body[begin : begin + 1] != b"[":
        raise refusal from error
    elements, end = _elements(body, begin)
    if not elements or not re.fullmatch(rb"\s*\}\s*" if start else rb"\s*", body[end:]):
        raise refusal from error
    if not all(map(_has_certain_end, elements)):
        raise refusal from error
    return [element.strip() for element in elements]


def _elements(body: bytes, begin: int) -> tuple[list[bytes], int]:
    """Return the elements of the array that opens at `begin`, and where it has closed."""
    elements: list[bytes] = []
    depth, at = 0, begin + 1
    for match in _TOKEN.finditer(body, begin):
        token = match[0]
        if token in (b"[", b"{"):
            depth += 1
        elif token in (b"]", b"}"):
            depth -= 1
        if depth == 0 or (depth == 1 and token == b","):
            elements.append(body[at : match.start()])
            at = match.end()
        if depth == 0:
            return elements, at
    return [], at


def _has_certain_end(element: bytes) -> bool:
    """
    Return whether an element is JSON but for its depth, what is in its strings, and its bare words.

    NaN, a number with a leading zero, a NUL inside of a string or half a character spoil the event, and its end is as
    certain as ever. A quote or a bracket too few or too many leaves none of the ends certain, and with them neither
    which event an answer is about.
    """
    mended = _STRING_OR_WORD.sub(lambda match: b'""' if match[0][:1] == b'"' else b"0", element)
    try:
        msgspec.json.decode(mended, type=msgspec.Raw)
    except RecursionError:
        return True
    except msgspec.DecodeError:
        return False
    return True
