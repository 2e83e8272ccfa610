"""
Exact rational arithmetic on whole numbers, and its text.

Rules: nothing here rounds unless a `Rounding` is named. A `Ratio` is a numerator over a positive denominator and
need not be reduced: carrying two integers through a price and dividing once at the end is exact and is faster
than a `Fraction`, which reduces after every step.
"""

import math
from decimal import Context, Decimal, Inexact, InvalidOperation
from enum import StrEnum
from fractions import Fraction
from typing import Final

from apps.engine.errors import InvalidDecimal, UnitsOutOfRange

Ratio = tuple[int, int]

# The default context of decimals keeps 28 digits and rounds the rest in silence; this one raises instead.
_EXACT: Final = Context(prec=1000, traps=[Inexact, InvalidOperation])


class Rounding(StrEnum):
    """How an exact number becomes one with fewer digits; ties are judged on the exact value."""

    HALF_UP = "half_up"  # nearest; a tie goes away from zero, so a credit mirrors its charge
    HALF_EVEN = "half_even"  # nearest; a tie goes to the even digit, so ties do not add up to a bias
    CEIL = "ceil"  # towards plus infinity
    FLOOR = "floor"  # towards minus infinity


def round_ratio(numerator: int, denominator: int, rounding: Rounding) -> int:
    """Return the whole number that stands for an exact ratio under a named rounding."""
    if rounding is Rounding.FLOOR:
        return numerator // denominator
    if rounding is Rounding.CEIL:
        return -(-numerator // denominator)
    whole, rest = divmod(abs(numerator), denominator)
    tie = 2 * rest - denominator
    if tie > 0 or (tie == 0 and (rounding is Rounding.HALF_UP or whole % 2 == 1)):
        whole += 1
    return whole if numerator >= 0 else -whole


def add_exactly(left: Decimal, right: Decimal) -> Decimal:
    """
    Return a sum of decimals with all its digits, whatever the arithmetic context of the process.

    :raises UnitsOutOfRange: if one is not finite, or they are so far apart that the sum has over 1000 digits
    """
    try:
        return _EXACT.add(left, right)
    except (Inexact, InvalidOperation) as exc:
        raise UnitsOutOfRange("cannot be added exactly; correct values that are too far apart or not finite") from exc


def subtract_exactly(left: Decimal, right: Decimal) -> Decimal:
    """
    Return a difference of decimals with all its digits; even a minus sign rounds to the context of the process.

    :raises UnitsOutOfRange: if one is not finite, or they are so far apart that it has over 1000 digits
    """
    return add_exactly(left, right.copy_negate())


def multiply_exactly(left: Decimal, right: Decimal) -> Decimal:
    """
    Return a product of decimals with all its digits, whatever the arithmetic context of the process.

    :raises UnitsOutOfRange: if one is not finite, or the product has over 1000 digits
    """
    try:
        return _EXACT.multiply(left, right)
    except (Inexact, InvalidOperation) as exc:
        raise UnitsOutOfRange("cannot be multiplied exactly; correct values that are too long or not finite") from exc


def decimal_text(value: Decimal) -> str:
    """Return the shortest plain text of a decimal: no exponent, no trailing zeros, no negative zero."""
    if not value.is_finite():
        raise InvalidDecimal("must be a finite number")
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def ratio_text(numerator: int, denominator: int) -> str:
    """Return the exact text of a ratio: a decimal when it ends ("0.125"), else a reduced fraction ("1/3")."""
    common = math.gcd(numerator, denominator)
    numerator, denominator = numerator // common, denominator // common
    if denominator == 1:
        return str(numerator)
    rest, digits = denominator, 0
    for prime in (2, 5):
        count = 0
        while rest % prime == 0:
            rest //= prime
            count += 1
        digits = max(digits, count)
    if rest != 1:
        return f"{numerator}/{denominator}"
    return scaled_text(numerator * (10**digits // denominator), digits)


def scaled_text(scaled: int, digits: int) -> str:
    """Return a whole number read with its last `digits` digits behind the point; all of them are shown."""
    sign, body = ("-" if scaled < 0 else ""), str(abs(scaled)).rjust(digits + 1, "0")
    return f"{sign}{body[:-digits]}.{body[-digits:]}" if digits else f"{sign}{body}"


def exact_text(value: Decimal | Fraction | int) -> str:
    """Return the exact text of any exact number, as `decimal_text` and `ratio_text` write it."""
    if isinstance(value, Decimal):
        return decimal_text(value)
    return ratio_text(value.numerator, value.denominator)


def fraction_text(value: Fraction) -> str:
    """Return a factor as "numerator/denominator", or as a whole number, so that days or seconds stay visible."""
    return str(value)
