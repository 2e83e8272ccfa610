"""Aggregation and unit rounding: exact, in one step, after everything was added."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.engine.aggregation import Aggregation, Operation, Reading, aggregate, fold_readings, start_fold
from apps.engine.errors import EngineError, InvalidDecimal, InvalidPeriod, InvalidTerms, UnitsOutOfRange
from apps.engine.exact import Rounding
from apps.engine.unit_rounding import (
    UnitRounding,
    apply_unit_rounding,
    quantity_decimal,
    unit_rounding_from_document,
)
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
        (Aggregation.MIN, [], "0"),
        (Aggregation.MIN, ["3", "0.5", "7"], "0.5"),
        (Aggregation.LATEST, [], "0"),
        (Aggregation.LATEST, ["3", "7", "5"], "5"),
        (Aggregation.AVERAGE, [], "0"),
        (Aggregation.AVERAGE, ["1", "2", "4.5"], "2.5"),
        (Aggregation.AVERAGE, ["1", "0", "1"], "0.666666666667"),
        (Aggregation.AVERAGE, ["0.000000000001", "0"], "0"),
        (Aggregation.AVERAGE, ["0.000000000003", "0"], "0.000000000002"),
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


START = datetime(2026, 4, 1, tzinfo=UTC)
END = START + timedelta(days=30)


def _after(days: str, value: str = "1", label: str = "", operation: str = "add") -> Reading:
    seconds = int(Decimal(days) * 86_400)
    return Reading(START + timedelta(seconds=seconds), Decimal(value), label, Operation(operation))


def _folded(aggregation: str, *readings: Reading, carries_over: bool = False) -> Decimal | Fraction:
    return fold_readings(
        aggregation=Aggregation(aggregation),
        readings=readings,
        starts_at=START,
        ends_at=END,
        carries_over=carries_over,
    )


def test_a_weighted_sum_weighs_each_level_by_the_time_it_lasted() -> None:
    """S100: +10 at the beginning and -4 after 15 of 30 days are 10 x 15/30 + 6 x 15/30 = 8."""
    assert _folded("weighted_sum", _after("0", "10"), _after("15", "-4")) == 8
    assert _folded("weighted_sum", _after("10", "1")) == Fraction(2, 3)
    assert _folded("weighted_sum", _after("29.5", "60"), _after("30", "1000")) == 1
    assert _folded("weighted_sum") == 0


def test_a_weighted_sum_that_carries_over_begins_with_the_level_before() -> None:
    before = (_after("-400", "12"), _after("-0.5", "-2"))
    assert _folded("weighted_sum", *before, _after("15", "-4"), carries_over=True) == 8
    assert _folded("weighted_sum", *before, carries_over=True) == 10
    assert _folded("weighted_sum", *before, _after("15", "-4")) == -2


@pytest.mark.parametrize(
    ("operations", "before", "count"),
    [
        ("", "", 0),
        ("+a +b", "", 2),
        ("+a +a +b -b -b", "", 1),
        ("-a +a", "", 1),
        ("+a -a +a -a", "", 0),
        ("-a", "+a +b", 1),
        ("+a", "+a +b", 2),
        ("-c", "+a -b +b", 2),
    ],
)
def test_a_unique_count_with_operations_counts_what_is_there_at_the_end(
    operations: str, before: str, count: int
) -> None:
    """Equal operations that are repeated cancel out: adding what is there, or removing what is not, changes nothing."""

    def readings(text: str, first_day: int) -> list[Reading]:
        return [
            _after(str(first_day + day), label=item[1:], operation="add" if item[0] == "+" else "remove")
            for day, item in enumerate(text.split())
        ]

    told = [*readings(before, -10), *readings(operations, 0)]
    assert _folded("unique_count", *told, carries_over=True) == count
    assert _folded("unique_count", *readings(operations, 0)) == _folded("unique_count", *told)


def test_a_plain_unique_count_tells_texts_apart() -> None:
    labels = ("a", "A", "a ", "1", "1.0", "a")
    assert _folded("unique_count", *(_after("1", label=label) for label in labels)) == 5


def test_a_window_is_half_open_and_ties_go_by_arrival() -> None:
    early, first, tie, late = _after("-0.1", "9"), _after("0", "1"), _after("0", "2"), _after("30", "9")
    assert _folded("latest", late, first, tie, early) == 2
    assert _folded("latest", late, tie, first, early) == 1
    assert _folded("count", late, first, tie, early) == 2
    assert _folded("unique_count", _after("3", label="x"), _after("3", label="x", operation="remove")) == 0
    assert _folded("unique_count", _after("3", label="x", operation="remove"), _after("3", label="x")) == 1


def test_a_window_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(InvalidPeriod, match="ends_at"):
        fold_readings(aggregation=Aggregation.COUNT, readings=[], starts_at=END, ends_at=START)


@pytest.mark.parametrize("aggregation", [Aggregation.UNIQUE_COUNT, Aggregation.WEIGHTED_SUM])
def test_values_alone_do_not_say_what_some_aggregations_need(aggregation: Aggregation) -> None:
    with pytest.raises(InvalidTerms, match="fold_readings"):
        aggregate(aggregation=aggregation, values=[Decimal(1)])


def test_only_what_has_a_state_goes_on_into_the_next_window() -> None:
    with pytest.raises(InvalidTerms, match="carried over"):
        start_fold(aggregation=Aggregation.SUM, starts_at=START).next_window(starts_at=END)


deltas = st.lists(
    st.tuples(st.integers(min_value=-(10**6), max_value=45 * 86_400), st.integers(min_value=-(10**9), max_value=10**9)),
    max_size=20,
)


@given(drawn=deltas, cut=st.integers(min_value=1, max_value=30 * 86_400 - 1), carries_over=st.booleans())
def test_windows_that_carry_over_tile(drawn: list[tuple[int, int]], cut: int, carries_over: bool) -> None:
    """The area under a level that is carried over is the area of the parts, and a fold that goes on agrees."""
    readings = [Reading(START + timedelta(seconds=second), Decimal(delta) / 1000) for second, delta in drawn]
    middle = START + timedelta(seconds=cut)

    def area(starts_at: datetime, ends_at: datetime) -> Fraction:
        level = fold_readings(
            aggregation=Aggregation.WEIGHTED_SUM,
            readings=readings,
            starts_at=starts_at,
            ends_at=ends_at,
            carries_over=True,
        )
        return Fraction(level) * ((ends_at - starts_at) // timedelta(seconds=1))

    assert area(START, middle) + area(middle, END) == area(START, END)
    direct = sum(
        Fraction(reading.value) * Fraction((END - max(reading.occurred_at, START)) // timedelta(seconds=1), 30 * 86_400)
        for reading in readings
        if reading.occurred_at < END and (carries_over or reading.occurred_at >= START)
    )
    assert _folded("weighted_sum", *readings, carries_over=carries_over) == direct


@given(drawn=deltas, cut=st.integers(min_value=0, max_value=30 * 86_400))
def test_a_fold_that_goes_on_is_a_fold_that_carries_over(drawn: list[tuple[int, int]], cut: int) -> None:
    middle = START + timedelta(seconds=cut)
    for aggregation in (Aggregation.WEIGHTED_SUM, Aggregation.UNIQUE_COUNT):
        readings = sorted(
            (
                Reading(START + timedelta(seconds=second), Decimal(delta), str(delta % 3), list(Operation)[delta % 2])
                for second, delta in drawn
                if 0 <= second < 30 * 86_400
            ),
            key=lambda reading: reading.occurred_at,
        )
        fold = start_fold(aggregation=aggregation, starts_at=START)
        for reading in readings:
            if reading.occurred_at < middle:
                fold.add(reading)
        fold.next_window(starts_at=middle)
        for reading in readings:
            if reading.occurred_at >= middle:
                fold.add(reading)
        again = fold_readings(
            aggregation=aggregation, readings=readings, starts_at=middle, ends_at=END, carries_over=True
        )
        assert fold.quantity(ends_at=END) == again


def test_a_fraction_is_judged_exactly_by_a_unit_rounding_and_kept_to_twelve_decimals_without_one() -> None:
    hair_above_one = 1 + Fraction(1, 10**15)
    assert quantity_decimal(hair_above_one) == 1
    assert apply_unit_rounding(hair_above_one, None) == 1
    assert apply_unit_rounding(hair_above_one, UnitRounding(mode=Rounding.CEIL)) == 2
    assert apply_unit_rounding(Fraction(2, 3), None) == Decimal("0.666666666667")
    assert quantity_decimal(Fraction(-5, 2 * 10**12)) == Decimal("-0.000000000002")
