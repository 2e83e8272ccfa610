"""Terms of all models, modifiers and matrices: what they may say, and where and why they are refused."""

from typing import Any

import pytest

from apps.engine.charge_models import ChargeTerms, charge_from_document, charge_to_document
from apps.engine.errors import InvalidTerms

LADDER = [{"up_to": "10", "unit_rate": "2"}, {"up_to": None, "unit_rate": "1"}]
RATE: dict[str, Any] = {"code": "calls", "meter": "calls", "model": "per_unit", "unit_rate": "1"}
VOLUME: dict[str, Any] = {"code": "calls", "meter": "calls", "model": "volume", "tiers": LADDER}
PACKAGE: dict[str, Any] = {
    "code": "sms", "meter": "sms", "model": "package", "package_size": "100", "package_price": "5"
}  # fmt: skip
CARD: dict[str, Any] = {"code": "card", "meter": "card", "model": "percentage", "rate_percent": "2.9"}
ON_AMOUNT: dict[str, Any] = {
    "code": "turnover",
    "meter": "turnover",
    "model": "graduated_percentage",
    "tiers": [{"up_to": "100", "rate_percent": "1"}, {"up_to": None, "rate_percent": "0.5"}],
}
CARRIED: dict[str, Any] = {"code": "x", "meter": "x", "model": "dynamic", "amount_property": "price"}
VOLUME_CELL = {"property": "region", "match": {"eu": {"model": "volume", "tiers": LADDER}}, "default": {}}
SHORT = {"property": "region", "match": {"eu": {"unit_rate": "2"}}, "default": {}}


def read(document: dict[str, Any]) -> ChargeTerms:
    """Read a charge in dollars."""
    return charge_from_document(document, currency="USD", path="charges[2]")


def long_form(*whens: Any, properties: Any = ("region", "tier"), **changed: Any) -> dict[str, Any]:
    """Return a rate with a matrix in its long form, a cell for each `when`."""
    cells = [{"when": when, "price": {"unit_rate": str(number)}} for number, when in enumerate(whens, start=2)]
    return {**RATE, "prices_by": {"properties": list(properties), "match": cells, "default": {}} | changed}


@pytest.mark.parametrize(
    ("document", "path", "remedy"),
    [
        ({**VOLUME, "tiers": []}, ".tiers", "at least one tier"),
        ({**VOLUME, "tiers": [{"up_to": "10", "unit_rate": "1"}]}, ".tiers[0].up_to", "must be open"),
        ({**VOLUME, "tiers": [LADDER[0], *LADDER]}, ".tiers[1].up_to", "must be above 10"),
        ({**VOLUME, "tiers": ON_AMOUNT["tiers"]}, ".tiers[0].rate_percent", "not a known field"),
        ({**ON_AMOUNT, "tiers": LADDER}, ".tiers[0].unit_rate", "not a known field"),
        ({**ON_AMOUNT, "tiers": [{"up_to": None}]}, ".tiers[0].rate_percent", "is required"),
        ({**ON_AMOUNT, "included_units": "1"}, ".included_units", 'to the model "graduated_percentage"'),
        ({**ON_AMOUNT, "prices_by": SHORT}, ".prices_by", "does not belong"),
        ({**PACKAGE, "package_size": "0"}, ".package_size", "above zero"),
        ({**PACKAGE, "package_size": None}, ".package_size", "required"),
        ({**PACKAGE, "package_price": "-1"}, ".package_price", "at least 0"),
        ({**PACKAGE, "tiers": LADDER}, ".tiers", "does not belong"),
        ({**CARD, "rate_percent": None}, ".rate_percent", "required"),
        ({**CARD, "min_per_event": "2", "max_per_event": "1"}, ".min_per_event", "must not be above max_per_event"),
        ({**CARD, "free_events": "1.5"}, ".free_events", 'whole number such as "3"'),
        ({**CARD, "free_events": 3}, ".free_events", "put the number in quotes"),
        ({**CARD, "free_events": "-1"}, ".free_events", "at least 0"),
        ({**CARD, "unit_transform": {"mode": "ceil"}}, ".unit_transform", "does not belong"),
        ({**CARRIED, "amount_property": None}, ".amount_property", "required"),
        ({**CARRIED, "amount_property": 7}, ".amount_property", "text"),
        ({**RATE, "unit_rate": "1" * 40}, ".unit_rate", "more than 38 digits"),
        ({**RATE, "discount_percent": "100.01"}, ".discount_percent", "from 0 to 100"),
        ({**RATE, "discount_percent": "-1"}, ".discount_percent", "at least 0"),
        ({**RATE, "discount_percent": "NaN"}, ".discount_percent", "plain decimal"),
        ({**RATE, "unit_transform": {"mode": "up"}}, ".unit_transform.mode", "half_up"),
        ({**RATE, "unit_transform": {"mode": "ceil", "divide_by": "0"}}, ".unit_transform.divide_by", "above zero"),
        ({**RATE, "unit_transform": {"mode": "ceil", "divide_by": 3}}, ".unit_transform.divide_by", "in quotes"),
        ({**RATE, "per_quantity": True}, ".per_quantity", 'does not belong to the model "per_unit"'),
        ({**VOLUME, "timing": "advance"}, ".timing", "volume price can fall"),
        ({**RATE, "timing": "advance", "min_amount": "1.00"}, ".min_amount", "at the end of the period only"),
        ({**RATE, "timing": "advance", "prices_by": VOLUME_CELL}, ".timing", "volume price can fall"),
    ],
)  # fmt: skip
def test_terms_are_refused_with_place_and_remedy(document: dict[str, Any], path: str, remedy: str) -> None:
    """S089: what is missing, foreign or contradictory is refused when the terms are read."""
    with pytest.raises(InvalidTerms) as refusal:
        read(document)
    assert refusal.value.path == "charges[2]" + path
    assert remedy in refusal.value.detail


@pytest.mark.parametrize(
    ("document", "path", "remedy"),
    [
        ({**RATE, "prices_by": []}, "", "named fields"),
        ({**RATE, "prices_by": {**SHORT, "default": None}}, ".default", "write {}"),
        ({**RATE, "prices_by": {**SHORT, "properties": ["region"]}}, ".properties", "not a known field"),
        ({**RATE, "prices_by": {**SHORT, "match": {}}}, ".match", "at least one value"),
        ({**RATE, "prices_by": {**SHORT, "match": []}}, ".match", "named fields"),
        ({**RATE, "prices_by": {**SHORT, "match": {True: {}}}}, ".match", "named fields"),
        ({**RATE, "prices_by": {**SHORT, "match": {"eu": {"rate": "1"}}}}, ".match.eu.rate", "not a known field"),
        ({**RATE, "prices_by": {**SHORT, "match": {"eu": {"rate": None}}}}, ".match.eu.rate", "not a known field"),
        ({**RATE, "prices_by": {**SHORT, "match": {"eu": {"tiers": LADDER}}}}, ".match.eu.tiers", "does not belong"),
        ({**RATE, "prices_by": {**SHORT, "match": {"eu": {"model": "flat"}}}}, ".match.eu.model", "per_unit"),
        ({**RATE, "prices_by": {**SHORT, "match": {"eu": {"model": "volume"}}}}, ".match.eu.tiers", "required"),
        ({**RATE, "prices_by": {**SHORT, "match": {"eu": {"unit_rate": 1}}}}, ".match.eu.unit_rate", "in quotes"),
        (
            {**RATE, "prices_by": {**SHORT, "match": {"eu": {"unit_rate": "1", "included_units": "5"}}}},
            ".match.eu.included_units",
            "not a known field",
        ),
        (long_form({"region": "eu", "tier": "a"}, {"region": "eu", "tier": "a"}), ".match[1].when", "match[0]"),
        (long_form({"tier": "a"}, {"region": "eu", "tier": "a"}), ".match[1].when", "never reached"),
        (long_form({}, {"region": "eu", "tier": "a"}), ".match[0].when", "`default`"),
        (long_form({"region": "eu", "zone": "1"}), ".properties", '"tier"'),
        (long_form({"region": "eu", "zone": "1"}, properties=["region"]), ".match[0].when", '"zone" is not among'),
        (long_form({"region": "eu"}, properties=["region", "region"]), ".properties", "twice"),
        (long_form({"region": True}, properties=["region"]), ".match[0].when.region", "in quotes"),
        (long_form({"region": None}, properties=["region"]), ".match[0].when.region", "must be text"),
        (long_form({"region": "eu"}, properties=[7]), ".properties[0]", "event property"),
        (long_form(properties=[]), ".match", "at least one value"),
        (long_form({"region": "eu"}, properties=["region"], match={}), ".match", "a list"),
        (long_form({"region": "eu"}, properties=["region"], match=[{"when": {}}]), ".match[0].price", "write {}"),
        (
            long_form(*({"region": str(number)} for number in range(1000)), properties=["region"]),
            ".match",
            "at most 1000",
        ),
    ],
)
def test_matrices_are_refused_with_place_and_remedy(document: dict[str, Any], path: str, remedy: str) -> None:
    """S099: no default, two cells alike, a cell that is never reached: nothing is left to the order of luck."""
    with pytest.raises(InvalidTerms) as refusal:
        read(document)
    assert refusal.value.path == "charges[2].prices_by" + path
    assert remedy in refusal.value.detail


def test_the_short_form_is_written_as_the_long_one() -> None:
    """S099: two ways to write a matrix are one value, one text, one hash."""
    long = {
        "properties": ["region"],
        "match": [{"when": {"region": "eu"}, "price": {"model": "per_unit", "unit_rate": "2"}}],
        "default": {},
    }
    short_terms, long_terms = read({**RATE, "prices_by": SHORT}), read({**RATE, "prices_by": long})
    assert short_terms == long_terms
    assert charge_to_document(short_terms)["prices_by"] == long


def test_the_order_of_cells_is_part_of_the_price() -> None:
    first = read(long_form({"region": "eu", "tier": "a"}, {"region": "eu"}))
    assert [dict(cell.when) for cell in first.prices_by.cells] == [{"region": "eu", "tier": "a"}, {"region": "eu"}, {}]


@pytest.mark.parametrize(
    ("price", "model"),
    [
        ({"unit_rate": "2"}, "per_unit"),
        ({"tiers": LADDER}, "graduated"),
        ({"model": "volume", "tiers": LADDER}, "volume"),
        ({"model": "package", "package_size": "10", "package_price": "1"}, "package"),
        ({"model": "graduated", "tiers": [{"up_to": None, "unit_rate": "1"}]}, None),  # the charge's own, said again
        ({}, None),
    ],
)
def test_a_cell_has_the_model_of_its_charge_unless_it_says_otherwise(price: dict[str, Any], model: str | None) -> None:
    charge = {
        **RATE,
        "model": "graduated",
        "unit_rate": None,
        "tiers": [{"up_to": None, "unit_rate": "1"}],
        "prices_by": {"property": "region", "match": {"eu": price}, "default": {}},
    }
    cell = read(charge).prices_by.cells[0]
    assert (cell.price.model if cell.price else None) == model


def test_a_cell_of_an_overage_charge_is_a_plain_rate() -> None:
    """The included units belong to the charge; its cells only have rates."""
    terms = read({**RATE, "model": "overage", "included_units": "5", "prices_by": SHORT})
    assert terms.prices_by.cells[0].price.model == "per_unit"


@pytest.mark.parametrize("document", [RATE, VOLUME, PACKAGE, CARD, ON_AMOUNT, CARRIED])
def test_new_keys_are_written_only_when_they_say_something(document: dict[str, Any]) -> None:
    """S106: so terms from before the keys existed keep their text and their hash."""
    written = charge_to_document(read(document))
    spelled = charge_to_document(read({**document, "discount_percent": "0.00", "unit_transform": None}))
    assert written == spelled
    assert {"discount_percent", "unit_transform", "prices_by", "fixed_fee", "free_events"}.isdisjoint(written)


def test_an_allowance_of_zero_is_not_the_same_as_none() -> None:
    """With zero free events the allowance is used up at once, and a free amount beside it with it."""
    written = charge_to_document(read({**CARD, "free_events": "0", "free_amount": "0", "max_per_event": "0"}))
    assert (written["free_events"], written["free_amount"], written["max_per_event"]) == ("0", "0", "0")
