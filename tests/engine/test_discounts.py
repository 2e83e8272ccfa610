"""Discounts: what each takes, from which lines, in which order, and never more than there is."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.engine.discounts import DiscountableLine, DiscountKind, DiscountResult, DiscountTerms, discounts_apply
from apps.engine.errors import CurrencyMismatch, InvalidDiscount
from tests.engine.strategies import day

NEW_YEAR = day(2026, 1, 1)


def line(code: str, net_minor: int, plan_code: str = "growth") -> DiscountableLine:
    return DiscountableLine(code=code, plan_code=plan_code, net_minor=net_minor)


def fixed(code: str, amount_minor: int, **options: Any) -> DiscountTerms:
    known: dict[str, Any] = {"id": code, "code": code, "name": code, "applied_at": NEW_YEAR, "currency": "EUR"}
    return DiscountTerms(kind=DiscountKind.FIXED, amount_minor=amount_minor, **(known | options))


def percent(code: str, percentage: str, **options: Any) -> DiscountTerms:
    known: dict[str, Any] = {"id": code, "code": code, "name": code, "applied_at": NEW_YEAR}
    return DiscountTerms(kind=DiscountKind.PERCENT, percent=Decimal(percentage), **(known | options))


def applied(lines: list[DiscountableLine], *discounts: DiscountTerms) -> DiscountResult:
    return discounts_apply(lines=lines, discounts=discounts, currency="EUR")


MONTH = [line("base_fee", 9900), line("api_calls", 51000), line("egress", 0)]


@pytest.mark.parametrize(
    ("discount", "parts_minor"),
    [
        (percent("tenth", "10"), (990, 5100, 0)),
        (percent("all", "100"), (9900, 51000, 0)),
        (percent("odd", "12.5"), (1238, 6375, 0)),  # 76.125 in all rounds to 76.13; the fee has the larger remainder
        (fixed("ten", 1000), (163, 837, 0)),
        (fixed("too_much", 100_000), (9900, 51000, 0)),
        (fixed("on_calls", 60_000, charges=("api_calls",)), (0, 51000, 0)),
        (percent("on_nothing", "50", charges=("storage",)), (0, 0, 0)),
        (percent("other_plan", "50", plans=("starter",)), (0, 0, 0)),
        (percent("this_plan", "50", plans=("starter", "growth")), (4950, 25500, 0)),
        (percent("both", "50", plans=("starter",), charges=("api_calls",)), (0, 0, 0)),
    ],
    ids=lambda value: value.code if isinstance(value, DiscountTerms) else "",
)
def test_golden_discounts(discount: DiscountTerms, parts_minor: tuple[int, ...]) -> None:
    result = applied(MONTH, discount)
    assert [entry.parts_minor for entry in result.discounts] == [parts_minor]
    assert (result.line_totals_minor, result.total_minor) == (parts_minor, sum(parts_minor))
    assert result.discounts[0].amount_minor == sum(parts_minor)


def test_order_is_by_reach_then_kind_then_age() -> None:
    """Limited to charges, limited to plans, general; fixed before percent; older before younger."""
    older = NEW_YEAR - timedelta(days=1)
    ordered = [
        fixed("charge_fixed", 1, charges=("api_calls",)),
        percent("charge_percent", "1", charges=("api_calls",), plans=("growth",), applied_at=older),
        fixed("plan_fixed", 1, plans=("growth",)),
        percent("plan_percent", "1", plans=("growth",), applied_at=older),
        fixed("older_fixed", 1, applied_at=older),
        fixed("a_fixed", 1),
        fixed("b_fixed", 1),
        percent("older_percent", "1", applied_at=older),
        percent("percent", "1"),
    ]
    result = applied(MONTH, *reversed(ordered))
    assert [entry.terms.code for entry in result.discounts] == [terms.code for terms in ordered]


def test_a_discount_takes_from_what_those_before_it_left() -> None:
    result = applied([line("base_fee", 10_000)], percent("half", "50"), fixed("twenty", 2_000))
    assert [(entry.terms.code, entry.amount_minor) for entry in result.discounts] == [("twenty", 2000), ("half", 4000)]


def test_credits_are_left_alone() -> None:
    """What is given back was discounted, or not, when it was billed."""
    result = applied([line("base_fee", 1000), line("base_fee", -500)], fixed("ten", 1000))
    assert result.line_totals_minor == (1000, 0)


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"kind": DiscountKind.FIXED, "currency": "EUR"}, "amount_minor"),
        ({"kind": DiscountKind.FIXED, "amount_minor": 0, "currency": "EUR"}, "amount_minor"),
        ({"kind": DiscountKind.FIXED, "amount_minor": 1}, "currency"),
        ({"kind": DiscountKind.FIXED, "amount_minor": 1, "currency": "EUR", "percent": Decimal(1)}, "percent"),
        ({"kind": DiscountKind.PERCENT}, "percent"),
        ({"kind": DiscountKind.PERCENT, "percent": Decimal(0)}, "percent"),
        ({"kind": DiscountKind.PERCENT, "percent": Decimal("100.01")}, "percent"),
        ({"kind": DiscountKind.PERCENT, "percent": Decimal("NaN")}, "percent"),
        ({"kind": DiscountKind.PERCENT, "percent": Decimal(1), "amount_minor": 1}, "amount_minor"),
    ],
)
def test_terms_that_say_nothing_or_two_things_are_refused(options: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidDiscount) as refusal:
        DiscountTerms(id="x", code="X", name="X", applied_at=NEW_YEAR, **options)
    assert refusal.value.path == f"discounts.X.{path}"


def test_twice_the_same_and_another_currency_are_refused() -> None:
    with pytest.raises(InvalidDiscount, match="twice"):
        applied(MONTH, fixed("ten", 1000), fixed("ten", 1000))
    with pytest.raises(CurrencyMismatch, match="in USD, the lines in EUR"):
        applied(MONTH, fixed("ten", 1000, currency="USD"))


_lines = st.lists(
    st.builds(
        line, st.sampled_from(["a", "b", "c"]), st.integers(-(10**6), 10**9), st.sampled_from(["growth", "scale"])
    ),
    max_size=8,
)
_limits = {
    "charges": st.sampled_from([(), ("a",), ("a", "c")]),
    "plans": st.sampled_from([(), ("growth",)]),
    "applied_at": st.integers(0, 3).map(lambda days: NEW_YEAR + timedelta(days=days)),
}
_percentages = st.integers(1, 10_000).map(lambda scaled: str(Decimal(scaled) / 100))
_discounts = st.lists(
    st.one_of(
        st.builds(fixed, st.uuids().map(str), st.integers(1, 10**8), **_limits),
        st.builds(percent, st.uuids().map(str), _percentages, **_limits),
    ),
    max_size=5,
    unique_by=lambda terms: terms.id,
)


@given(lines=_lines, discounts=_discounts)
def test_parts_sum_and_no_line_falls_below_zero(lines: list[DiscountableLine], discounts: list[DiscountTerms]) -> None:
    result = applied(lines, *discounts)
    for entry in result.discounts:
        assert entry.amount_minor == sum(entry.parts_minor)
        assert all(part_minor >= 0 for part_minor in entry.parts_minor)
        assert entry.terms.amount_minor is None or entry.amount_minor <= entry.terms.amount_minor
    by_line = zip(*(entry.parts_minor for entry in result.discounts), strict=True) if discounts else [()] * len(lines)
    assert list(result.line_totals_minor) == [sum(parts_minor) for parts_minor in by_line]
    for given_line, taken_minor in zip(lines, result.line_totals_minor, strict=True):
        assert 0 <= taken_minor <= max(given_line.net_minor, 0)


@given(lines=_lines, discounts=_discounts, data=st.data())
def test_order_of_the_input_does_not_matter(
    lines: list[DiscountableLine], discounts: list[DiscountTerms], data: st.DataObject
) -> None:
    assert applied(lines, *data.draw(st.permutations(discounts))) == applied(lines, *discounts)


@given(lines=_lines, discounts=_discounts)
def test_a_hundred_percent_leaves_nothing(lines: list[DiscountableLine], discounts: list[DiscountTerms]) -> None:
    result = applied(lines, *discounts, percent("all", "100"))
    assert list(result.line_totals_minor) == [max(given_line.net_minor, 0) for given_line in lines]
