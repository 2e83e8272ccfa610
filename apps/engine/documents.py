"""
Reading documents strictly.

Rules: every complaint names the dotted path of the place and the remedy; an unknown key is refused, because a
misspelt key that is ignored becomes a wrong price; nothing is coerced.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from apps.engine.errors import InvalidTerms


def at_key(path: str, key: str | int) -> str:
    """Return the path of a key or a list index below a path: "charges[0].tiers"."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key


def read_mapping(value: object, *, path: str) -> Mapping[str, Any]:
    """
    Return the value as a mapping with text keys.

    :raises InvalidTerms: if it is anything else
    """
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise InvalidTerms("must be an object with named fields", path=path)
    return value


def refuse_unknown_keys(document: Mapping[str, Any], *, known: Collection[str], path: str) -> None:
    """
    Refuse every key that has no meaning here.

    :raises InvalidTerms: naming the first such key and all keys that exist
    """
    for key in sorted(document):
        if key not in known:
            raise InvalidTerms(
                f"is not a known field; remove it or use one of {', '.join(sorted(known))}", path=at_key(path, key)
            )


def read_text(document: Mapping[str, Any], key: str, *, path: str, is_required: bool = False) -> str | None:
    """
    Return a text field, or None when it is missing or null.

    :raises InvalidTerms: if it is not text, is empty, or is required and missing
    """
    value = document.get(key)
    if value is None:
        if is_required:
            raise InvalidTerms("is required; give it as text", path=at_key(path, key))
        return None
    if not isinstance(value, str) or not value.strip():
        raise InvalidTerms("must be text that is not empty", path=at_key(path, key))
    return value


def read_choice(document: Mapping[str, Any], key: str, *, choices: Sequence[str], default: str, path: str) -> str:
    """
    Return a text field that takes one of the named values.

    :raises InvalidTerms: if it is anything else
    """
    value = document.get(key)
    if value is None:
        return default
    if not isinstance(value, str) or value not in choices:
        raise InvalidTerms(f"must be one of {', '.join(choices)}, not {value!r}", path=at_key(path, key))
    return value


def read_flag(document: Mapping[str, Any], key: str, *, default: bool, path: str) -> bool:
    """
    Return a true-or-false field.

    :raises InvalidTerms: if it is neither
    """
    value = document.get(key)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise InvalidTerms("must be true or false", path=at_key(path, key))
    return value
