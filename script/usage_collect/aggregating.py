"""Put alike events together before they are sent; off unless asked for."""

import hashlib
import json
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from .spool import Place

# How much of an RFC 3339 time says the piece.
PRECISIONS = {"second": 19, "minute": 16, "hour": 13}
_KNOWN = {"id", "source", "type", "customer", "subscription", "occurred_at", "quantity", "properties"}


@dataclass
class Item:
    """One event to send, and where its lines are in the spool."""

    raw: bytes
    places: list[Place] = field(default_factory=list)


def event_of(raw: bytes) -> dict[str, Any]:
    """
    Return a line as an event, numbers exact.

    :raises ValueError: if it is no JSON object, or holds what is no JSON (NaN)
    """

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is no JSON")

    try:
        document = json.loads(raw.decode(), parse_float=Decimal, parse_constant=refuse)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if not isinstance(document, dict):
        raise ValueError("a line must be one JSON object")
    return document


@dataclass
class _Group:
    """Events that become one."""

    event: dict[str, Any]
    item: Item
    ids: list[str] = field(default_factory=list)
    total: Decimal | None = None


def aggregated(items: list[Item], *, precision: str, weight_name: str) -> tuple[list[Item], list[Item]]:
    """
    Put events together that differ in id, quantity and a piece of time only: one event with their sum and number.

    Its id is made of theirs, so the same events always make the same one. Returns what is to be sent, and events whose
    id stands in the same batch with another content. An event that says anything unusual is sent as it is.
    """
    groups: dict[tuple[str, ...], _Group] = {}
    seen: dict[str, bytes] = {}
    alone: list[Item] = []
    reused: list[Item] = []
    for item in items:
        event = event_of(item.raw)
        identity = json.dumps([event.get("source"), event.get("id")], default=str)
        if identity in seen:
            if seen[identity] != item.raw:
                reused.append(item)
            continue
        seen[identity] = item.raw
        try:
            key, same, value = _alike(event, precision, weight_name)
        except (ValueError, TypeError, ArithmeticError):
            alone.append(item)
            continue
        group = groups.setdefault(key, _Group({**same, "occurred_at": event["occurred_at"]}, Item(b"")))
        group.item.places += item.places
        group.ids.append(event["id"])
        if value is not None:
            group.total = value + (group.total or 0)
    for group in groups.values():
        _close(group, weight_name)
    return [*(group.item for group in groups.values()), *alone], reused


def _alike(
    event: dict[str, Any], precision: str, weight_name: str
) -> tuple[tuple[str, ...], dict[str, Any], Decimal | None]:
    """
    Return what alike events have in common, as a key and as fields, and the quantity.

    :raises ValueError: if the event says anything unusual; TypeError and ArithmeticError, too
    """
    text, quantity, properties = event.get("occurred_at"), event.get("quantity"), event.get("properties") or {}
    is_usual = isinstance(event.get("id"), str) and isinstance(text, str) and text.endswith("Z")
    if not is_usual or set(event) - _KNOWN or not isinstance(properties, dict) or weight_name in properties:
        raise ValueError("unusual")
    if not isinstance(quantity, str | int | Decimal | None) or isinstance(quantity, bool):
        raise ValueError("no quantity")
    value = None if quantity is None else Decimal(quantity)
    if value is not None and not value.is_finite():
        raise ValueError("no quantity")
    same = {name: content for name, content in event.items() if name not in ("id", "quantity", "occurred_at")}
    # Exact numbers among the properties have no spelling here that would be sure to stay theirs: not put together.
    return (json.dumps(same, sort_keys=True), str(text)[: PRECISIONS[precision]], str(value is None)), same, value


def _close(group: _Group, weight_name: str) -> None:
    text = json.dumps(sorted(group.ids))
    group.event["id"] = f"agg-{hashlib.sha256(text.encode()).hexdigest()[:40]}"
    group.event["properties"] = {**(group.event.get("properties") or {}), weight_name: len(group.ids)}
    if group.total is not None:
        group.event["quantity"] = format(group.total, "f")
    group.item.raw = json.dumps(group.event).encode()
