"""Where the arithmetic of money has its edges: the smallest negative, exactly on a bound, the last digit that fits."""

from collections import OrderedDict
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.engine.allocation import allocate, split_evenly
from apps.engine.errors import EngineError, InvalidDecimal, InvalidMoney, InvalidTerms, UnitsOutOfRange
from apps.engine.exact import (
    add_exactly,
    exact_text,
    fraction_text,
    multiply_exactly,
    ratio_text,
    round_ratio,
    scaled_text,
    subtract_exactly,
)
from apps.engine.hashing import canonical_hash, canonical_json, plain_json
from apps.engine.money import (
    MINOR_MAX,
    Money,
    Rounding,
    ensure_bookable,
    minor_to_text,
    parse_decimal,
    text_to_minor,
)
from apps.engine.tax import tax_decision_from_document
from tests.engine.naive.numbers import rounded


class Shade(Enum):
    """A plain enum: its members are not text."""

    DARK = 3


@pytest.mark.parametrize(
    ("numerator", "denominator", "half_up", "half_even", "ceil", "floor"),
    [
        (0, 7, 0, 0, 0, 0),
        (-1, 2, -1, 0, 0, -1),
        (1, 2, 1, 0, 1, 0),
        (-3, 2, -2, -2, -1, -2),
        (3, 2, 2, 2, 2, 1),
        (5, 2, 3, 2, 3, 2),
        (7, 2, 4, 4, 4, 3),
        (-1, 3, 0, 0, 0, -1),
        (-2, 3, -1, -1, 0, -1),
        (6, 3, 2, 2, 2, 2),
        (-6, 3, -2, -2, -2, -2),
        (10**40 + 1, 2, (10**40 + 2) // 2, 10**40 // 2, (10**40 + 2) // 2, 10**40 // 2),
    ],
)
def test_ties_and_their_neighbours(  # noqa: PLR0917
    numerator: int, denominator: int, half_up: int, half_even: int, ceil: int, floor: int
) -> None:
    """S250: what each of the four roundings makes of a half, on both sides of zero."""
    got = [round_ratio(numerator, denominator, mode) for mode in Rounding]
    assert got == [half_up, half_even, ceil, floor]


@given(
    numerator=st.integers(-(10**12), 10**12) | st.integers(-8, 8),
    denominator=st.integers(1, 10**6) | st.integers(1, 4),
    mode=st.sampled_from(Rounding),
)
def test_rounding_agrees_with_the_naive_one(numerator: int, denominator: int, mode: Rounding) -> None:
    assert round_ratio(numerator, denominator, mode) == rounded(Fraction(numerator, denominator), mode.value)


@pytest.mark.parametrize("minor", [-1, 0, 1])
def test_money_compares_at_the_edge(minor: int) -> None:
    """Neither below nor above its equal, and exactly one apart from its neighbour."""
    amount, neighbour = Money(minor, "USD"), Money(minor + 1, "USD")
    same = Money(minor, "USD")
    assert [amount < same, amount > same, amount <= same, amount >= same] == [False, False, True, True]
    assert [amount < neighbour, amount > neighbour, amount <= neighbour, amount >= neighbour] == [
        True, False, True, False,
    ]  # fmt: skip


@pytest.mark.parametrize("minor", [0, 1, -1, MINOR_MAX - 1, MINOR_MAX, -MINOR_MAX])
def test_what_a_column_of_minor_units_holds_is_bookable(minor: int) -> None:
    """S250: eight bytes of minor units, the largest one included, on both sides of zero."""
    assert MINOR_MAX == 9_223_372_036_854_775_807
    assert ensure_bookable(minor, "USD") == minor


@pytest.mark.parametrize("minor", [MINOR_MAX + 1, -MINOR_MAX - 1])
def test_what_no_column_holds_is_refused_in_words(minor: int) -> None:
    with pytest.raises(InvalidMoney, match=r"not be above 92233720368547758\.07 USD") as refusal:
        ensure_bookable(minor, "USD", path="total")
    assert refusal.value.path == "total"


def test_bounds_of_a_decimal_belong_to_what_is_allowed() -> None:
    assert parse_decimal("0", path="rate", minimum=Decimal(0)) == 0
    assert parse_decimal("2.5", path="rate", minimum=Decimal("2.5")) == Decimal("2.5")
    with pytest.raises(InvalidDecimal, match=r"at least 2\.5, not 2\.4999"):
        parse_decimal("2.4999", path="rate", minimum=Decimal("2.5"))
    assert parse_decimal("-" + "9" * 20 + "." + "9" * 18, path="rate") == Decimal("-" + "9" * 20 + "." + "9" * 18)
    with pytest.raises(InvalidDecimal, match="more than 38 digits"):
        parse_decimal("9" * 20 + "." + "9" * 19, path="rate")


def test_a_negative_zero_is_written_as_zero() -> None:
    assert str(parse_decimal("-0.00", path="rate")) == "0.00"
    assert exact_text(Decimal("-0.00")) == "0"


def test_sums_and_products_keep_every_digit_or_are_refused() -> None:
    """S250: a thousand digits are kept; one more is a refusal and never a rounding in silence."""
    long = Decimal("1" + "0" * 998 + "1")
    assert add_exactly(long, Decimal(1)) == Decimal("1" + "0" * 998 + "2")
    assert multiply_exactly(long, Decimal(3)) == Decimal("3" + "0" * 998 + "3")
    nines, too_long = Decimal("9" * 1000), Decimal("1" + "0" * 999 + "1")
    with pytest.raises(UnitsOutOfRange, match="added exactly"):
        add_exactly(nines, Decimal("0.1"))
    with pytest.raises(UnitsOutOfRange, match="added exactly"):
        add_exactly(too_long, Decimal(0))
    with pytest.raises(UnitsOutOfRange, match="multiplied exactly"):
        multiply_exactly(nines, Decimal(11))
    assert subtract_exactly(Decimal("1" + "0" * 40), Decimal("0.1")) == Decimal("9" * 40 + ".9")
    for combine in (add_exactly, multiply_exactly):
        assert combine(Decimal(0), Decimal("1.50")) == (Decimal("1.5") if combine is add_exactly else 0)
        with pytest.raises(UnitsOutOfRange):
            combine(Decimal("sNaN"), Decimal(1))


@pytest.mark.parametrize(
    ("numerator", "denominator", "text"),
    [
        (0, 5, "0"),
        (7, 1, "7"),
        (-7, 1, "-7"),
        (1, 2, "0.5"),
        (1, 5, "0.2"),
        (1, 25, "0.04"),
        (3, 40, "0.075"),
        (-1, 8, "-0.125"),
        (1, 10, "0.1"),
        (10, 5, "2"),
        (1, 3, "1/3"),
        (2, 6, "1/3"),
        (-5, 15, "-1/3"),
        (1, 30, "1/30"),
        (1, 4, "0.25"),
        (1, 6, "1/6"),
        (5, 4, "1.25"),
    ],
)
def test_text_of_a_ratio(numerator: int, denominator: int, text: str) -> None:
    assert ratio_text(numerator, denominator) == text
    assert exact_text(Fraction(numerator, denominator)) == text


@given(scaled=st.integers(-(10**9), 10**9), digits=st.integers(0, 6))
def test_text_of_a_ratio_is_read_back(scaled: int, digits: int) -> None:
    assert Fraction(ratio_text(scaled, 10**digits)) == Fraction(scaled, 10**digits)
    assert Fraction(scaled_text(scaled, digits)) == Fraction(scaled, 10**digits)


@pytest.mark.parametrize(
    ("scaled", "digits", "text"),
    [(0, 0, "0"), (0, 2, "0.00"), (-1, 2, "-0.01"), (-1, 0, "-1"), (1, 3, "0.001"), (100, 2, "1.00"), (1, 0, "1")],
)
def test_text_with_all_digits(scaled: int, digits: int, text: str) -> None:
    assert scaled_text(scaled, digits) == text


def test_days_stay_visible_in_a_factor() -> None:
    assert [fraction_text(Fraction(*ratio)) for ratio in ((15, 31), (1, 1), (0, 4))] == ["15/31", "1", "0"]


@given(minor=st.integers(-(10**12), 10**12), currency=st.sampled_from(["JPY", "USD", "KWD", "CLF"]))
def test_minor_units_survive_their_text(minor: int, currency: str) -> None:
    assert text_to_minor(minor_to_text(minor, currency), currency) == minor


def test_the_smallest_splits() -> None:
    assert split_evenly(5, parts=1) == [5]
    assert split_evenly(0, parts=2) == [0, 0]
    assert allocate(-1, weights=[1]) == [-1]
    assert allocate(-1, weights=[1, 1]) == [-1, 0]
    assert allocate(1, weights=[0, 0, 7]) == [0, 0, 1]
    with pytest.raises(EngineError) as refusal:
        split_evenly(5, parts=-1)
    assert refusal.value.path == "parts"


def test_what_is_like_a_dictionary_hashes_like_one() -> None:
    plain = {"a": {"b": Decimal("1.0")}, "c": 3}
    view = MappingProxyType({"c": Shade.DARK, "a": OrderedDict(b=Fraction(1))})
    assert canonical_json(view) == canonical_json(plain) == '{"a":{"b":"1"},"c":3}'
    assert canonical_hash(view) == canonical_hash(plain)


def test_the_quick_way_to_canonical_text_lets_nothing_through_either() -> None:
    """S250: what skips the search for values without a canonical text still refuses to write one."""
    plain = {"b": ["1", None], "a": True}
    assert plain_json(plain) == canonical_json(plain) == '{"a":true,"b":["1",null]}'
    with pytest.raises(EngineError, match="no canonical text"):
        plain_json({"a": object()})
    with pytest.raises(ValueError, match="JSON"):
        plain_json({"a": float("nan")})


@pytest.mark.parametrize("key", ["category", "treatment", "jurisdiction"])
def test_a_tax_decision_names_what_it_lacks(key: str) -> None:
    document = {"category": "saas", "jurisdiction": "DE", "rate_percent": "19", "treatment": "taxed"}
    with pytest.raises(InvalidTerms, match="is required") as refusal:
        tax_decision_from_document({name: value for name, value in document.items() if name != key})
    assert refusal.value.path == f"tax.{key}"
