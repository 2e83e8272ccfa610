"""Naming what is wrong with a document: JSON pointers, and words for what was found."""

import re
from collections.abc import Iterable
from typing import Any

from apps.common.errors import FieldProblem
from apps.plans.errors import PlanDocumentInvalid

_SHOWN_MAX = 60
_PATH_PART = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


def pointer_of(parts: Iterable[str | int]) -> str:
    """Return the JSON pointer of a path (RFC 6901), empty for the whole document."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def pointer_of_engine_path(path: str) -> str:
    """Return the JSON pointer of a path as the engine writes it, e.g. `tiers[1].up_to`."""
    return pointer_of(index or name for index, name in _PATH_PART.findall(path))


def shown(value: Any) -> str:
    """Return what was found in words short enough for a message."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        text = value if len(value) <= _SHOWN_MAX else f"{value[:_SHOWN_MAX]}..."
        return f'the text "{text}"'
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return f"the number {str(value)[:_SHOWN_MAX]}"


def refusal(problems: Iterable[FieldProblem]) -> PlanDocumentInvalid:
    """Return the one answer that names every problem, in the order of their places."""
    listed = tuple(problems)
    first = listed[0]
    count = "a problem" if len(listed) == 1 else f"{len(listed)} problems"
    place = first.pointer or "the document"
    return PlanDocumentInvalid(f"The pricing document has {count}. First: {place} {first.detail}.", problems=listed)
