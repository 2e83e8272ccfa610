"""Discounts and commitments at their edges: a line of one cent, what is stored as evidence, what is left out."""

from decimal import Decimal
from fractions import Fraction

import pytest

from apps.engine.commitments import CommitmentTerms, commitment_lines
from apps.engine.discounts import DiscountableLine, DiscountKind, DiscountTerms, discounts_apply
from apps.engine.errors import UnitsOutOfRange
from apps.engine.money import Rounding
from tests.engine.strategies import day

TENTH = DiscountTerms(
    id="7",
    code="tenth",
    name="A tenth off",
    kind=DiscountKind.PERCENT,
    percent=Decimal("10.0"),
    applied_at=day(2026, 1, 1),
)
FIVER = DiscountTerms(
    id="8",
    code="fiver",
    name="Five off",
    kind=DiscountKind.FIXED,
    amount_minor=500,
    currency="EUR",
    applied_at=day(2026, 1, 1),
    charges=("calls",),
    plans=("growth", "scale"),
)


@pytest.mark.parametrize(("net_minor", "is_meant"), [(-1, False), (0, False), (1, True)])
def test_a_line_has_something_to_take_from_one_minor_unit_on(net_minor: int, is_meant: bool) -> None:
    assert TENTH.is_for(DiscountableLine(code="calls", plan_code="growth", net_minor=net_minor)) is is_meant


def test_what_is_stored_of_a_discount() -> None:
    """S106: terms, what was taken and from which line, as text and whole numbers."""
    lines = [DiscountableLine(code=code, plan_code="growth", net_minor=1000) for code in ("fee", "calls")]
    result = discounts_apply(lines=lines, discounts=[TENTH, FIVER], currency="EUR")
    assert [entry.to_document() for entry in result.discounts] == [
        {
            "id": "8", "code": "fiver", "name": "Five off", "kind": "fixed", "amount_minor": 500, "currency": "EUR",
            "percent": None, "charges": ["calls"], "plans": ["growth", "scale"],
            "taken_minor": 500, "parts_minor": [0, 500],
        },
        {
            "id": "7", "code": "tenth", "name": "A tenth off", "kind": "percent", "amount_minor": None,
            "currency": None, "percent": "10", "charges": [], "plans": [],
            "taken_minor": 150, "parts_minor": [100, 50],
        },
    ]  # fmt: skip


def test_a_plain_commitment_has_neither_discount_nor_overage() -> None:
    plain = {"terms": CommitmentTerms(amount_minor=100), "currency": "USD", "rounding": Rounding.HALF_UP}
    assert commitment_lines(**plain, counted_minor=150) == ()
    assert [line.amount_minor for line in commitment_lines(**plain, counted_minor=40)] == [60]


@pytest.mark.parametrize(
    ("counted_minor", "currency", "covered"),
    [
        (30000, "USD", "300"),
        (30001, "USD", "300.01"),
        (100000, "USD", "5000/9"),
        (30000, "JPY", "30000"),
        (3005, "KWD", "3.005"),
    ],
)
def test_the_covered_list_value_is_stored_exactly(counted_minor: int, currency: str, covered: str) -> None:
    """S098: how much usage at list price the commitment pays for, in major units, with nothing rounded away."""
    terms = CommitmentTerms(amount_minor=50000, discount_percent=Decimal(10), overage_factor=Decimal("1.5"))
    lines = commitment_lines(terms=terms, counted_minor=counted_minor, currency=currency, rounding=Rounding.CEIL)
    stored = [line.usage["covered"] for line in lines if "covered" in line.usage]
    assert stored == [covered] * len(stored)
    assert stored


@pytest.mark.parametrize("factor", [Fraction(-1, 10**6), Fraction(-1), 1 + Fraction(1, 10**6)])
def test_a_part_of_a_period_lies_from_nothing_to_all(factor: Fraction) -> None:
    terms = CommitmentTerms(amount_minor=100)
    with pytest.raises(UnitsOutOfRange) as refusal:
        commitment_lines(terms=terms, counted_minor=0, factor=factor, currency="USD", rounding=Rounding.FLOOR)
    assert refusal.value.path == "factor"
