"""
A canonical document as a file for people, which reads back as the same terms: applying it again changes nothing.

Left out is what says nothing: fields that are null at the plan, at a charge or at an example. Text is quoted unless it
can only be read as text, whoever reads it: `no`, `1e5` and `2026-01-01` are plan codes that other readers take for a
truth value, a number and a date.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import yaml

_PLAIN_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_ ,()'-]*")
_READ_AS_SOMETHING_ELSE: Final = frozenset({"true", "false", "yes", "no", "on", "off", "y", "n", "null"})
_LINE_LENGTH: Final = 110


def document_text(*, document: Mapping[str, Any]) -> str:
    """Return a canonical document as YAML, fields in its own order."""
    text: str = yaml.dump(
        _without_nothing(document),
        Dumper=_FileDumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=None,
        width=_LINE_LENGTH,
    )
    return text


def _without_nothing(document: Mapping[str, Any]) -> dict[str, Any]:
    # Deeper down null means something: a tier without end, a property that an event does not have.
    shortened = {key: value for key, value in document.items() if value not in (None, [], {})}
    for name in ("charges", "examples"):
        if name in shortened:
            shortened[name] = [
                {key: value for key, value in item.items() if value is not None} for item in shortened[name]
            ]
    if "base_fee" in shortened:
        shortened["base_fee"] = {key: value for key, value in shortened["base_fee"].items() if value is not None}
    return shortened


class _FileDumper(yaml.SafeDumper):
    """YAML without aliases, which our reader refuses, and with quotes wherever a reader might guess."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write everything out."""
        return True

    def text(self, value: str) -> yaml.ScalarNode:
        """Return text, plain only when nobody can take it for anything else."""
        is_plain = _PLAIN_WORD.fullmatch(value) and value.lower() not in _READ_AS_SOMETHING_ELSE
        return self.represent_scalar("tag:yaml.org,2002:str", value, style=None if is_plain else '"')


_FileDumper.add_representer(str, _FileDumper.text)
