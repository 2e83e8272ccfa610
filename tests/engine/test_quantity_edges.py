"""Where quantities have their edges: odd microseconds, windows without length, tens and hundreds, the last decimal."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.engine.aggregation import Aggregation, Operation, Reading, aggregate, fold_readings, start_fold
from apps.engine.errors import EngineError, InvalidPeriod, InvalidTerms
from apps.engine.exact import Rounding
from apps.engine.unit_rounding import UnitRounding, apply_unit_rounding, quantity_decimal, unit_rounding_from_document
from tests.engine.naive.numbers import rounded_to_places

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def after(microseconds: int) -> datetime:
    """Return an instant so long after noon."""
    return NOON + timedelta(microseconds=microseconds)


def test_a_level_lasts_to_the_microsecond() -> None:
    """One for one microsecond and two for two of them are five thirds."""
    readings = [Reading(NOON, Decimal(1)), Reading(after(1), Decimal(1))]
    folded = fold_readings(aggregation=Aggregation.WEIGHTED_SUM, readings=readings, starts_at=NOON, ends_at=after(3))
    assert folded == Fraction(5, 3)


@pytest.mark.parametrize("aggregation", list(Aggregation))
def test_a_window_without_length_holds_nothing(aggregation: Aggregation) -> None:
    window = {"aggregation": aggregation, "readings": [Reading(NOON, Decimal(7), "a")], "starts_at": NOON}
    assert fold_readings(**window, ends_at=NOON) == 0
    with pytest.raises(InvalidPeriod) as refusal:
        fold_readings(**window, ends_at=after(-1))
    assert refusal.value.path == "ends_at"


def test_an_event_without_a_value_is_one() -> None:
    readings = [Reading(NOON), Reading(after(1))]
    assert fold_readings(aggregation=Aggregation.SUM, readings=readings, starts_at=NOON, ends_at=after(2)) == 2
    assert Reading(NOON).operation is Operation.ADD


def test_only_levels_and_presence_are_carried_over() -> None:
    for aggregation in Aggregation:
        fold = start_fold(aggregation=aggregation, starts_at=NOON)
        fold.add(Reading(NOON, Decimal(3), "a"))
        if aggregation in (Aggregation.WEIGHTED_SUM, Aggregation.UNIQUE_COUNT):
            fold.next_window(starts_at=after(10))
            expected = 3 if aggregation is Aggregation.WEIGHTED_SUM else 1
            assert fold.quantity(ends_at=after(20)) == expected
        else:
            with pytest.raises(InvalidTerms, match="carried over"):
                fold.next_window(starts_at=after(10))


@pytest.mark.parametrize("aggregation", [Aggregation.UNIQUE_COUNT, Aggregation.WEIGHTED_SUM])
def test_values_alone_are_not_enough_for_everything(aggregation: Aggregation) -> None:
    with pytest.raises(InvalidTerms, match="whole readings"):
        aggregate(aggregation=aggregation, values=[Decimal(1)])


@pytest.mark.parametrize(
    ("quantity", "precision", "half_up", "half_even", "ceil", "floor"),
    [
        ("25", -1, "30", "20", "30", "20"),
        ("-25", -1, "-30", "-20", "-20", "-30"),
        ("24.9", -1, "20", "20", "30", "20"),
        ("150", -2, "200", "200", "200", "100"),
        ("0.5", 0, "1", "0", "1", "0"),
        ("0.15", 1, "0.2", "0.2", "0.2", "0.1"),
        ("0.0000000000005", 12, "0.000000000001", "0", "0.000000000001", "0"),
        ("9" * 30 + ".5", 0, "1" + "0" * 30, "1" + "0" * 30, "1" + "0" * 30, "9" * 30),
    ],
)
def test_tens_and_decimals(  # noqa: PLR0917
    quantity: str, precision: int, half_up: str, half_even: str, ceil: str, floor: str
) -> None:
    got = [apply_unit_rounding(Decimal(quantity), UnitRounding(mode=mode, precision=precision)) for mode in Rounding]
    assert got == [Decimal(text) for text in (half_up, half_even, ceil, floor)]


@given(
    quantity=st.fractions(min_value=-(10**6), max_value=10**6),
    precision=st.integers(-12, 12),
    mode=st.sampled_from(Rounding),
    divide_by=st.sampled_from(["1", "3", "0.125", "1000000000"]),
)
def test_unit_rounding_agrees_with_the_naive_one(
    quantity: Fraction, precision: int, mode: Rounding, divide_by: str
) -> None:
    rounding = UnitRounding(mode=mode, precision=precision, divide_by=Decimal(divide_by))
    expected = rounded_to_places(quantity / Fraction(divide_by), precision, mode.value)
    assert Fraction(apply_unit_rounding(quantity, rounding)) == expected
    assert Fraction(quantity_decimal(quantity)) == rounded_to_places(quantity, 12, "half_even")


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"divide_by": "0"}, "divide_by"),
        ({"divide_by": "-0.5"}, "divide_by"),
        ({"divide_by": "x"}, "divide_by"),
        ({"precision": 13}, "precision"),
        ({"precision": -13}, "precision"),
        ({"precision": True}, "precision"),
        ({"mode": None}, "mode"),
        ({"scale": 1}, "scale"),
    ],
)
def test_a_refusal_names_the_place_in_the_whole_document(change: dict[str, Any], key: str) -> None:
    """S089: where the rounding stands inside another document, the path begins there."""
    with pytest.raises(EngineError) as refusal:
        unit_rounding_from_document({"mode": "ceil", **change}, path="meters[3].rounding")
    assert refusal.value.path == f"meters[3].rounding.{key}"


def test_the_smallest_divisor_and_the_bounds_of_precision_are_allowed() -> None:
    for precision in (-12, 0, 12):
        rounding = unit_rounding_from_document({"mode": "ceil", "precision": precision, "divide_by": "0.000001"})
        assert rounding == UnitRounding(mode=Rounding.CEIL, precision=precision, divide_by=Decimal("0.000001"))
    assert unit_rounding_from_document({"mode": "floor"}).precision == 0
