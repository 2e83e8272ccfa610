"""
Reading YAML and JSON without guessing.

Ordinary readers guess: a number with a point becomes a binary float, `no` becomes false, a date becomes a date, the
second of two equal keys silently wins, and an alias can unfold into gigabytes. Each of these has put a wrong price into
some system, so here each is either read as plain text or refused. Numbers with a point arrive as exact decimals, for
validation to refuse with their place named.
"""

import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

import yaml

from apps.common.errors import FieldProblem
from apps.plans.documents.problems import refusal
from apps.plans.errors import PlanDocumentInvalid

TEXT_LENGTH_MAX: Final = 1_000_000
DEPTH_MAX: Final = 12


def load_text(*, text: str, format: str) -> dict[str, Any]:
    """
    Read the text of a pricing document as a mapping; its contents are not yet checked.

    :raises PlanDocumentInvalid: if it is not one well-formed document of that format
    """
    if format not in FORMATS:
        raise _unreadable(f"{format!r} is not a format; use {' or '.join(FORMATS)}")
    if len(text) > TEXT_LENGTH_MAX:
        raise _unreadable(f"has {len(text)} characters; at most {TEXT_LENGTH_MAX} are possible")
    document = FORMATS[format](text)
    if not isinstance(document, dict):
        raise _unreadable("must be an object with named fields such as plan, name, currency and interval")
    return document


def _unreadable(detail: str) -> PlanDocumentInvalid:
    return refusal([FieldProblem(pointer="", code="unreadable", detail=detail)])


def _load_json(text: str) -> Any:
    try:
        return json.loads(
            text, parse_float=Decimal, parse_constant=_refuse_constant, object_pairs_hook=_mapping_of_distinct_keys
        )
    except RecursionError as error:
        raise _unreadable(f"is nested too deep; {DEPTH_MAX} levels are possible") from error
    except ValueError as error:  # also an integer of more digits than the language will read
        raise _unreadable(f"is not well-formed JSON: {error}") from error


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number that anything costs")


def _mapping_of_distinct_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f'the key "{twice}" stands twice in one object; keep one of them')
    return document


class _PlainLoader(yaml.SafeLoader):
    """YAML whose untagged words are text unless they are plainly true, false, null or a number."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # the base's table of guesses, emptied

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping and refuse keys that are not text or stand twice."""
        seen: set[str] = set()
        for key_node, _ in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != "tag:yaml.org,2002:str":
                raise _unreadable(f"line {line}: a key must be text; put it in quotes")
            if key_node.value in seen:
                raise _unreadable(f'line {line}: the key "{key_node.value}" stands there twice; keep one of them')
            seen.add(key_node.value)
        return super().construct_mapping(node, deep=deep)


_DECIMAL_TAG: Final = "!decimal"
_PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]
)
_PlainLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|false|False)$"), list("tTfF"))
_PlainLoader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^-?(?:0|[1-9][0-9]*)$"), list("-0123456789"))
_PlainLoader.add_implicit_resolver(
    _DECIMAL_TAG,
    re.compile(r"^-?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$"),
    list("-.0123456789"),
)
_PlainLoader.add_constructor(_DECIMAL_TAG, lambda loader, node: Decimal(node.value))


def _load_yaml(text: str) -> Any:
    try:
        _ensure_plain(text)
        loader = _PlainLoader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise _unreadable(f"is not well-formed YAML: {_one_line(error)}") from error
    except ValueError as error:  # also an integer of more digits than the language will read
        raise _unreadable(f"is not well-formed YAML: {error}") from error


def _ensure_plain(text: str) -> None:
    """Look through the text without building anything: no aliases, no tags, no abyss."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _unreadable(f'line {line}: anchors and aliases are not read; write it out, and quote "*" and "&"')
        tag = getattr(event, "tag", None)
        if tag:
            raise _unreadable(f"line {line}: the tag {tag} is not read; remove it")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEPTH_MAX:
            raise _unreadable(f"line {line}: is nested too deep; {DEPTH_MAX} levels are possible")


def _one_line(error: yaml.YAMLError) -> str:
    return " ".join(str(error).split())[:300]


FORMATS: Final[Mapping[str, Callable[[str], Any]]] = {"yaml": _load_yaml, "json": _load_json}
