"""
Mutants that cannot be told from the program by any test, each with the reason; read by hand, few, and checked.

An entry is (module, the line as written, the change, why no input shows it). `script/mutation` fails when an entry no
longer matches a mutant that survives, and when they are more than one in ten of a module (one is allowed always).
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
    _same(
        "charge_models.compiled",
        "if terms.model in _STRAIGHT and terms.prices_by is None and terms.unit_transform is None and basis is NO_BASIS:",  # noqa: E501
        "is -> is not",
        "a shortcut: the explaining way gives the same amounts and the same refusals",
    ),
    _same(
        "charge_models.compiled",
        "units, denominator = -1, 1",
        "1 -> 0 #2",
        "a mark that is below zero whatever its size, refused in the next line",
    ),
    _same(
        "charge_models.compiled",
        "units, denominator = -1, 1",
        "1 -> 2",
        "a mark that is below zero whatever its size, refused in the next line",
    ),
    _same(
        "charge_models.compiled",
        "units, denominator = -1, 1",
        "1 -> 2 #2",
        "a mark that is below zero whatever its size, refused in the next line",
    ),
    _same(
        "charge_models.compiled",
        "if not 0 <= units <= _UNITS_MAX * denominator:",
        "* -> //",
        "lets more through to the check in words, which decides alone",
    ),
    _same(
        "charge_models.compiled",
        "if not 0 <= units <= _UNITS_MAX * denominator:",
        "0 -> 1",
        "lets more through to the check in words, which decides alone",
    ),
    _same(
        "charge_models.compiled",
        "if not 0 <= units <= _UNITS_MAX * denominator:",
        "<= -> <",
        "lets more through to the check in words, which decides alone",
    ),
    _same(
        "charge_models.compiled",
        "if not 0 <= units <= _UNITS_MAX * denominator:",
        "<= -> < #2",
        "lets more through to the check in words, which decides alone",
    ),
    _same(
        "charge_models.compiled",
        "if maximum is not None and amount > maximum * denominator:",
        "> -> >=",
        "an amount equal to its limit becomes its limit",
    ),
    _same(
        "charge_models.compiled",
        "if minimum is not None and amount < minimum * denominator:",
        "< -> <=",
        "an amount equal to its limit becomes its limit",
    ),
    _same(
        "charge_models.billable",
        "for index, (cell, units) in enumerate(zip(matrix.cells, basis.units_by_cell or (), strict=True)):",
        "True -> False",
        "a basis with another number of cells was refused before",
    ),
    _same(
        "charge_models.graduated",
        "lower = 0",
        "0 -> -1",
        "no unit lies below zero, so where the first tier begins is not asked",
    ),
    _same(
        "charge_models.graduated",
        "if end <= upper:",
        "<= -> <",
        "one turn more, in which no unit lies and no fee is due",
    ),
    _same(
        "charge_models.matrices",
        'name = str(documents.read_text(fields, "property", path=path, is_required=True))',
        "True -> False",
        "the short form is known by its property, so it is there",
    ),
    _same("periods", "raise", "not raised", "the same refusal is raised again by the line below"),
    _same(
        "periods",
        "if first.astimezone(zone).replace(tzinfo=None, fold=0) == wall.replace(fold=0):",
        "0 -> 1",
        "local times without a zone compare without their fold",
    ),
    _same(
        "periods",
        "if first.astimezone(zone).replace(tzinfo=None, fold=0) == wall.replace(fold=0):",
        "0 -> 1 #2",
        "local times without a zone compare without their fold",
    ),
    _same(
        "periods",
        "seconds_low, seconds_high = 0, -((low - high) // _SECOND)",
        "0 -> -1",
        "the search begins a second earlier and ends at the same change",
    ),
    _same(
        "periods",
        "midnight = wall.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)",
        "0 -> 1 #5",
        "a boundary is read with either fold, so the one that it carries is not asked",
    ),
    _same(
        "periods", "if not 1 <= year <= 9999:", "1 -> 0", "the calendar itself refuses the year zero in the same words"
    ),
    _same(
        "periods",
        "if not 1 <= year <= 9999:",
        "9999 -> 10000",
        "the calendar itself refuses the year 10000 in the same words",
    ),
    _same(
        "periods",
        'raise InvalidPeriod("lies outside the calendar of years 1 to 9999", path="index")',
        "not raised",
        "the calendar itself refuses such a year, in the same words",
    ),
    _same(
        "periods",
        "start = _wall_of_boundary(anchor, interval, 0)",
        "0 -> 1",
        "the guess is one lower and the loops below correct it",
    ),
    _same(
        "periods",
        "while boundary(anchor=anchor, interval=interval, index=index) > at:",
        "> -> >=",
        "one step back too many is taken forward again by the next loop",
    ),
    _same(
        "periods",
        "while boundary(anchor=anchor, interval=interval, index=index + 1) <= at:",
        "<= -> <",
        "on a boundary the guess is never too low, because the local clock shows its time",
    ),
    _same(
        "charge_models.rating",
        "cells = 0 if terms.prices_by is None else len(terms.prices_by.cells)",
        "0 -> -1",
        "without a matrix a basis with cells was refused before",
    ),
    _same(
        "charge_models.rating",
        "cells = 0 if terms.prices_by is None else len(terms.prices_by.cells)",
        "0 -> 1",
        "without a matrix a basis with cells was refused before",
    ),
    _same(
        "charge_models.reading",
        "lower = before[-1].up_to if before and before[-1].up_to is not None else ZERO",
        "1 -> 0",
        "every tier before has a bound, or was refused as an open one",
    ),
    _same(
        "charge_models.scaled_tiers",
        'texts: "TierTexts" = field(init=False, repr=False, compare=False)',
        "False -> True #3",
        "the texts follow from the numbers that are compared",
    ),
    _same(
        "charge_models.steps",
        "return {name: value for name, value in zip(_NAMES, _VALUES(self), strict=True) if value is not None}",
        "True -> False",
        "the values are read by the same names",
    ),
    _same(
        "charge_models.terms",
        "init=False, repr=False, compare=False",
        "False -> True #3",
        "the look-up follows from the cells that are compared",
    ),
    _same(
        "charge_models.terms",
        "scaled_tiers: ScaledTiers = field(init=False, repr=False, compare=False)",
        "False -> True #3",
        "the scaled tiers follow from the tiers that are compared",
    ),
    _same(
        "charge_models.terms",
        "if not self.prorate or factor == 1:",
        "1 -> 2",
        "a shortcut: times one is the same number",
    ),
    _same("charge_models.volume", "return 0, 1", "1 -> 2", "nothing over two is nothing"),
)
