"""Aggregation and unit rounding: exact, in one step, after everything was added."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.engine.aggregation import (
    Aggregation,
    UnitRounding,
    aggregate,
    apply_unit_rounding,
    unit_rounding_from_document,
)
from apps.engine.errors import EngineError, InvalidDecimal, InvalidTerms, UnitsOutOfRange
from apps.engine.money import Rounding
from tests.engine.strategies import decimals_of


@pytest.mark.parametrize(
    ("aggregation", "values", "quantity"),
    [
        (Aggregation.COUNT, [], "0"),
        (Aggregation.COUNT, ["5", "5", "0"], "3"),
        (Aggregation.SUM, [], "0"),
        (Aggregation.SUM, ["0.1", "0.2"], "0.3"),
        (Aggregation.SUM, ["10", "-4.5"], "5.5"),
        (Aggregation.SUM, ["12345678901234567890123456789012345678", "0.00000001"], None),
        (Aggregation.MAX, [], "0"),
        (Aggregation.MAX, ["3", "7.5", "7"], "7.5"),
        (Aggregation.MAX, ["-3", "-7"], "-3"),
    ],
)
def test_golden_aggregations(aggregation: Aggregation, values: list[str], quantity: str | None) -> None:
    expected = Decimal(quantity if quantity is not None else f"{values[0]}.{'0' * 7}1")
    assert aggregate(aggregation=aggregation, values=map(Decimal, values)) == expected


def test_sum_keeps_every_digit_of_many_values() -> None:
    """S250: the sum of a million tenths is a whole number, not almost one."""
    assert aggregate(aggregation=Aggregation.SUM, values=(Decimal("0.1") for _ in range(1_000_000))) == 100_000


def test_sum_that_cannot_be_exact_is_refused() -> None:
    with pytest.raises(UnitsOutOfRange, match="exactly"):
        aggregate(aggregation=Aggregation.SUM, values=[Decimal("1E+2000"), Decimal(1)])


@given(values=st.lists(decimals_of(units_max=10**12, digits=9)))
def test_sum_agrees_with_fractions(values: list[Decimal]) -> None:
    total = aggregate(aggregation=Aggregation.SUM, values=values)
    assert Fraction(total) == sum((Fraction(value) for value in values), Fraction(0))


@pytest.mark.parametrize(
    ("quantity", "mode", "precision", "divide_by", "units"),
    [
        ("1", "ceil", 0, "1000000000", "1"),
        ("1000000000", "ceil", 0, "1000000000", "1"),
        ("1000000001", "ceil", 0, "1000000000", "2"),
        ("0", "ceil", 0, "1000000000", "0"),
        ("2.5", "half_up", 0, None, "3"),
        ("2.5", "half_even", 0, None, "2"),
        ("2.349", "floor", 2, None, "2.34"),
        ("1234", "half_up", -2, None, "1200"),
        ("1250", "half_even", -2, None, "1200"),
        ("10", "half_up", 4, "3", "3.3333"),
        ("10", "half_up", 12, "3", "3.333333333333"),
        ("-1.5", "half_up", 0, None, "-2"),
    ],
)
def test_golden_unit_roundings(quantity: str, mode: str, precision: int, divide_by: str | None, units: str) -> None:
    rounding = unit_rounding_from_document({"mode": mode, "precision": precision, "divide_by": divide_by})
    assert apply_unit_rounding(Decimal(quantity), rounding) == Decimal(units)


def test_no_rounding_leaves_the_quantity() -> None:
    assert unit_rounding_from_document(None) is None
    assert apply_unit_rounding(Decimal("1.23"), None) == Decimal("1.23")


def test_rounding_document_round_trip() -> None:
    rounding = UnitRounding(mode=Rounding.CEIL, precision=0, divide_by=Decimal("1000000000"))
    assert unit_rounding_from_document(rounding.to_document()) == rounding
    assert unit_rounding_from_document({"mode": "floor"}) == UnitRounding(mode=Rounding.FLOOR)


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({}, "rounding.mode"),
        ({"mode": "nearest"}, "rounding.mode"),
        ({"mode": "ceil", "precison": 0}, "rounding.precison"),
        ({"mode": "ceil", "precision": "0"}, "rounding.precision"),
        ({"mode": "ceil", "precision": 13}, "rounding.precision"),
        ({"mode": "ceil", "precision": -13}, "rounding.precision"),
        ({"mode": "ceil", "precision": True}, "rounding.precision"),
        ({"mode": "ceil", "divide_by": "0"}, "rounding.divide_by"),
        ({"mode": "ceil", "divide_by": "-2"}, "rounding.divide_by"),
        ({"mode": "ceil", "divide_by": 1000}, "rounding.divide_by"),
        ("ceil", "rounding"),
    ],
)
def test_bad_rounding_documents_name_the_place(document: object, path: str) -> None:
    with pytest.raises(EngineError) as refusal:
        unit_rounding_from_document(document)
    assert refusal.value.path == path
    assert isinstance(refusal.value, InvalidTerms | InvalidDecimal)


@pytest.mark.parametrize("wrong", [{"precision": 13}, {"precision": -13}, {"divide_by": Decimal(0)}])
def test_unit_rounding_guards_itself(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidTerms):
        UnitRounding(mode=Rounding.CEIL, **wrong)
