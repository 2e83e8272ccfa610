"""
From the shapes that producers send to the one shape that is stored.

`native` is our own, `cloudevents` is version 1.0 of that specification (one object or a batch of them), and every
source may have a mapping: a versioned table from our fields to its paths. The version that read an event is stored
on it, so that the reading can be repeated.
"""

from collections.abc import Callable, Mapping
from decimal import Context, Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from apps.metering.bodies import depth_of
from apps.metering.errors import EventRefused
from apps.metering.models import EventMapping

EVENT_BYTES_MAX: Final = 64 * 1024
DEPTH_MAX: Final = 32
# Numbers beyond these bounds are no quantities; writing them out in full is what an exponent bomb counts on.
_EXPONENT_MAX: Final = 40
_EXACT: Final = Context(prec=100, traps=[InvalidOperation])
CONSTANT_MARK: Final = "="
_TOO_DEEP: Final = f"The event is nested deeper than {DEPTH_MAX} levels; send it flatter."


class CanonicalEvent(msgspec.Struct, gc=False):
    """An event in our own words, not yet judged; times and numbers are still as they were written."""

    id: str | None = None
    source: str | None = None
    type: str | None = None
    customer: str | None = None
    subscription: str | None = None
    occurred_at: str | None = None
    quantity: Any = None
    properties: dict[str, Any] | None = None
    sequence: Any = None


class _NativeEvent(CanonicalEvent, gc=False):
    # Our own shape is decoded into what it becomes: nothing is copied for the many events that need no rewording.
    idempotency_key: str | None = None
    specversion: Any = None


class _CloudEvent(msgspec.Struct, gc=False):
    specversion: str
    id: str | None = None
    source: str | None = None
    type: str | None = None
    subject: str | None = None
    time: str | None = None
    subscription: str | None = None
    quantity: Any = None
    sequence: Any = None
    data: Any = None
    data_base64: Any = None


def exact_number(text: str) -> int | Decimal:
    """
    Return a JSON number with a point or an exponent as an exact number; never a binary float.

    :raises ValueError: if it is too large or too long to be a quantity
    """
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        # An exponent of twenty digits is more than even the exact type can hold.
        raise ValueError(f"the number {text[:30]} is out of range") from error
    if not value:
        # Zero is zero whatever its exponent; writing it out in full is what an exponent bomb counts on.
        return 0
    if abs(value.adjusted()) > _EXPONENT_MAX or len(value.as_tuple().digits) > 2 * _EXPONENT_MAX:
        raise ValueError(f"the number {text[:30]} is out of range")
    # One value, one spelling: 5.0, 5e0 and 5 are the same quantity and must hash alike.
    return int(value) if value == value.to_integral_value() else value.normalize(_EXACT)


_native = msgspec.json.Decoder(_NativeEvent, float_hook=exact_number)
_cloud = msgspec.json.Decoder(_CloudEvent, float_hook=exact_number)
_anything = msgspec.json.Decoder(dict[str, Any], float_hook=exact_number)


def event_normalise(*, raw: bytes, mapping: EventMapping | None) -> CanonicalEvent:
    """
    Read one event's JSON text in our own shape, as a CloudEvent, or by its source's mapping.

    :raises EventRefused: if it is too large, nested too deep, or not of a shape we know
    """
    if len(raw) > EVENT_BYTES_MAX:
        raise EventRefused("too_large", f"The event has {len(raw)} bytes; {EVENT_BYTES_MAX} are the limit.")
    # Counting brackets is cheap; only what has many of them is measured.
    if raw.count(b"{") + raw.count(b"[") > DEPTH_MAX and depth_of(raw) > DEPTH_MAX:
        raise EventRefused("too_deep", _TOO_DEEP)
    try:
        if mapping is not None:
            return _by_mapping(_anything.decode(raw), mapping)
        event = _native.decode(raw)
        if event.specversion is not None:
            return _from_cloud_event(_cloud.decode(raw))
    except RecursionError as error:
        raise EventRefused("too_deep", _TOO_DEEP) from error
    except UnicodeDecodeError as error:
        raise EventRefused("invalid_text", "The event is not UTF-8 text; encode it as UTF-8.") from error
    except msgspec.ValidationError as error:
        raise EventRefused("invalid_type", f"{error}. Send every field in the type that the API names.") from error
    except msgspec.DecodeError as error:
        raise EventRefused("invalid_text", f"The event cannot be read: {error}. Send well-formed JSON.") from error
    return _from_native(event)


def _from_native(event: _NativeEvent) -> CanonicalEvent:
    if event.idempotency_key is not None:
        if event.id is not None and event.id != event.idempotency_key:
            raise EventRefused("ambiguous_id", "id and idempotency_key differ; send one of them, it is the identity.")
        event.id = event.idempotency_key
    if event.source is None and event.properties:
        told = event.properties.get("source")
        event.source = told if isinstance(told, str) else None
    return event


def _from_cloud_event(event: _CloudEvent) -> CanonicalEvent:
    if event.specversion != "1.0":
        raise EventRefused("invalid_type", f"CloudEvents {event.specversion[:20]} is not known; send specversion 1.0.")
    if event.data_base64 is not None:
        raise EventRefused("invalid_type", "data_base64 cannot be metered; send data as a JSON object.")
    if event.data is not None and not isinstance(event.data, dict):
        raise EventRefused("invalid_type", "data must be a JSON object: its members are the event's properties.")
    return CanonicalEvent(
        id=event.id,
        source=event.source,
        type=event.type,
        customer=event.subject,
        subscription=event.subscription,
        occurred_at=event.time,
        quantity=event.quantity,
        properties=event.data,
        sequence=event.sequence,
    )


def _by_mapping(document: Mapping[str, Any], mapping: EventMapping) -> CanonicalEvent:
    event = CanonicalEvent(source=mapping.source)
    properties: dict[str, Any] = {}
    for name, path in mapping.fields.items():
        value = path[1:] if path.startswith(CONSTANT_MARK) else _at_path(document, path)
        if name == "properties":
            if not isinstance(value, dict | None):
                raise EventRefused("invalid_type", f"'{path}' must be an object: its members become the properties.")
            properties = {**(value or {}), **properties}
        elif name.startswith("properties."):
            if value is not None:
                properties[name.removeprefix("properties.")] = value
        else:
            setattr(event, name, _MAPPED[name](value, path))
    event.properties = properties
    return event


def _at_path(document: Any, path: str) -> Any:
    value = document
    for part in path.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    return value


def _text(value: Any, path: str) -> str | None:
    # Producers often number their events and customers; a whole number has one text.
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is None or isinstance(value, str):
        return value
    raise EventRefused("invalid_type", f"'{path}' must be text, not {type(value).__name__}.")


def _as_is(value: Any, path: str) -> Any:
    return value


_MAPPED: Final[Mapping[str, Callable[[Any, str], Any]]] = {
    "id": _text,
    "type": _text,
    "customer": _text,
    "subscription": _text,
    "occurred_at": _text,
    "quantity": _as_is,
    "sequence": _as_is,
}
MAPPABLE: Final = (*_MAPPED, "properties")
