"""Charge models: golden tables, a naive second implementation, and properties that hold for all terms."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.engine.charge_models import ChargeTerms, RatedLine, charge_from_document, rate_charge
from apps.engine.errors import CurrencyUnknown, UnitsOutOfRange
from apps.engine.hashing import canonical_json
from apps.engine.money import Rounding, round_to_minor
from tests.engine.strategies import (
    any_terms,
    currency_codes,
    factors,
    graduated_terms,
    halves,
    quantities,
    roundings,
    short_ladders,
    thin_factors,
)

STEPS_OF_TEN: dict[str, Any] = {
    "code": "seats",
    "meter": "seats",
    "model": "graduated",
    "tiers": [
        {"up_to": "10", "unit_rate": "5.00", "flat_fee": "2.00"},
        {"up_to": "20", "unit_rate": "4.00", "flat_fee": "1.00"},
        {"up_to": None, "unit_rate": "3.00", "flat_fee": "0"},
    ],
}
CALLS: dict[str, Any] = {
    "code": "calls",
    "meter": "calls",
    "model": "graduated",
    "included_units": "10000",
    "tiers": [{"up_to": "100000", "unit_rate": "0.005"}, {"up_to": None, "unit_rate": "0.003"}],
    "max_amount": "5000.00",
}
RATE: dict[str, Any] = {"code": "egress", "meter": "egress", "model": "per_unit", "unit_rate": "0.0825"}
FEE: dict[str, Any] = {"code": "base_fee", "model": "flat", "amount": "99.00"}


def rated(document: dict[str, Any], units: str, **options: Any) -> RatedLine:
    """Rate a document in dollars, half up, for a whole period, unless the options say otherwise."""
    currency = options.pop("currency", "USD")
    terms = charge_from_document(document, currency=currency, path="charge")
    options.setdefault("rounding", Rounding.HALF_UP)
    return rate_charge(terms=terms, quantity=Decimal(units), currency=currency, **options)


@pytest.mark.parametrize(
    ("units", "with_flat_at_zero", "without"),
    [
        ("0", 200, 0),
        ("1", 700, 700),
        ("10", 5200, 5200),
        ("10.5", 5500, 5500),
        ("11", 5700, 5700),
        ("20", 9300, 9300),
        ("25", 10800, 10800),
    ],
)
def test_graduated_golden_table(units: str, with_flat_at_zero: int, without: int) -> None:
    assert rated(STEPS_OF_TEN, units).amount_minor == with_flat_at_zero
    assert rated({**STEPS_OF_TEN, "flat_at_zero": False}, units).amount_minor == without


@pytest.mark.parametrize(
    ("units", "amount_minor"),
    [("0", 0), ("9999", 0), ("10000", 0), ("10001", 1), ("100000", 45000), ("120000", 51000), ("9000000", 500000)],
)
def test_graduated_with_included_units_and_maximum(units: str, amount_minor: int) -> None:
    """S091: included units lie at the bottom of the ladder, and its bounds count them."""
    assert rated(CALLS, units).amount_minor == amount_minor


@pytest.mark.parametrize(
    ("units", "with_flat_at_zero", "without"),
    [
        ("0", 200, 0),  # the first tier's fee is due from zero units on, whatever is included
        ("10", 200, 0),
        ("15", 200, 0),
        ("15.5", 500, 300),  # the first billable units lie in the second tier: half a unit at 4.00, and its fee
        ("20", 2300, 2100),
        ("21", 2600, 2400),
    ],
)
def test_included_units_that_fill_a_tier(units: str, with_flat_at_zero: int, without: int) -> None:
    """S091: a tier whose units are all included prices none, and its fee is not due unless zero units are enough."""
    document = {**STEPS_OF_TEN, "included_units": "15"}
    assert rated(document, units).amount_minor == with_flat_at_zero
    line = rated({**document, "flat_at_zero": False}, units)
    assert line.amount_minor == without
    assert "1" not in {step.tier for step in line.steps}


def test_published_example_of_a_pricing_document() -> None:
    """99.00, 90,000 x 0.005 and 20,000 x 0.003 are 609.00, as somebody reads it from a price page."""
    fee, calls = rated(FEE, "1"), rated(CALLS, "120000")
    assert fee.amount_minor + calls.amount_minor == 60900
    assert [(step.kind, step.units, step.amount) for step in calls.steps] == [
        ("included", "10000", "0"),
        ("tier", "90000", "450"),
        ("tier", "20000", "60"),
    ]
    assert calls.billable_quantity == 110000


@pytest.mark.parametrize(
    ("units", "amount_minor"), [("0", 0), ("100", 0), ("100.5", 4), ("101", 8), ("102", 17), ("1100", 8250)]
)
def test_overage_golden_table(units: str, amount_minor: int) -> None:
    """S092: what lies above the included units is priced at the rate, and nothing below them."""
    assert rated({**RATE, "model": "overage", "included_units": "100"}, units).amount_minor == amount_minor
    # The preset is per unit with included units, and nothing else.
    assert rated({**RATE, "included_units": "100"}, units).amount_minor == amount_minor


@pytest.mark.parametrize(
    ("limits", "units", "amount_minor"),
    [
        ({"min_amount": "50.00", "max_amount": "100.00"}, "30", 5000),
        ({"min_amount": "50.00", "max_amount": "100.00"}, "70", 7000),
        ({"min_amount": "50.00", "max_amount": "100.00"}, "130", 10000),
        ({"min_amount": "50.00"}, "0", 5000),
        ({"max_amount": "100.00"}, "100", 10000),
    ],
)
def test_minimum_and_maximum(limits: dict[str, str], units: str, amount_minor: int) -> None:
    line = rated({**RATE, "unit_rate": "1.00", **limits}, units)
    assert line.amount_minor == amount_minor
    assert sum(Fraction(step.amount) for step in line.steps) == line.amount_exact


@pytest.mark.parametrize(
    ("mode", "amount_minor"),
    [(Rounding.HALF_UP, 13), (Rounding.HALF_EVEN, 12), (Rounding.CEIL, 13), (Rounding.FLOOR, 12)],
)
def test_one_rounding_at_the_end(mode: Rounding, amount_minor: int) -> None:
    """S250: 0.125 is exact until the last step, where the mode is named."""
    assert rated({**RATE, "unit_rate": "0.0125"}, "10", rounding=mode).amount_minor == amount_minor


@pytest.mark.parametrize(("currency", "amount_minor"), [("JPY", 8), ("USD", 825), ("KWD", 8250), ("CLF", 82500)])
def test_amounts_follow_the_digits_of_the_currency(currency: str, amount_minor: int) -> None:
    """S250: the same price in four currencies is four numbers of minor units."""
    assert rated(RATE, "100", currency=currency).amount_minor == amount_minor


def test_fee_for_a_part_of_the_period() -> None:
    half_month = Fraction(15, 31)
    line = rated(FEE, "1", factor=half_month)
    assert line.amount_exact == Fraction(99) * half_month
    assert line.amount_minor == 4790
    assert rated({**FEE, "prorate": False}, "1", factor=half_month).amount_minor == 9900


def test_limits_and_included_units_shrink_only_when_told() -> None:
    document = {**CALLS, "min_amount": "10.00"}
    half = Fraction(1, 2)
    assert rated(document, "10000", factor=half).amount_minor == 1000
    shrunk = {**document, "prorate": True}
    assert rated(shrunk, "10000", factor=half).amount_minor == 2500  # 5000 included, 5000 at 0.005
    assert rated(shrunk, "0", factor=half).amount_minor == 500
    assert rated(shrunk, "9000000", factor=half).amount_minor == 250000


def test_currency_is_required_even_when_the_amount_is_zero() -> None:
    """S251: a rate of zero does not make the currency optional."""
    terms = charge_from_document({**RATE, "unit_rate": "0"}, currency="USD", path="charge")
    with pytest.raises(CurrencyUnknown):
        rate_charge(terms=terms, quantity=Decimal(0), currency="", rounding=Rounding.HALF_UP)


@pytest.mark.parametrize("units", ["-1", "-0.000001", "NaN", "Infinity", "1000000000000000000000000000001"])
def test_quantities_that_cannot_be_priced_are_refused(units: str) -> None:
    with pytest.raises(UnitsOutOfRange, match="correct the usage") as refusal:
        rated(RATE, units)
    assert refusal.value.path == "quantity"


@pytest.mark.parametrize("factor", [Fraction(-1, 2), Fraction(3, 2)])
def test_factor_is_a_part_of_a_period(factor: Fraction) -> None:
    with pytest.raises(UnitsOutOfRange, match="from 0 to 1"):
        rated(FEE, "1", factor=factor)


def test_steps_are_exact_text() -> None:
    line = rated({**STEPS_OF_TEN, "included_units": "2"}, "13.5")
    assert [step.to_document() for step in line.steps] == [
        {"kind": "included", "from_units": "0", "to_units": "2", "units": "2", "rate": "0", "amount": "0"},
        {
            "kind": "tier",
            "tier": "1",
            "from_units": "0",
            "to_units": "10",
            "units": "8",
            "rate": "5",
            "flat_fee": "2",
            "amount": "42",
        },
        {
            "kind": "tier",
            "tier": "2",
            "from_units": "10",
            "to_units": "20",
            "units": "3.5",
            "rate": "4",
            "flat_fee": "1",
            "amount": "15",
        },
    ]
    assert line.billable_quantity == Fraction(23, 2)


def test_line_document_is_text_only() -> None:
    """S252: what a line says depends on its inputs; there is no field for a time."""
    document = rated(CALLS, "120000").to_document()
    assert document | {"steps": [], "input_hash": "", "output_hash": ""} == {
        "code": "calls",
        "model": "graduated",
        "quantity": "120000",
        "billable_quantity": "110000",
        "amount_exact": "510",
        "amount_minor": "51000",
        "amount": "510.00",
        "currency": "USD",
        "rounding": "half_up",
        "factor": "1",
        "steps": [],
        "input_hash": "",
        "output_hash": "",
    }
    for step in document["steps"]:
        assert all(isinstance(value, str) for value in step.values())


def naive_graduated(terms: ChargeTerms, units: Fraction) -> Fraction:
    """Price each tier from scratch, in fractions, without looking at the code under test."""
    amount, lower = Fraction(0), Fraction(0)
    for tier in terms.tiers:
        upper = units if tier.up_to is None else Fraction(tier.up_to)
        billable = max(Fraction(0), min(units, upper) - max(Fraction(terms.included_units), lower))
        amount += billable * Fraction(tier.unit_rate)
        if billable or (lower == 0 and terms.flat_at_zero):
            amount += Fraction(tier.flat_fee)
        lower = upper
    return amount


def graduated_slice_by_slice(terms: ChargeTerms, quantity: Decimal, factor: Fraction) -> Fraction:
    """Price the units one by one, in slices so thin that neither a bound nor the end of the included units cuts one."""
    included = Fraction(terms.included_units) * (factor if terms.prorate else 1)
    width = Fraction(1, 2 * factor.denominator)
    amount, entered = Fraction(0), {0} if terms.flat_at_zero else set()
    for number in range(1, int(Fraction(quantity) / width) + 1):
        end = number * width
        if end <= included:
            continue
        position = next(at for at, tier in enumerate(terms.tiers) if tier.up_to is None or end <= Fraction(tier.up_to))
        amount += width * Fraction(terms.tiers[position].unit_rate)
        entered.add(position)
    return amount + sum(Fraction(terms.tiers[position].flat_fee) for position in entered)


@given(terms=graduated_terms(), quantity=quantities, currency=currency_codes, rounding=roundings)
def test_graduated_agrees_with_a_naive_second_implementation(
    terms: ChargeTerms, quantity: Decimal, currency: str, rounding: Rounding
) -> None:
    line = rate_charge(terms=terms, quantity=quantity, currency=currency, rounding=rounding)
    expected = naive_graduated(terms, Fraction(quantity))
    assert line.amount_exact == expected
    assert line.amount_minor == round_to_minor(expected, currency=currency, rounding=rounding)


@given(terms=short_ladders(), quantity=halves, factor=thin_factors)
def test_graduated_agrees_with_pricing_slice_by_slice(terms: ChargeTerms, quantity: Decimal, factor: Fraction) -> None:
    """S091: whatever part of the ladder the included units cover, each later unit costs the rate of where it lies."""
    line = rate_charge(terms=terms, quantity=quantity, currency="USD", rounding=Rounding.HALF_UP, factor=factor)
    assert line.amount_exact == graduated_slice_by_slice(terms, quantity, factor)


@given(terms=any_terms(), first=quantities, second=quantities, rounding=roundings)
def test_more_units_never_cost_less(terms: ChargeTerms, first: Decimal, second: Decimal, rounding: Rounding) -> None:
    fewer, more = (
        rate_charge(terms=terms, quantity=units, currency="USD", rounding=rounding) for units in sorted((first, second))
    )
    assert fewer.amount_exact <= more.amount_exact
    assert fewer.amount_minor <= more.amount_minor


@given(terms=any_terms(), quantity=quantities, factor=factors, rounding=roundings)
def test_steps_sum_to_the_exact_amount(
    terms: ChargeTerms, quantity: Decimal, factor: Fraction, rounding: Rounding
) -> None:
    line = rate_charge(terms=terms, quantity=quantity, currency="USD", rounding=rounding, factor=factor)
    assert sum(Fraction(step.amount) for step in line.steps) == line.amount_exact
    units = {Fraction(step.units) for step in line.steps if step.kind == "tier"}
    assert not units or sum(Fraction(s.units) for s in line.steps if s.kind == "tier") == line.billable_quantity


@given(terms=graduated_terms(), bound=st.integers(0, 5))
def test_price_rises_at_a_bound_by_the_next_fee_and_rate_only(terms: ChargeTerms, bound: int) -> None:
    """No cliff: a little more at a bound costs that much of the next rate and the next fee, or nothing if included."""
    if bound >= len(terms.tiers) - 1:
        return
    edge, step = terms.tiers[bound].up_to, Decimal("0.0001")
    at_edge, after = (
        rate_charge(terms=terms, quantity=units, currency="USD", rounding=Rounding.HALF_UP).amount_exact
        for units in (edge, edge + step)
    )
    if edge < terms.included_units:
        assert after == at_edge
        return
    fee = terms.tiers[bound + 1].flat_fee
    assert after - at_edge == Fraction(fee) + Fraction(step) * Fraction(terms.tiers[bound + 1].unit_rate)


@given(terms=any_terms(), quantity=quantities, factor=factors, rounding=roundings)
def test_rating_is_deterministic(terms: ChargeTerms, quantity: Decimal, factor: Fraction, rounding: Rounding) -> None:
    """S105: no state and no side effect: rating twice gives the same document, the hashes of input and output too."""
    lines = [
        rate_charge(terms=terms, quantity=quantity, currency="USD", rounding=rounding, factor=factor) for _ in range(2)
    ]
    assert canonical_json(lines[0].to_document()) == canonical_json(lines[1].to_document())


@given(terms=any_terms(), quantity=quantities, more=st.integers(1, 1000))
def test_hashes_tell_inputs_apart(terms: ChargeTerms, quantity: Decimal, more: int) -> None:
    """S106: equal inputs have equal hashes; another quantity, currency or rounding has another."""

    def line(**changed: Any) -> RatedLine:
        inputs = {"terms": terms, "quantity": quantity, "currency": "USD", "rounding": Rounding.HALF_UP}
        return rate_charge(**(inputs | changed))

    base = line()
    assert line(quantity=quantity + 0).input_hash == base.input_hash
    assert line(quantity=Decimal(f"{quantity:f}" + ("0" if "." in f"{quantity:f}" else ".0"))) == base
    for changed in (
        {"quantity": quantity + more},
        {"currency": "EUR"},
        {"rounding": Rounding.FLOOR},
        {"factor": Fraction(1, 3)},
    ):
        assert line(**changed).input_hash != base.input_hash
