"""Golden tables of every charge model and modifier, as finance would check them by hand, and their limits."""

from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import pytest

from apps.engine.charge_models import (
    Basis,
    RatedLine,
    basis_needed,
    charge_from_document,
    fold_events,
    fold_units,
    rate_charge,
)
from apps.engine.errors import UnitsOutOfRange
from apps.engine.money import Rounding

TIERS = [
    {"up_to": "10", "unit_rate": "5.00", "flat_fee": "2.00"},
    {"up_to": "20", "unit_rate": "4.00", "flat_fee": "1.00"},
    {"up_to": None, "unit_rate": "3.00", "flat_fee": "0"},
]
RATE = {"model": "per_unit", "unit_rate": "1.00"}
CARD = {"model": "percentage", "rate_percent": "2", "fixed_fee": "0.30"}


def rated(charge: dict[str, Any], units: str = "0", *, basis: Any = None, **options: Any) -> RatedLine:
    """Rate a charge in dollars; a basis is made of event values, of groups of units, or given as it is."""
    terms = charge_from_document({"code": "x", "meter": "x", **charge}, currency="USD", path="charge")
    if isinstance(basis, list):
        basis = fold_events(terms, [Decimal(value) for value in basis])
    elif isinstance(basis, dict):
        basis = fold_units(terms, [({"region": name}, Decimal(count)) for name, count in basis.items()])
    if basis is not None:
        options["basis"] = basis
    options.setdefault("rounding", Rounding.HALF_UP)
    return rate_charge(terms=terms, quantity=Decimal(units), currency="USD", **options)


@pytest.mark.parametrize(
    ("units", "with_flat_at_zero", "without"),
    [
        ("0", 200, 0),
        ("1", 700, 700),
        ("10", 5200, 5200),
        ("10.5", 4300, 4300),  # the tier above prices all of it: 10.5 x 4 + 1
        ("11", 4500, 4500),  # one more unit than 10, and seven dollars less: the cliff of a volume price
        ("20", 8100, 8100),
        ("25", 7500, 7500),
    ],
)
def test_volume(units: str, with_flat_at_zero: int, without: int) -> None:
    """S096: the tier that holds all units prices them all."""
    charge = {"model": "volume", "tiers": TIERS}
    assert rated(charge, units).amount_minor == with_flat_at_zero
    assert rated({**charge, "flat_at_zero": False}, units).amount_minor == without


@pytest.mark.parametrize(
    ("units", "amount_minor"), [("0", 200), ("5", 200), ("6", 700), ("10", 2700), ("10.5", 2300), ("25", 6000)]
)
def test_volume_with_included_units(units: str, amount_minor: int) -> None:
    """S091: included units count for finding the tier and are not billed."""
    assert rated({"model": "volume", "tiers": TIERS, "included_units": "5"}, units).amount_minor == amount_minor


@pytest.mark.parametrize(
    ("units", "amount_minor"), [("0", 0), ("5", 0), ("5.1", 300), ("15", 300), ("16", 600), ("25.000001", 900)]
)
def test_package(units: str, amount_minor: int) -> None:
    """S096: packages of ten at 3.00 after five free units; a begun package is a whole one."""
    charge = {"model": "package", "package_size": "10", "package_price": "3.00", "included_units": "5"}
    assert rated(charge, units).amount_minor == amount_minor


@pytest.mark.parametrize(("seats", "factor", "amount_minor"), [("0", "1", 0), ("7", "1", 7000), ("7", "1/3", 2333)])
def test_flat_per_seat(seats: str, factor: str, amount_minor: int) -> None:
    """S096: the seat model: an amount for each of the subscription's seats, for the served part of the period."""
    fee = {"meter": None, "model": "flat", "amount": "10.00", "per_quantity": True}
    assert rated(fee, seats, factor=Fraction(factor)).amount_minor == amount_minor
    assert rated({**fee, "per_quantity": False}, seats).amount_minor == 1000


@pytest.mark.parametrize(
    ("limits", "events", "amount"),
    [
        ({}, [], "0"),
        ({}, ["100"], "2.3"),
        ({}, ["100", "50.55"], "3.611"),
        ({"free_events": "2"}, ["40", "50", "30", "200"], "5.2"),
        ({"free_amount": "100"}, ["40", "50", "30", "200"], "5"),  # 20 of the third event are charged
        # Whichever allowance ends first: here the events do, and the ten that were left of the amount are lost.
        ({"free_events": "2", "free_amount": "100"}, ["40", "50", "30", "200"], "5.2"),
        ({"free_events": "9", "free_amount": "60"}, ["40", "50", "30"], "1.8"),
        ({"free_amount": "90"}, ["40", "50", "30"], "0.9"),  # used up to the cent: the next event is charged whole
        # An allowance of zero is used up before the first event, and then the other one has ended, too.
        ({"free_events": "0"}, ["0"], "0.3"),
        ({"free_events": "0", "free_amount": "100"}, ["10"], "0.5"),
        ({"free_amount": "0"}, ["0", "10"], "0.8"),
        ({"min_per_event": "0.50"}, ["1", "10", "100"], "3.3"),  # 0.50 for the first; the second costs that anyway
        ({"max_per_event": "1.00"}, ["10", "35", "100", "1000"], "3.5"),
        ({"min_per_event": "1.00", "max_per_event": "1.00"}, ["0", "1000"], "2"),
        # What is charged of an event is clamped, not the event: 20 x 2 % + 0.30 = 0.70 is below 1.00.
        ({"free_amount": "100", "min_per_event": "1.00"}, ["120", "30"], "2"),
    ],
)
def test_percentage(limits: dict[str, str], events: list[str], amount: str) -> None:
    """S100: a transaction fee: per event, in order, less what is free, held between minimum and maximum."""
    assert rated({**CARD, **limits}, str(len(events)), basis=events).amount_exact == Fraction(amount)


@pytest.mark.parametrize(
    ("amount", "fee_minor"), [("0", 50), ("100", 150), ("100.5", 175), ("250", 250), ("1000", 625)]
)
def test_graduated_percentage(amount: str, fee_minor: int) -> None:
    """S100: 1 percent and 0.50 up to 100, 0.5 percent and 0.25 above it."""
    tiers = [
        {"up_to": "100", "rate_percent": "1", "flat_fee": "0.50"},
        {"up_to": None, "rate_percent": "0.5", "flat_fee": "0.25"},
    ]
    assert rated({"model": "graduated_percentage", "tiers": tiers}, amount).amount_minor == fee_minor


@pytest.mark.parametrize(("carried", "amount_minor"), [("0", 0), ("12.345", 1235), ("0.004", 0)])
def test_dynamic(carried: str, amount_minor: int) -> None:
    """S096: the sum of what the events carry, rounded once."""
    charge = {"model": "dynamic", "amount_property": "price"}
    assert rated(charge, "3", basis=Basis(amount=Decimal(carried))).amount_minor == amount_minor


@pytest.mark.parametrize(
    ("transform", "units", "amount_minor"),
    [
        ({"divide_by": "1000", "mode": "ceil"}, "1", 100),
        ({"divide_by": "1000", "mode": "ceil"}, "3001", 400),
        ({"divide_by": "1000", "mode": "floor"}, "999", 0),
        ({"divide_by": "3", "mode": "half_up", "precision": 2}, "10", 333),
        ({"mode": "ceil", "precision": -2}, "101", 20000),
    ],
)
def test_unit_transform(transform: dict[str, Any], units: str, amount_minor: int) -> None:
    """S095: measured units are divided and rounded before anything is priced."""
    assert rated({**RATE, "unit_transform": transform}, units).amount_minor == amount_minor


def test_included_units_come_after_the_transform() -> None:
    """S095: 2,500 bytes are 3 kilobytes, of which 2 are included."""
    transform = {"divide_by": "1000", "mode": "ceil", "precision": 0}
    line = rated({**RATE, "included_units": "2", "unit_transform": transform}, "2500")
    assert line.amount_minor == 100
    assert [(step.kind, step.measured, step.units) for step in line.steps] == [
        ("transform", "2500", "3"),
        ("included", None, "2"),
        ("per_unit", None, "1"),
    ]


@pytest.mark.parametrize(
    ("modifiers", "units", "amount_minor"),
    [
        ({"discount_percent": "10"}, "100", 9000),
        ({"discount_percent": "100"}, "100", 0),
        ({"discount_percent": "0"}, "100", 10000),
        ({"discount_percent": "12.5"}, "0.1", 9),  # 0.0875, rounded once
        ({"discount_percent": "10", "max_amount": "95.00"}, "100", 9000),  # the discount is taken off before the limit
        ({"discount_percent": "10", "max_amount": "80.00"}, "100", 8000),
        ({"discount_percent": "100", "min_amount": "5.00"}, "100", 500),  # and the minimum stays due
    ],
)
def test_discount_comes_before_the_limits(modifiers: dict[str, str], units: str, amount_minor: int) -> None:
    line = rated({**RATE, **modifiers}, units)
    assert line.amount_minor == amount_minor
    assert sum(Fraction(step.amount) for step in line.steps) == line.amount_exact


REGIONS = {"property": "region", "match": {"eu": {"unit_rate": "2.00"}, "us": {"tiers": TIERS}}, "default": {}}
BY_REGION = {"model": "graduated", "tiers": [{"up_to": None, "unit_rate": "1.00"}], "prices_by": REGIONS}


@pytest.mark.parametrize(
    ("usage", "included", "amount_minor"),
    [
        ({}, "0", 200),  # the first tier of the cell for the US costs 2.00 from zero units on
        ({"eu": "3", "us": "11", "asia": "4"}, "0", 600 + 5700 + 400),
        ({"eu": "3", "us": "11", "asia": "4"}, "5", 0 + 4700 + 400),  # 3 of the EU, 2 at the bottom of the US ladder
        ({"eu": "3", "us": "1", "asia": "4"}, "5", 0 + 200 + 300),
        ({"asia": "4"}, "5", 200),
    ],
)
def test_prices_by_property(usage: dict[str, str], included: str, amount_minor: int) -> None:
    """S099: each cell prices its own units; included units are used up by the cells in their order."""
    units = str(sum(int(count) for count in usage.values()))
    line = rated({**BY_REGION, "included_units": included}, units, basis=usage)
    assert line.amount_minor == amount_minor
    assert sum(Fraction(step.amount) for step in line.steps) == line.amount_exact


def test_modifiers_of_a_matrix() -> None:
    """S099, S095: units are transformed per cell; discount and limits act on the sum, which is rounded once."""
    charge = {
        **BY_REGION,
        "prices_by": {"property": "region", "match": {"eu": {"unit_rate": "0.014"}}, "default": {"unit_rate": "0.012"}},
        "unit_transform": {"divide_by": "10", "mode": "ceil"},
        "discount_percent": "50",
    }
    line = rated(charge, "22", basis={"eu": "11", "asia": "11"})
    assert line.amount_exact == Fraction("0.026")  # (2 x 0.014 + 2 x 0.012) / 2, where one cell of 22 had given 3
    assert line.billable_quantity == 4
    assert rated({**charge, "max_amount": "0.02"}, "22", basis={"eu": "11", "asia": "11"}).amount_minor == 2


def test_cells_without_units_are_not_listed() -> None:
    """A matrix may have a thousand cells; what is due without a unit (the US ladder's first fee) is listed."""
    line = rated(BY_REGION, "4", basis={"asia": "4"})
    assert [(step.cell, step.kind, step.amount) for step in line.steps] == [("2", "tier", "2"), ("3", "tier", "4")]


@pytest.mark.parametrize(
    ("charge", "units", "basis", "path"),
    [
        (BY_REGION, "4", None, "basis"),
        (CARD, "4", None, "basis"),
        ({"model": "dynamic", "amount_property": "price"}, "4", None, "basis"),
        (RATE, "4", Basis(amount=Decimal(1)), "basis"),
        (CARD, "4", Basis(amount=Decimal(1)), "basis"),
        (BY_REGION, "4", Basis(units_by_cell=(Decimal(4),)), "basis.units_by_cell"),
        (BY_REGION, "4", Basis(units_by_cell=(Decimal(4), Decimal(-1), Decimal(1))), "basis.units_by_cell"),
        ({"model": "dynamic", "amount_property": "price"}, "4", Basis(amount=Decimal("-0.01")), "basis.amount"),
        ({"model": "dynamic", "amount_property": "price"}, "4", Basis(amount=Decimal("NaN")), "basis.amount"),
        ({"model": "volume", "tiers": TIERS}, "-1", None, "quantity"),
        ({"model": "package", "package_size": "1", "package_price": "1"}, "NaN", None, "quantity"),
    ],
)
def test_what_cannot_be_priced_is_refused(charge: dict[str, Any], units: str, basis: Basis | None, path: str) -> None:
    """A charge that needs more than a quantity is not priced at zero because nobody read it."""
    with pytest.raises(UnitsOutOfRange) as refusal:
        rated(charge, units, basis=basis)
    assert refusal.value.path == path


@pytest.mark.parametrize("charge", [BY_REGION, CARD, {"model": "dynamic", "amount_property": "price"}])
def test_nothing_measured_needs_no_basis_and_is_the_same_line(charge: dict[str, Any]) -> None:
    """S106: with the basis of no events, or without any, a line of zero has the same hashes."""
    line = rated(charge)
    assert basis_needed(line.terms) != "nothing"
    assert line == rated(charge, basis=line.basis)
    assert line.input_hash == rated(charge, basis=line.basis).input_hash


@pytest.mark.parametrize("value", ["-0.01", "NaN", "Infinity"])
def test_an_event_below_zero_is_refused(value: str) -> None:
    with pytest.raises(UnitsOutOfRange, match="correct it") as refusal:
        rated(CARD, "1", basis=["5", value])
    assert refusal.value.path == "basis.events"


def test_forty_digits_are_priced_exactly() -> None:
    """The process's own context keeps 28 digits; no price passes through it."""
    units = "1234567890123456789012345678.901234567890"
    line = rated({"model": "volume", "tiers": [{"up_to": None, "unit_rate": "0.000001"}]}, units)
    assert line.amount_exact == Fraction(units) / 1_000_000
    assert line.amount_minor == 123456789012345678901235
    values = ["1234567890123456789012345678.901234567890", "0.000000000001"]
    assert (
        rated({"model": "percentage", "rate_percent": "1"}, "2", basis=values).amount_exact
        == (Fraction(values[0]) + Fraction(values[1])) / 100
    )


@pytest.mark.parametrize("factor", [Fraction(0), Fraction(1, 3)])
def test_a_factor_shrinks_what_is_given_and_not_what_is_used(factor: Fraction) -> None:
    """Included units, minimum and maximum shrink where the charge says so; rates, tiers and free allowances do not."""
    charge = {**BY_REGION, "included_units": "6", "prorate": True, "max_amount": "30.00"}
    line = rated(charge, "6", basis={"eu": "6"}, factor=factor)
    assert line.amount_exact == min((6 - 6 * factor) * 2 + 2, 30 * factor)
    card = {**CARD, "free_events": "1", "prorate": True}
    assert rated(card, "2", basis=["5", "10"], factor=factor).amount_exact == Fraction("0.5")


def test_a_free_amount_of_forty_digits_is_subtracted_exactly() -> None:
    """S100: a thousandth of a cent beyond ten quadrillions of free value is charged, whatever the process's context."""
    card = {**CARD, "rate_percent": "100", "fixed_fee": "0", "free_amount": "10000000000000000.00001"}
    with localcontext(prec=6):
        line = rated(card, "2", basis=["10000000000000000.000009", "1"])
        assert line.amount_exact == Fraction("0.999999")
