"""Bad input for terms and rating: every refusal names its place; nothing that is no exact number becomes an amount."""

import copy
import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from apps.engine.charge_models import (
    NO_BASIS,
    Basis,
    EventTotals,
    charge_from_document,
    charge_to_document,
    fold_events,
    rate_charge,
)
from apps.engine.errors import CurrencyUnknown, EngineError, InvalidPeriod, InvalidTerms, UnitsOutOfRange
from apps.engine.money import Rounding
from apps.engine.periods import Period
from apps.engine.proration import proration_factor
from tests.engine.agreement_cases import random_case

NAN, INFINITE = float("nan"), float("inf")
RATE: dict[str, Any] = {"code": "calls", "meter": "calls", "model": "per_unit", "unit_rate": "1"}
TIERED: dict[str, Any] = {**RATE, "model": "graduated", "tiers": [{"up_to": None, "unit_rate": "1"}]}
del TIERED["unit_rate"]
PACKAGE: dict[str, Any] = {
    "code": "calls", "meter": "calls", "model": "package", "package_size": "10", "package_price": "1.00",
}  # fmt: skip
SHARE: dict[str, Any] = {"code": "fee", "meter": "sales", "model": "percentage", "rate_percent": "1"}
CARRIED: dict[str, Any] = {"code": "fee", "meter": "sales", "model": "dynamic", "amount_property": "cost"}
MATRIX: dict[str, Any] = {**RATE, "prices_by": {"property": "r", "match": {"eu": {"unit_rate": "2"}}, "default": {}}}
# What a careless caller, a spreadsheet or an attacker puts where a number or a list belongs.
WRONG_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 7, 1.5, NAN, INFINITE, "", " ", "x", "-1", "1e5", "NaN", "Infinity", "1" * 40, "0", "007",
    [], {}, [None], {"a": 1}, Decimal(1), Fraction(1, 3), "\u0661", "1,5", "\ud800", b"1",
)  # fmt: skip


def read(document: Any) -> Any:
    """Read a charge in dollars."""
    return charge_from_document(document, currency="USD", path="charge")


def rated(document: dict[str, Any] = RATE, **options: Any) -> int:
    """Rate one unit in dollars, half up, unless the options say otherwise."""
    asked: dict[str, Any] = {"quantity": Decimal(1), "currency": "USD", "rounding": Rounding.HALF_UP}
    return rate_charge(terms=read(document), **(asked | options)).amount_minor


@pytest.mark.parametrize("number", [1.5, NAN, INFINITE, True, False, 0, 7, Decimal(1), Fraction(1), b"1", [], {}])
@pytest.mark.parametrize(
    ("document", "key"),
    [
        (RATE, "unit_rate"),
        (RATE, "included_units"),
        (RATE, "discount_percent"),
        (RATE, "min_amount"),
        (RATE, "max_amount"),
        (PACKAGE, "package_size"),
        (PACKAGE, "package_price"),
        (SHARE, "rate_percent"),
        (SHARE, "fixed_fee"),
        (SHARE, "free_events"),
        (SHARE, "free_amount"),
        (SHARE, "min_per_event"),
        (SHARE, "max_per_event"),
    ],
)
def test_only_text_is_a_number(document: dict[str, Any], key: str, number: object) -> None:
    """S089, S250: no float, no boolean and no other object is read as a number, wherever a number belongs."""
    with pytest.raises(InvalidTerms, match="must be a decimal string") as refusal:
        read({**document, key: number})
    assert refusal.value.path == f"charge.{key}"


@pytest.mark.parametrize(
    "text", ["", " 1", "1 ", "+1", "1e5", "NaN", "Infinity", "-Infinity", "1" * 40, "-1", "-0.01", "0x1"]
)
@pytest.mark.parametrize("key", ["unit_rate", "included_units", "min_amount", "discount_percent"])
def test_text_that_is_no_number_of_ours(key: str, text: str) -> None:
    """S089: forty digits, signs, exponents and words are refused at their place."""
    with pytest.raises(InvalidTerms) as refusal:
        read({**RATE, key: text})
    assert refusal.value.path == f"charge.{key}"


@pytest.mark.parametrize(
    ("document", "path", "words"),
    [
        (None, "", "named fields"),
        ({**RATE, 1: "x"}, "", "named fields"),
        ({**RATE, "unitrate": "1"}, ".unitrate", "not a known field"),
        ({**TIERED, "tiers": []}, ".tiers", "at least one tier"),
        ({**TIERED, "tiers": [None]}, ".tiers[0]", "named fields"),
        ({**TIERED, "tiers": [{"up_to": True, "unit_rate": "1"}]}, ".tiers[0].up_to", "not a boolean"),
        ({**TIERED, "tiers": [{"up_to": None, "rate_percent": "1"}]}, ".tiers[0].rate_percent", "not a known field"),
        ({**TIERED, "flat_at_zero": 0}, ".flat_at_zero", "true or false"),
        ({**RATE, "prorate": 1}, ".prorate", "true or false"),
        ({**PACKAGE, "package_size": "0.000"}, ".package_size", "above zero"),
        ({**RATE, "discount_percent": "100.0000001"}, ".discount_percent", "from 0 to 100"),
        ({**SHARE, "free_events": "1.5"}, ".free_events", "whole number"),
        ({**SHARE, "min_per_event": "2", "max_per_event": "1"}, ".min_per_event", "must not be above"),
        ({**SHARE, "included_units": "1"}, ".included_units", "does not belong"),
        ({**CARRIED, "amount_property": 7}, ".amount_property", "text"),
        ({**RATE, "prices_by": {}}, ".prices_by.default", "is required"),
        ({**RATE, "prices_by": []}, ".prices_by", "named fields"),
        ({**MATRIX, "prices_by": {**MATRIX["prices_by"], "match": {}}}, ".prices_by.match", "at least one"),
        (
            {**MATRIX, "prices_by": {**MATRIX["prices_by"], "match": {"eu": {"unit_rate": 1.5}}}},
            ".prices_by.match.eu.unit_rate",
            "in quotes",
        ),
        ({**RATE, "unit_transform": {"mode": "ceil", "precision": True}}, ".unit_transform.precision", "whole number"),
        ({**RATE, "unit_transform": {"mode": "ceil", "precision": 1.0}}, ".unit_transform.precision", "whole number"),
        ({**RATE, "unit_transform": {"mode": "ceil", "divide_by": "0"}}, ".unit_transform.divide_by", "above zero"),
        ({**RATE, "timing": "advance", "min_amount": "1.00"}, ".min_amount", "end of the period"),
        ({**TIERED, "model": "volume", "timing": "advance"}, ".timing", "arrears"),
    ],
)
def test_contradictions_are_refused_at_their_place(document: Any, path: str, words: str) -> None:
    """S089: what is unknown, empty or contradicts itself is refused before anybody is billed by it."""
    with pytest.raises(InvalidTerms, match=words) as refusal:
        read(document)
    assert refusal.value.path == f"charge{path}"


def _places(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _places(item, (*path, key))


def _spoiled(chance: random.Random, document: dict[str, Any]) -> dict[str, Any]:
    """Return a document in which one place, anywhere, has another value, an unknown neighbour, or is gone."""
    spoiled = copy.deepcopy(document)
    *parents, last = chance.choice(list(_places(spoiled)))
    holder: Any = spoiled
    for key in parents:
        holder = holder[key]
    kind = chance.random()
    if kind < 0.15:
        del holder[last]
    elif kind < 0.3 and isinstance(holder, dict):
        holder[chance.choice(("up_to", "unit_rate", "tiers", "amount", "when", "default", "x"))] = "1"
    else:
        holder[last] = chance.choice(WRONG_VALUES)
    return spoiled


def test_spoiled_documents_are_read_the_same_again_or_refused_by_name() -> None:
    """S089: thousands of valid documents with one wrong thing in them: never anything but terms or a named refusal."""
    chance, ended = random.Random("spoiled"), Counter()
    for _ in range(4000):
        document = _spoiled(chance, random_case(chance).document)
        try:
            terms = read(document)
        except EngineError as refusal:
            ended["refused" if refusal.path.startswith("charge") and refusal.detail else "without a name"] += 1
        else:
            assert read(charge_to_document(terms)) == terms, document
            ended["read"] += 1
    assert set(ended) == {"refused", "read"}
    assert min(ended.values()) > 400


@pytest.mark.parametrize("units", ["-1", "-0.000001", "NaN", "sNaN", "Infinity", "-Infinity", "1E+40", "1" * 40])
def test_quantities_out_of_range(units: str) -> None:
    with pytest.raises(UnitsOutOfRange) as refusal:
        rated(quantity=Decimal(units))
    assert refusal.value.path == "quantity"


def test_the_ends_of_the_range_are_priced() -> None:
    assert rated(quantity=Decimal(10) ** 30) == 10**32
    assert rated(quantity=Decimal("-0")) == 0
    assert rated(quantity=Decimal("1E-400")) == 0
    assert rated(quantity=Decimal("1E-400"), rounding=Rounding.CEIL) == 1


@pytest.mark.parametrize("number", [1.5, NAN, True, 1, "1", None])
@pytest.mark.parametrize("place", ["quantity", "events", "amount", "units_by_cell"])
def test_what_is_no_decimal_never_becomes_an_amount(place: str, number: Any) -> None:
    """S250: types forbid it; where they were not checked, there is an error and no amount."""
    with pytest.raises((EngineError, AttributeError, TypeError)):
        if place == "quantity":
            rated(quantity=number)
        elif place == "events":
            fold_events(read(SHARE), [number])
        elif place == "amount":
            rated(CARRIED, basis=Basis(amount=number))
        else:
            rated(MATRIX, basis=Basis(units_by_cell=(number, number)))


@pytest.mark.parametrize("factor", [Fraction(-1, 10**9), 1 + Fraction(1, 10**9), Fraction(2), NAN])
def test_factors_out_of_range(factor: Any) -> None:
    with pytest.raises(UnitsOutOfRange) as refusal:
        rated(factor=factor)
    assert refusal.value.path == "factor"


@pytest.mark.parametrize("currency", [None, "", "usd", "EURO", 840, True])
def test_currencies_that_are_none(currency: Any) -> None:
    """S251: no currency, no amount."""
    with pytest.raises(CurrencyUnknown):
        rated(currency=currency)


@pytest.mark.parametrize(
    ("document", "basis", "path"),
    [
        (MATRIX, NO_BASIS, "basis"),
        (MATRIX, Basis(units_by_cell=(Decimal(1),)), "basis.units_by_cell"),
        (MATRIX, Basis(units_by_cell=(Decimal(1),) * 3), "basis.units_by_cell"),
        (MATRIX, Basis(units_by_cell=(Decimal(1), Decimal(-1))), "basis.units_by_cell"),
        (MATRIX, Basis(units_by_cell=(Decimal("NaN"), Decimal(1))), "basis.units_by_cell"),
        (MATRIX, Basis(units_by_cell=(Decimal("1E+31"), Decimal(1))), "basis.units_by_cell"),
        (MATRIX, Basis(amount=Decimal(1)), "basis"),
        (CARRIED, NO_BASIS, "basis"),
        (CARRIED, Basis(amount=Decimal(-1)), "basis.amount"),
        (CARRIED, Basis(amount=Decimal("NaN")), "basis.amount"),
        (CARRIED, Basis(amount=Decimal("1E+60")), "basis.amount"),
        (CARRIED, Basis(events=EventTotals()), "basis"),
        (SHARE, NO_BASIS, "basis"),
        (SHARE, Basis(amount=Decimal(1)), "basis"),
        (RATE, Basis(amount=Decimal(1)), "basis"),
        (RATE, Basis(events=EventTotals()), "basis"),
    ],
)
def test_a_basis_that_does_not_fit_the_terms(document: dict[str, Any], basis: Basis, path: str) -> None:
    """Events that were folded with other terms price nothing: a number too many or too few is a refusal."""
    with pytest.raises(UnitsOutOfRange) as refusal:
        rated(document, basis=basis)
    assert refusal.value.path == path


@pytest.mark.parametrize("value", ["-0.01", "NaN", "sNaN", "Infinity"])
def test_events_that_cannot_be_shared(value: str) -> None:
    with pytest.raises(UnitsOutOfRange) as refusal:
        fold_events(read(SHARE), [Decimal(5), Decimal(value)])
    assert refusal.value.path == "basis.events"


def test_periods_without_length() -> None:
    """S063: a period that holds no instant is refused, forwards, backwards and across offsets."""
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    for ends_at in (noon, noon - timedelta(microseconds=1)):
        with pytest.raises(InvalidPeriod, match="later than starts_at") as refusal:
            Period(noon, ends_at)
        assert refusal.value.path == "ends_at"
    shortest = Period(noon, noon + timedelta(microseconds=1))
    assert proration_factor(served=shortest, full=shortest, mode="by_second", timezone="UTC") == 1
    with pytest.raises(InvalidPeriod, match="single day"):
        proration_factor(served=shortest, full=shortest, mode="by_day", timezone="UTC")
