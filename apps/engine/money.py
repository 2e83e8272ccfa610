"""
Money is a whole number of minor units and a currency; text and rates come in as decimal strings.

Rules: no binary float, no JSON number and no exponent notation is accepted; the number of digits is the
currency's, taken from ISO 4217; two currencies are never added or compared; an exact amount becomes minor units
through `round_to_minor` with a named rounding, once per rated line.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final

from apps.engine import currencies
from apps.engine.errors import CurrencyMismatch, InvalidDecimal, InvalidMoney
from apps.engine.exact import Rounding, decimal_text, round_ratio, scaled_text

__all__ = [
    "Money",
    "Rounding",
    "minor_to_text",
    "parse_decimal",
    "parse_rounding",
    "round_ratio_to_minor",
    "round_to_minor",
    "text_to_minor",
]

# What a column of minor units holds; the largest amount of the smallest unit that any document states.
MINOR_MAX: Final = 2**63 - 1
DIGITS_MAX: Final = 38  # what a NUMERIC column of every supported database keeps without loss
_PLAIN_DECIMAL: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in minor units of one currency; equal only to the same amount in the same currency."""

    minor: int
    currency: str

    def __post_init__(self) -> None:
        if type(self.minor) is not int:  # bool is an int to Python, and an amount of True is a bug
            raise InvalidMoney("must be a whole number of minor units", path="minor")
        currencies.exponent(self.currency)

    @classmethod
    def parse(cls, text: object, currency: str, *, path: str = "amount") -> "Money":
        """Read a decimal string such as "12.34" as money; see `text_to_minor` for what is refused."""
        return cls(text_to_minor(text, currency, path=path), currency)

    @property
    def text(self) -> str:
        """The amount as a decimal string with all digits of the currency."""
        return minor_to_text(self.minor, self.currency)

    def __str__(self) -> str:
        return f"{self.text} {self.currency}"

    def __add__(self, other: "Money") -> "Money":
        return Money(self.minor + self._minor_of(other), self.currency)

    def __sub__(self, other: "Money") -> "Money":
        return Money(self.minor - self._minor_of(other), self.currency)

    def __neg__(self) -> "Money":
        return Money(-self.minor, self.currency)

    def __lt__(self, other: "Money") -> bool:
        return self.minor < self._minor_of(other)

    def __le__(self, other: "Money") -> bool:
        return self.minor <= self._minor_of(other)

    def __gt__(self, other: "Money") -> bool:
        return self.minor > self._minor_of(other)

    def __ge__(self, other: "Money") -> bool:
        return self.minor >= self._minor_of(other)

    def _minor_of(self, other: "Money") -> int:
        if not isinstance(other, Money):
            raise CurrencyMismatch("money can only be combined with money; give the other amount a currency")
        if other.currency != self.currency:
            raise CurrencyMismatch(
                f"{self.currency} and {other.currency} cannot be combined; convert one of them first, by name"
            )
        return other.minor


def minor_to_text(minor: int, currency: str) -> str:
    """
    Write minor units as a decimal string with all digits of the currency: 1200 USD is "12.00", 1200 JPY is "1200".

    :raises CurrencyUnknown: if the currency is not on the ISO list
    """
    return scaled_text(minor, currencies.exponent(currency))


def text_to_minor(text: object, currency: str, *, path: str = "amount") -> int:
    """
    Read a decimal string as minor units of a currency.

    :raises InvalidDecimal: if it is not a plain decimal string
    :raises InvalidMoney: if it has more digits than the currency
    :raises CurrencyUnknown: if the currency is not on the ISO list
    """
    digits = currencies.exponent(currency)
    parse_decimal(text, path=path)
    whole, _, behind_point = str(text).partition(".")
    if len(behind_point) > digits:
        raise InvalidMoney(
            f"{currency} has {digits} digits behind the point, {text} has {len(behind_point)}; "
            "round it before sending it",
            path=path,
        )
    return int(whole + behind_point.ljust(digits, "0"))


def ensure_bookable(minor: int, currency: str, *, path: str = "amount") -> int:
    """
    Return an amount that documents and books can hold, in minor units.

    :raises InvalidMoney: if it is larger
    """
    if abs(minor) > MINOR_MAX:
        raise InvalidMoney(f"must not be above {minor_to_text(MINOR_MAX, currency)} {currency}", path=path)
    return minor


def round_to_minor(amount: Fraction | Decimal, *, currency: str, rounding: Rounding) -> int:
    """
    Round an exact amount in major units to minor units, once, with a named rounding.

    :raises CurrencyUnknown: if the currency is not on the ISO list
    """
    numerator, denominator = amount.as_integer_ratio()
    return round_ratio_to_minor(numerator, denominator, currency=currency, rounding=rounding)


def round_ratio_to_minor(numerator: int, denominator: int, *, currency: str, rounding: Rounding) -> int:
    """Round an exact ratio of major units to minor units; the form that rating uses."""
    scale: int = 10 ** currencies.exponent(currency)
    return round_ratio(numerator * scale, denominator, rounding)


def parse_decimal(text: object, *, path: str, minimum: Decimal | None = None, max_digits: int = DIGITS_MAX) -> Decimal:
    """
    Read a rate or quantity that was written as a plain decimal string.

    The grammar is a JSON number's without the exponent, in quotes: "0.005", "-3", "100". No plus sign, no leading
    zeros, no NaN and no infinity.

    :raises InvalidDecimal: if it is anything else, has too many digits, or is below `minimum`
    """
    if not isinstance(text, str):
        raise InvalidDecimal(
            f'must be a decimal string such as "12.34", not {_kind_of(text)}; put the number in quotes', path=path
        )
    if _PLAIN_DECIMAL.fullmatch(text) is None:
        raise InvalidDecimal(f'"{text[:60]}" is not a plain decimal; write it like "12.34"', path=path)
    value = Decimal(text)
    if len(text.replace("-", "").replace(".", "")) > max_digits:
        raise InvalidDecimal(f"has more than {max_digits} digits; shorten it", path=path)
    if minimum is not None and value < minimum:
        raise InvalidDecimal(f"must be at least {decimal_text(minimum)}, not {text}", path=path)
    return abs(value) if value.is_zero() else value  # a negative zero would spell the same amount in two ways


def parse_rounding(text: object, *, path: str) -> Rounding:
    """
    Read the name of a rounding.

    :raises InvalidDecimal: if it is not one of the four names
    """
    names = [mode.value for mode in Rounding]
    if not isinstance(text, str) or text not in names:
        raise InvalidDecimal(f"{text!r} is not a rounding; use one of {', '.join(names)}", path=path)
    return Rounding(text)


def _kind_of(value: object) -> str:
    name = type(value).__name__
    return {"bool": "a boolean", "int": "a JSON number", "float": "a JSON number", "NoneType": "null"}.get(
        name, f"a {name}"
    )
