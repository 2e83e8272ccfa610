"""
From an aggregated quantity to billable units: divide exactly, then round once.

Rules: the unit rounding of a meter comes after aggregation, and once. Rounding each event instead would bill a thousand
small requests as a thousand whole units. A quantity that no decimal can express (an average, a share of time) is
judged as the exact fraction it is; only where no unit rounding says otherwise it is kept to 12 decimals, half to even.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from apps.engine import documents
from apps.engine.errors import InvalidTerms
from apps.engine.exact import Rounding, decimal_text, round_ratio, scaled_text
from apps.engine.money import parse_decimal

# Invoice lines keep quantities to 12 decimals; a finer rounding would bill units that no document can state.
PRECISION_MAX: Final = 12
_KNOWN_KEYS: Final = ("divide_by", "mode", "precision")


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


def apply_unit_rounding(quantity: Decimal | Fraction, rounding: UnitRounding | None) -> Decimal:
    """Return the billable units of a quantity: divided exactly, then rounded once; without a rounding, as it is."""
    if rounding is None:
        return quantity_decimal(quantity)
    numerator, denominator = quantity.as_integer_ratio()
    if rounding.divide_by is not None:
        divisor_numerator, divisor_denominator = rounding.divide_by.as_integer_ratio()
        numerator, denominator = numerator * divisor_denominator, denominator * divisor_numerator
    if rounding.precision >= 0:
        scaled = round_ratio(numerator * 10**rounding.precision, denominator, rounding.mode)
        return Decimal(scaled_text(scaled, rounding.precision))
    step = 10**-rounding.precision
    return Decimal(round_ratio(numerator, denominator * step, rounding.mode) * step)


def quantity_decimal(quantity: Decimal | Fraction) -> Decimal:
    """Return a quantity as a decimal: unchanged, or of a fraction the nearest with 12 decimals, half to even."""
    if isinstance(quantity, Decimal):
        return quantity
    scaled = round_ratio(quantity.numerator * 10**PRECISION_MAX, quantity.denominator, Rounding.HALF_EVEN)
    return Decimal(scaled_text(scaled, PRECISION_MAX))


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
