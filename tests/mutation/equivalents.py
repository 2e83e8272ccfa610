"""
Mutants that cannot be told from the program by any test, each with the reason; read by hand, few, and checked.

An entry is (module, the line as written, the change, why no input shows it). `script/mutation` fails when an entry no
longer matches a mutant that survives, and when a module has more than one in ten.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Equivalent:
    """One change that changes nothing."""

    module: str
    source_line: str
    change: str
    reason: str


def _same(module: str, source_line: str, change: str, reason: str) -> Equivalent:
    return Equivalent(module=f"apps.engine.{module}", source_line=source_line, change=change, reason=reason)


EQUIVALENTS: Final[tuple[Equivalent, ...]] = (
    _same("allocation", "if total_minor < 0:", "< -> <=", "only a total of zero differs, and its parts are zeros"),
    _same("allocation", "if total_minor < 0:", "0 -> 1", "only a total of zero differs, and its parts are zeros"),
    _same(
        "allocation",
        "return allocate(total_minor, weights=[1] * parts)",
        "1 -> 0",
        "weights that are all zero are equal weights by the rule of the module",
    ),
    _same(
        "allocation",
        "return allocate(total_minor, weights=[1] * parts)",
        "1 -> 2",
        "only the ratio of weights matters and it stays even",
    ),
    _same(
        "exact",
        "return whole if numerator >= 0 else -whole",
        ">= -> >",
        "only a numerator of zero differs, and minus zero is zero",
    ),
    _same(
        "exact",
        "return whole if numerator >= 0 else -whole",
        "0 -> 1",
        "only a numerator of zero differs, and minus zero is zero",
    ),
    _same(
        "exact",
        "rest, digits = denominator, 0",
        "0 -> -1",
        "the first prime lifts it to its count, which is zero or more",
    ),
    _same(
        "exact",
        "rest, digits = denominator, 0",
        "0 -> 1",
        "whole numbers were answered before, and any other number that ends has a digit",
    ),
    _same("exact", "if denominator == 1:", "1 -> 0", "a shortcut: the way below gives the same text, later"),
    _same(
        "unit_rounding",
        "if rounding.precision >= 0:",
        ">= -> >",
        "at a precision of zero both branches scale by one",
    ),
    _same(
        "unit_rounding",
        "if rounding.precision >= 0:",
        "0 -> 1",
        "at a precision of zero both branches scale by one",
    ),
    _same(
        "commitments",
        "if listed_minor * kept <= committed_minor:",
        "<= -> <",
        "where both sides are equal both branches give the same lines, and the total never jumps",
    ),
    _same(
        "discounts",
        "for line, part_minor in zip(left, parts_minor, strict=True)",
        "True -> False",
        "there is one part for each line by the line above",
    ),
    _same(
        "discounts",
        "taken_minor = (before.net_minor - after.net_minor for before, after in zip(lines, left, strict=True))",
        "True -> False",
        "the lines that are left are as many as were given",
    ),
    _same(
        "discounts",
        "reach = 0 if terms.charges else 1 if terms.plans else 2",
        "0 -> -1",
        "only the order of the three numbers matters and it stays",
    ),
    _same(
        "discounts",
        "reach = 0 if terms.charges else 1 if terms.plans else 2",
        "2 -> 3",
        "only the order of the three numbers matters and it stays",
    ),
)
