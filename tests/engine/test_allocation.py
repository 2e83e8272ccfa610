"""Allocation: the parts sum to the whole, whatever the weights."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.engine.allocation import allocate, split_evenly
from apps.engine.errors import InvalidAllocation


@pytest.mark.parametrize(
    ("total_minor", "weights", "parts"),
    [
        (10, [1, 1, 1], [4, 3, 3]),
        (-10, [1, 1, 1], [-4, -3, -3]),
        (100, [1, 2], [33, 67]),
        (1, [1, 1], [1, 0]),
        (7, [0, 1, 0], [0, 7, 0]),
        (5, [0, 0], [3, 2]),
        (0, [3, 4], [0, 0]),
        (0, [], []),
        (101, [Decimal("0.5"), Decimal("0.25"), Decimal("0.25")], [51, 25, 25]),
        (10, [Fraction(1, 3), Fraction(2, 3)], [3, 7]),
        (2, [1, 1, 1, 1], [1, 1, 0, 0]),
    ],
)
def test_golden_splits(total_minor: int, weights: list[int | Decimal | Fraction], parts: list[int]) -> None:
    assert allocate(total_minor, weights=weights) == parts


def test_yearly_price_splits_into_twelve_months_without_a_cent_more() -> None:
    """S250: 100.00 over twelve months collects 100.00, where rounding each month up collects 100.08."""
    months = split_evenly(10000, parts=12)
    assert sum(months) == 10000
    assert sorted(set(months)) == [833, 834]


def test_impossible_splits_are_refused() -> None:
    with pytest.raises(InvalidAllocation, match=r"weights\[1\]"):
        allocate(10, weights=[1, -1])
    with pytest.raises(InvalidAllocation, match="no part to take it"):
        allocate(10, weights=[])
    with pytest.raises(InvalidAllocation, match="at least 1"):
        split_evenly(10, parts=0)


@given(total_minor=st.integers(-(10**12), 10**12), weights=st.lists(st.integers(0, 10**9), min_size=1, max_size=12))
def test_parts_sum_to_the_whole_and_are_within_one_unit(total_minor: int, weights: list[int]) -> None:
    parts = allocate(total_minor, weights=weights)
    assert sum(parts) == total_minor
    assert allocate(-total_minor, weights=weights) == [-part for part in parts]
    if sum(weights):
        for part, weight in zip(parts, weights, strict=True):
            assert abs(part - Fraction(total_minor * weight, sum(weights))) < 1
            assert weight or part == 0


@given(total_minor=st.integers(0, 10**9), weights=st.lists(st.integers(0, 50), min_size=2, max_size=8))
def test_scaling_the_weights_changes_nothing(total_minor: int, weights: list[int]) -> None:
    scaled = [Decimal(weight) / 8 for weight in weights]
    assert allocate(total_minor, weights=scaled) == allocate(total_minor, weights=weights)
