"""
From the values of many events to one quantity.

Rules: count counts the values given; sum and max of nothing are zero; sums are exact however long; the unit rounding
of a meter is applied once, after aggregation: first the exact division, then one rounding. Rounding each event
instead would bill a thousand small requests as a thousand whole units.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact, InvalidOperation
from enum import StrEnum
from typing import Any, Final

from apps.engine import documents
from apps.engine.errors import InvalidTerms, UnitsOutOfRange
from apps.engine.exact import Rounding, decimal_text, round_ratio, scaled_text
from apps.engine.money import parse_decimal

# Invoice lines keep quantities to 12 decimals; a finer rounding would bill units that no document can state.
PRECISION_MAX: Final = 12
# The default context of decimals keeps 28 digits and rounds the rest in silence; this one raises instead.
_EXACT: Final = Context(prec=1000, traps=[Inexact, InvalidOperation])
_KNOWN_KEYS: Final = ("divide_by", "mode", "precision")


class Aggregation(StrEnum):
    """What a meter makes of the values of its events."""

    COUNT = "count"  # how many events
    SUM = "sum"  # the total of their values
    MAX = "max"  # the largest value; zero when there was no event


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitRounding:
    """How an aggregated quantity becomes billable units: divide, then round to `precision` decimals."""

    mode: Rounding
    precision: int = 0  # negative: -3 rounds to whole thousands
    divide_by: Decimal | None = None  # for instance 1000000000 to bill bytes as gigabytes

    def __post_init__(self) -> None:
        if type(self.precision) is not int or abs(self.precision) > PRECISION_MAX:
            raise InvalidTerms(
                f"must be a whole number from -{PRECISION_MAX} to {PRECISION_MAX}", path="rounding.precision"
            )
        if self.divide_by is not None and self.divide_by <= 0:
            raise InvalidTerms("must be above zero", path="rounding.divide_by")

    def to_document(self) -> dict[str, str | int | None]:
        """Return the rounding as the document that `unit_rounding_from_document` reads."""
        divide_by = None if self.divide_by is None else decimal_text(self.divide_by)
        return {"mode": self.mode.value, "precision": self.precision, "divide_by": divide_by}


def aggregate(*, aggregation: Aggregation, values: Iterable[Decimal]) -> Decimal:
    """Return the quantity that an aggregation makes of the values; exact, and zero when there are none."""
    if aggregation is Aggregation.COUNT:
        return Decimal(sum(1 for _ in values))
    if aggregation is Aggregation.MAX:
        return max(values, default=Decimal(0))
    return _exact_sum(values)


def apply_unit_rounding(quantity: Decimal, rounding: UnitRounding | None) -> Decimal:
    """Return the billable units of a quantity: divided exactly, then rounded once; unchanged without a rounding."""
    if rounding is None:
        return quantity
    numerator, denominator = quantity.as_integer_ratio()
    if rounding.divide_by is not None:
        divisor_numerator, divisor_denominator = rounding.divide_by.as_integer_ratio()
        numerator, denominator = numerator * divisor_denominator, denominator * divisor_numerator
    if rounding.precision >= 0:
        scaled = round_ratio(numerator * 10**rounding.precision, denominator, rounding.mode)
        return Decimal(scaled_text(scaled, rounding.precision))
    step = 10**-rounding.precision
    return Decimal(round_ratio(numerator, denominator * step, rounding.mode) * step)


def unit_rounding_from_document(document: Mapping[str, Any] | None, *, path: str = "rounding") -> UnitRounding | None:
    """
    Read `{"mode": "ceil", "precision": 0, "divide_by": "1000000000"}`; null means no rounding.

    :raises InvalidTerms: if a field is unknown, missing or out of range
    :raises InvalidDecimal: if `divide_by` is not a decimal string above zero
    """
    if document is None:
        return None
    fields = documents.read_mapping(document, path=path)
    documents.refuse_unknown_keys(fields, known=_KNOWN_KEYS, path=path)
    modes = [mode.value for mode in Rounding]
    if fields.get("mode") is None:
        raise InvalidTerms(f"is required; use one of {', '.join(modes)}", path=documents.at_key(path, "mode"))
    mode = documents.read_choice(fields, "mode", choices=modes, default="", path=path)
    precision = fields.get("precision", 0)
    if type(precision) is not int or abs(precision) > PRECISION_MAX:
        raise InvalidTerms(
            f"must be a whole number from -{PRECISION_MAX} to {PRECISION_MAX}", path=documents.at_key(path, "precision")
        )
    divide_by = None
    if fields.get("divide_by") is not None:
        divide_path = documents.at_key(path, "divide_by")
        divide_by = parse_decimal(fields["divide_by"], path=divide_path)
        if divide_by <= 0:
            raise InvalidTerms("must be above zero", path=divide_path)
    return UnitRounding(mode=Rounding(mode), precision=precision, divide_by=divide_by)


def _exact_sum(values: Iterable[Decimal]) -> Decimal:
    total = Decimal(0)
    try:
        for value in values:
            total = _EXACT.add(total, value)
    except (Inexact, InvalidOperation) as exc:
        raise UnitsOutOfRange("the values cannot be added exactly; they are too far apart or not finite") from exc
    return total
