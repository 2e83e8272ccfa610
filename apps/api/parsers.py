"""JSON without surprises: no floats, no NaN, no key twice, no half characters."""

import json
from typing import IO, Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

_DEPTH_MAX = 32


class StrictJSONParser(BaseParser):
    """Read a JSON body; a number with a fraction is refused, because it would pass through a binary float."""

    media_type = "application/json"

    def parse(self, stream: IO[Any], media_type: str | None = None, parser_context: Any = None) -> Any:
        """
        Return the body's value; an empty body is an empty object.

        :raises ParseError: saying what is wrong with the text
        """
        text = stream.read()
        if not text.strip():
            return {}
        try:
            value = json.loads(
                text, parse_float=_refuse_float, parse_constant=_refuse_constant, object_pairs_hook=_object
            )
        except (ValueError, RecursionError) as error:
            raise ParseError(f"The body is not JSON: {str(error) or 'it is nested too deeply'}.") from error
        _refuse_depth(value, _DEPTH_MAX)
        _refuse_halves(value)
        return value


def _refuse_float(text: str) -> Any:
    raise ParseError(f'Write {text[:40]} as a string, "{text[:40]}": JSON numbers with a fraction lose exactness.')


def _refuse_constant(text: str) -> Any:
    raise ParseError(f"{text} is not a number that can be billed.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ParseError(f"The field '{name[:60]}' stands there twice.")
        found[name] = value
    return found


def _refuse_depth(value: Any, levels: int) -> None:
    if levels == 0:
        raise ParseError(f"The body is nested deeper than {_DEPTH_MAX} levels.")
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inner:
        _refuse_depth(item, levels - 1)


def _refuse_halves(value: Any) -> None:
    # Half of a surrogate pair is no character: no database takes it, and no answer could repeat it.
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise ParseError("A text holds half of a surrogate pair, which is no character; send it whole.")
    elif isinstance(value, dict):
        for name, inner in value.items():
            _refuse_halves(name)
            _refuse_halves(inner)
    elif isinstance(value, list):
        for inner in value:
            _refuse_halves(inner)
