"""Commitments: a discount up to it, another rate above it, the shortfall below it."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.engine.commitments import CommitmentLine, CommitmentTerms, commitment_lines
from apps.engine.errors import CurrencyUnknown, InvalidTerms, UnitsOutOfRange
from apps.engine.money import Rounding
from tests.engine.naive.commitments import commitment_total
from tests.engine.strategies import decimals_of, roundings


def lines(counted_minor: int, **options: Any) -> tuple[CommitmentLine, ...]:
    """Return the lines of a commitment of 500.00 with 10 percent off and a half more above it."""
    terms = {"amount_minor": 50000, "discount_percent": Decimal(10), "overage_factor": Decimal("1.5")}
    terms = {name: options.pop(name, value) for name, value in terms.items()}
    known: dict[str, Any] = {"currency": "USD", "rounding": Rounding.HALF_UP}
    return commitment_lines(terms=CommitmentTerms(**terms), counted_minor=counted_minor, **(known | options))


def amounts(found: tuple[CommitmentLine, ...]) -> dict[str, int]:
    """Return the amount per code."""
    return {line.code: line.amount_minor for line in found}


@pytest.mark.parametrize(
    ("counted_minor", "expected"),
    [
        (0, {"minimum_commitment": 50000}),
        (30000, {"commitment_discount": -3000, "minimum_commitment": 23000}),
        (55555, {"commitment_discount": -5555, "minimum_commitment": 0}),
        (55556, {"commitment_discount": -5556}),  # 555.5555... at list price are 500.00: covered to the cent
        (100000, {"commitment_discount": -5556, "commitment_overage": 22222}),
    ],
)
def test_commitment_golden_table(counted_minor: int, expected: dict[str, int]) -> None:
    """S098: 500.00 buys usage of 555.56 at list price; above it usage costs half more, below it the rest is due."""
    assert amounts(lines(counted_minor)) == {code: minor for code, minor in expected.items() if minor}
    assert counted_minor + sum(line.amount_minor for line in lines(counted_minor)) >= 50000


@pytest.mark.parametrize(
    ("counted_minor", "total_minor"), [(8000, 10000), (10000, 10000), (13000, 14500), (20000, 25000)]
)
def test_overage_alone(counted_minor: int, total_minor: int) -> None:
    """S098: a commitment of 100 with a factor of 1.5 and no discount: 80 costs 100, and 130 costs 145."""
    found = lines(counted_minor, amount_minor=10000, discount_percent=Decimal(0))
    assert "commitment_discount" not in amounts(found)
    assert counted_minor + sum(amounts(found).values()) == total_minor


def test_a_factor_of_zero_makes_usage_above_the_commitment_free() -> None:
    found = lines(130000, discount_percent=Decimal(0), overage_factor=Decimal(0))
    assert amounts(found) == {"commitment_overage": -80000}


def test_a_factor_of_one_leaves_list_prices_above_the_commitment() -> None:
    assert amounts(lines(130000, discount_percent=Decimal(0), overage_factor=Decimal(1))) == {}


def test_the_commitment_shrinks_with_the_period() -> None:
    """S098: half a month commits to half the amount; no served part, to nothing."""
    assert amounts(lines(0, factor=Fraction(1, 2))) == {"minimum_commitment": 25000}
    assert amounts(lines(0, factor=Fraction(1, 3))) == {"minimum_commitment": 16667}
    assert amounts(lines(0, factor=Fraction(0))) == {}


def test_what_earlier_documents_billed_counts() -> None:
    assert amounts(lines(10000, billed_before_minor=20000)) == amounts(lines(30000))


@pytest.mark.parametrize(
    ("fields", "path", "remedy"),
    [
        ({"discount_percent": Decimal(100)}, "commitment.discount_percent", "use a base fee"),
        ({"discount_percent": Decimal(-1)}, "commitment.discount_percent", "from 0"),
        ({"overage_factor": Decimal(-1)}, "commitment.overage_factor", "zero or more"),
        ({"overage_factor": Decimal("Infinity")}, "commitment.overage_factor", "zero or more"),
        ({"amount_minor": -1}, "commitment.amount", "below zero"),
    ],
)
def test_commitments_that_cannot_be_kept_are_refused(fields: dict[str, Any], path: str, remedy: str) -> None:
    with pytest.raises(InvalidTerms, match=remedy) as refusal:
        lines(0, **fields)
    assert refusal.value.path == path


def test_facts_that_cannot_be_are_refused() -> None:
    with pytest.raises(UnitsOutOfRange) as refusal:
        lines(-1)
    assert refusal.value.path == "counted_minor"
    with pytest.raises(UnitsOutOfRange, match="from 0 to 1"):
        lines(0, factor=Fraction(3, 2))
    with pytest.raises(CurrencyUnknown):
        lines(0, currency="")


@given(
    amount_minor=st.integers(0, 10**7),
    counted_minor=st.integers(0, 10**8),
    discount=decimals_of(units_max=99, digits=2),
    overage=decimals_of(units_max=3, digits=2),
    rounding=roundings,
)
def test_lines_come_to_the_total(
    amount_minor: int, counted_minor: int, discount: Decimal, overage: Decimal, rounding: Rounding
) -> None:
    """S098: usage at list price and the lines make what is paid: at most a rounding of each of the two lines away."""
    found = lines(
        counted_minor,
        amount_minor=amount_minor,
        discount_percent=discount,
        overage_factor=overage,
        rounding=rounding,
    )
    total_minor = counted_minor + sum(line.amount_minor for line in found)
    exact = commitment_total(
        listed=Fraction(counted_minor),
        amount=Fraction(amount_minor),
        discount_percent=Fraction(discount),
        overage=Fraction(overage),
    )
    assert abs(total_minor - exact) < 2
    if exact == amount_minor:
        assert total_minor == amount_minor
    assert all(line.amount_minor for line in found)
