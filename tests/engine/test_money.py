"""Money: text to minor units and back, rounding by name, nothing approximate on the way."""

from decimal import Decimal
from fractions import Fraction

import iso4217
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.engine import currencies
from apps.engine.errors import CurrencyMismatch, CurrencyUnknown, InvalidDecimal, InvalidMoney
from apps.engine.exact import decimal_text, exact_text, ratio_text
from apps.engine.money import (
    Money,
    Rounding,
    minor_to_text,
    parse_decimal,
    parse_rounding,
    round_to_minor,
    text_to_minor,
)
from tests.engine.strategies import currency_codes, minors, roundings

HUGE = Decimal("12345678901234567890123456789012345678")


def test_currency_table_agrees_with_the_published_list() -> None:
    """S250: digits come from ISO 4217, entry by entry, and entries without a minor unit are not money."""
    published = {entry.code: entry.exponent for entry in iso4217.Currency if entry.exponent is not None}
    assert published == currencies.EXPONENTS
    assert {currencies.exponent(code) for code in ("JPY", "EUR", "KWD", "CLF")} == {0, 2, 3, 4}


@pytest.mark.parametrize("code", ["", "usd", "XXX", "XAU", "ABC", "US", None, 840])
def test_currency_must_be_on_the_list(code: object) -> None:
    assert not currencies.is_known(code)
    with pytest.raises(CurrencyUnknown, match="ISO 4217"):
        currencies.exponent(code)


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("12.34", "USD", 1234),
        ("12.3", "USD", 1230),
        ("12", "USD", 1200),
        ("0", "USD", 0),
        ("-0.05", "USD", -5),
        ("-0.00", "USD", 0),
        ("1200", "JPY", 1200),
        ("1.234", "KWD", 1234),
        ("0.0001", "CLF", 1),
        ("123456789012345678901234567890.12", "EUR", 12345678901234567890123456789012),
    ],
)
def test_text_to_minor(text: str, currency: str, minor: int) -> None:
    """S250: nothing is multiplied by a hundred; the currency says where the point stands."""
    assert text_to_minor(text, currency) == minor
    assert Money.parse(text, currency) == Money(minor, currency)


@pytest.mark.parametrize(
    ("text", "currency"), [("12.345", "USD"), ("12.340", "USD"), ("1.0", "JPY"), ("1.2345", "KWD")]
)
def test_text_with_too_many_digits_is_refused(text: str, currency: str) -> None:
    with pytest.raises(InvalidMoney, match="round it before sending") as refusal:
        text_to_minor(text, currency, path="amount.amount")
    assert refusal.value.path == "amount.amount"


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 1",
        "1 ",
        "+1",
        "1e3",
        "1E3",
        "NaN",
        "Infinity",
        "1,5",
        ".5",
        "5.",
        "007",
        "--1",
        "1_000",
        "١٢",
        "1\n",
        "0x1",
    ],
)
def test_text_that_is_not_a_plain_decimal_is_refused(text: str) -> None:
    with pytest.raises(InvalidDecimal, match="12.34"):
        parse_decimal(text, path="units")


@pytest.mark.parametrize(
    ("value", "named"), [(1, "JSON number"), (1.5, "JSON number"), (None, "null"), (True, "boolean")]
)
def test_json_numbers_are_refused_where_text_is_due(value: object, named: str) -> None:
    """S250: a binary float never becomes money, not even a harmless looking one."""
    with pytest.raises(InvalidDecimal, match=named):
        parse_decimal(value, path="units")
    with pytest.raises(InvalidDecimal):
        Money.parse(value, "USD")


def test_decimal_bounds_are_named() -> None:
    with pytest.raises(InvalidDecimal, match="at least 0"):
        parse_decimal("-1", path="rate", minimum=Decimal(0))
    with pytest.raises(InvalidDecimal, match="more than 38 digits"):
        parse_decimal("1" * 39, path="rate")
    assert parse_decimal(str(HUGE), path="rate") == HUGE


def test_money_of_two_currencies_never_meets() -> None:
    dollars, euros = Money(1, "USD"), Money(1, "EUR")
    for combine in (
        lambda: dollars + euros,
        lambda: dollars - euros,
        lambda: dollars < euros,
        lambda: dollars <= euros,
        lambda: dollars > euros,
        lambda: dollars >= euros,
        lambda: dollars + 1,
    ):
        with pytest.raises(CurrencyMismatch):
            combine()
    assert dollars != euros


def test_money_arithmetic_and_text() -> None:
    assert Money(1234, "USD") + Money(1, "USD") == Money(1235, "USD")
    assert Money(1234, "USD") - Money(1235, "USD") == -Money(1, "USD")
    assert sorted([Money(2, "USD"), Money(1, "USD")])[0] == Money(1, "USD")
    assert Money(2, "USD") >= Money(2, "USD") > Money(1, "USD")
    assert Money(1, "USD") <= Money(1, "USD")
    assert str(Money(-5, "USD")) == "-0.05 USD"


@pytest.mark.parametrize("minor", [1.0, True, "1", None, Decimal(1)])
def test_money_holds_whole_minor_units_only(minor: object) -> None:
    with pytest.raises(InvalidMoney, match="whole number"):
        Money(minor, "USD")


def test_zero_money_still_needs_a_currency() -> None:
    """S251: nothing is free of its currency, not even nothing."""
    with pytest.raises(CurrencyUnknown):
        Money(0, "")
    with pytest.raises(CurrencyUnknown):
        text_to_minor("0", "")


@pytest.mark.parametrize(
    ("amount", "half_up", "half_even", "ceil", "floor"),
    [
        ("0.004", 0, 0, 1, 0),
        ("0.005", 1, 0, 1, 0),
        ("0.006", 1, 1, 1, 0),
        ("0.015", 2, 2, 2, 1),
        ("0.025", 3, 2, 3, 2),
        ("1.00", 100, 100, 100, 100),
        ("-0.004", 0, 0, 0, -1),
        ("-0.005", -1, 0, 0, -1),
        ("-0.015", -2, -2, -1, -2),
        ("-0.025", -3, -2, -2, -3),
        ("0.00500000000000000000000000000000001", 1, 1, 1, 0),
        ("0.00499999999999999999999999999999999", 0, 0, 1, 0),
    ],
)
def test_rounding_table(amount: str, half_up: int, half_even: int, ceil: int, floor: int) -> None:
    expected = {
        Rounding.HALF_UP: half_up,
        Rounding.HALF_EVEN: half_even,
        Rounding.CEIL: ceil,
        Rounding.FLOOR: floor,
    }
    for exact in (Decimal(amount), Fraction(amount)):
        assert {mode: round_to_minor(exact, currency="USD", rounding=mode) for mode in Rounding} == expected


def test_rounding_is_named_or_refused() -> None:
    assert parse_rounding("ceil", path="rounding") is Rounding.CEIL
    with pytest.raises(InvalidDecimal, match="half_up, half_even, ceil, floor"):
        parse_rounding("nearest", path="rounding")


@given(minor=minors, currency=currency_codes)
def test_text_round_trip_for_every_currency(minor: int, currency: str) -> None:
    text = minor_to_text(minor, currency)
    assert text_to_minor(text, currency) == minor
    assert Money.parse(text, currency).text == text
    assert len(text.partition(".")[2]) == currencies.exponent(currency)


@given(
    numerator=st.integers(-(10**12), 10**12),
    denominator=st.integers(1, 10**6),
    currency=currency_codes,
    rounding=roundings,
)
def test_rounding_moves_by_less_than_one_minor_unit(
    numerator: int, denominator: int, currency: str, rounding: Rounding
) -> None:
    exact = Fraction(numerator, denominator) * 10 ** currencies.exponent(currency)
    rounded = round_to_minor(Fraction(numerator, denominator), currency=currency, rounding=rounding)
    assert abs(rounded - exact) < 1
    if rounding in (Rounding.HALF_UP, Rounding.HALF_EVEN):
        assert abs(rounded - exact) <= Fraction(1, 2)
        opposite = round_to_minor(-Fraction(numerator, denominator), currency=currency, rounding=rounding)
        assert opposite == -rounded


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("1.500"), "1.5"),
        (Decimal("1E+3"), "1000"),
        (Decimal("-0.0"), "0"),
        (Decimal("0.000001"), "0.000001"),
        (HUGE, str(HUGE)),
        (Fraction(1, 8), "0.125"),
        (Fraction(-1, 3), "-1/3"),
        (Fraction(7), "7"),
        (12, "12"),
    ],
)
def test_exact_text_is_short_and_exact(value: Decimal | Fraction | int, text: str) -> None:
    assert exact_text(value) == text
    assert Fraction(text) == Fraction(value)


def test_exact_text_refuses_what_is_not_a_number() -> None:
    with pytest.raises(InvalidDecimal, match="finite"):
        decimal_text(Decimal("NaN"))


@given(numerator=st.integers(-(10**9), 10**9), denominator=st.integers(1, 10**6))
def test_ratio_text_reads_back_exactly(numerator: int, denominator: int) -> None:
    assert Fraction(ratio_text(numerator, denominator)) == Fraction(numerator, denominator)
