"""Numbers as they are written in a document, and the four ways of rounding them."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

MINOR_DIGITS = {"JPY": 0, "USD": 2, "EUR": 2, "KWD": 3, "CLF": 4}


def number(text: str) -> Fraction:
    """Read "12.34"; a fraction holds every digit of it."""
    return Fraction(text)


def number_or_nothing(document: Mapping[str, Any], key: str) -> Fraction | None:
    """Read a number that may be left out."""
    text = document.get(key)
    return None if text is None else number(text)


def rounded(exact: Fraction, mode: str) -> int:
    """Round to a whole number."""
    below = exact.numerator // exact.denominator
    above = below if exact == below else below + 1
    if mode == "floor":
        return below
    if mode == "ceil":
        return above
    if exact - below < above - exact:
        return below
    if exact - below > above - exact:
        return above
    if mode == "half_even":
        return below if below % 2 == 0 else above
    return above if exact > 0 else below  # half_up: a half goes away from zero


def rounded_to_places(exact: Fraction, places: int, mode: str) -> Fraction:
    """Round to so many places behind the point; before it, when they are negative."""
    scale = Fraction(10) ** places
    return Fraction(rounded(exact * scale, mode)) / scale


def to_minor(amount: Fraction, currency: str, mode: str) -> int:
    """Round an amount of money to the smallest unit of its currency."""
    return rounded(amount * 10 ** MINOR_DIGITS[currency], mode)
