"""
The words of the schema: small pieces with a `description` that completes the sentence "must be ...".

Refusals are worded with it, and a reader of the published schema reads the same words.
"""

from typing import Any, Final

Schema = dict[str, Any]

CODE_PATTERN: Final = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,59}$"
DECIMAL_PATTERN: Final = r"(?:0|[1-9][0-9]*)(?:\.[0-9]+)?"
DIGITS_LENGTH_MAX: Final = 40


def ref(name: str) -> Schema:
    """Return a reference to a definition."""
    return {"$ref": f"#/$defs/{name}"}


def listed(name: str, noun: str, *, count_max: int) -> Schema:
    """Return a list of so many of one definition, or null."""
    return {
        "type": ["array", "null"],
        "maxItems": count_max,
        "items": ref(name),
        "description": f"a list of at most {count_max} {noun}",
    }


def text(description: str, *, length_max: int, is_nullable: bool = False) -> Schema:
    """Return text of a length, at least one character of which is no space."""
    schema = pattern(r"\S", description, is_nullable=is_nullable)
    return {**schema, "maxLength": length_max}


def decimal(description: str, *, is_nullable: bool = False) -> Schema:
    """Return a decimal string of zero or more."""
    schema = pattern(f"^{DECIMAL_PATTERN}$", description, is_nullable=is_nullable)
    return {**schema, "maxLength": DIGITS_LENGTH_MAX}


def pattern(expression: str, description: str, *, is_nullable: bool = False) -> Schema:
    """Return text of a pattern."""
    return {"type": ["string", "null"] if is_nullable else "string", "pattern": expression, "description": description}


def one_of(values: list[str], *, is_nullable: bool = False) -> Schema:
    """Return one of a few words."""
    described = f"one of {', '.join(values)}" if len(values) > 1 else f'"{values[0]}"'
    return {"enum": [*values, None] if is_nullable else values, "description": described}


def left_out(why: str) -> Schema:
    """Return a field that must not be there, and why."""
    return {"type": "null", "description": f"left out: {why}"}
