"""Reading the terms of a charge: what is accepted, and that each refusal names the place and the remedy."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given

from apps.engine.charge_models import (
    CHARGE_MODELS,
    ChargeTerms,
    ChargeTier,
    charge_from_document,
    charge_to_document,
)
from apps.engine.charge_models.terms import MODEL_PARAMETERS
from apps.engine.errors import CurrencyUnknown, EngineError, InvalidTerms
from apps.engine.hashing import canonical_json
from tests.engine.strategies import any_terms

PATH = "charges[2]"
CALLS: dict[str, Any] = {
    "code": "api_calls",
    "meter": "api_calls",
    "model": "graduated",
    "included_units": "10000",
    "tiers": [
        {"up_to": "100000", "unit_rate": "0.005", "flat_fee": "0"},
        {"up_to": None, "unit_rate": "0.003"},
    ],
    "min_amount": None,
    "max_amount": "5000.00",
    "timing": "arrears",
    "tax_category": "saas",
    "unit": "calls",
}
FEE: dict[str, Any] = {"code": "base_fee", "model": "flat", "amount": "99.00", "timing": "advance"}
RATE: dict[str, Any] = {"code": "egress", "meter": "egress", "model": "per_unit", "unit_rate": "0.0825"}
OVERAGE: dict[str, Any] = {**RATE, "model": "overage", "included_units": "100"}


def read(document: Any, currency: str = "USD") -> ChargeTerms:
    """Read a charge at the path that every refusal is expected to begin with."""
    return charge_from_document(document, currency=currency, path=PATH)


def tiers(*bounds: str | None) -> dict[str, Any]:
    """Return a graduated charge with these upper bounds."""
    return {**CALLS, "tiers": [{"up_to": bound, "unit_rate": "1"} for bound in bounds]}


def test_graduated_terms() -> None:
    """S091: included units stand with the charge, per metric."""
    assert read(CALLS) == ChargeTerms(
        code="api_calls",
        meter="api_calls",
        model="graduated",
        included_units=Decimal(10000),
        tiers=(
            ChargeTier(up_to=Decimal(100000), unit_rate=Decimal("0.005")),
            ChargeTier(up_to=None, unit_rate=Decimal("0.003")),
        ),
        max_amount=Decimal(5000),
        tax_category="saas",
        unit="calls",
    )


def test_overage_terms() -> None:
    """S092: the preset prices what lies above the included units, and needs to know how many those are."""
    assert read(OVERAGE).unit_rate == Decimal("0.0825")
    with pytest.raises(InvalidTerms, match='required by the model "overage"') as refusal:
        read({**OVERAGE, "included_units": None})
    assert refusal.value.path == "charges[2].included_units"


def test_a_fee_shrinks_with_the_period_unless_told_otherwise() -> None:
    assert read(FEE).prorate
    assert not read({**FEE, "prorate": False}).prorate
    assert not read(RATE).prorate


@pytest.mark.parametrize(
    ("document", "path", "remedy"),
    [
        ([], "", "named fields"),
        ({**CALLS, "teirs": []}, ".teirs", "not a known field"),
        ({**CALLS, "model": "tiered"}, ".model", "must be one of flat, per_unit, graduated, volume"),
        ({**CALLS, "model": None}, ".model", "must be one of"),
        ({**CALLS, "model": ["flat"]}, ".model", "must be one of"),
        ({**CALLS, "unit_rate": "1"}, ".unit_rate", 'does not belong to the model "graduated"'),
        ({**FEE, "meter": "api_calls"}, ".meter", 'does not belong to the model "flat"'),
        ({**FEE, "included_units": "1"}, ".included_units", "remove it"),
        ({**RATE, "flat_at_zero": False}, ".flat_at_zero", "remove it"),
        ({**RATE, "unit_rate": None}, ".unit_rate", 'required by the model "per_unit"'),
        ({**FEE, "amount": None}, ".amount", "required"),
        ({**CALLS, "tiers": None}, ".tiers", "required"),
        ({**CALLS, "code": None}, ".code", "required"),
        ({**CALLS, "code": " "}, ".code", "not empty"),
        ({**CALLS, "code": 7}, ".code", "text"),
        ({**CALLS, "meter": None}, ".meter", "required"),
        ({**RATE, "unit_rate": 0.0825}, ".unit_rate", "put the number in quotes"),
        ({**RATE, "unit_rate": 1}, ".unit_rate", "put the number in quotes"),
        ({**RATE, "unit_rate": "1e-3"}, ".unit_rate", "plain decimal"),
        ({**RATE, "unit_rate": "-1"}, ".unit_rate", "at least 0"),
        ({**CALLS, "included_units": "NaN"}, ".included_units", "plain decimal"),
        ({**FEE, "amount": "99.001"}, ".amount", "USD has 2 digits"),
        ({**FEE, "amount": 99}, ".amount", "put the number in quotes"),
        ({**FEE, "amount": "-1.00"}, ".amount", "at least 0"),
        ({**CALLS, "max_amount": "0.005"}, ".max_amount", "USD has 2 digits"),
        ({**CALLS, "min_amount": "6000.00"}, ".min_amount", "must not be above max_amount"),
        ({**CALLS, "timing": "later"}, ".timing", "arrears, advance"),
        ({**CALLS, "prorate": "yes"}, ".prorate", "true or false"),
        ({**CALLS, "prices_by": {"property": "region"}}, ".prices_by.default", "required; write {}"),
        ({**CALLS, "tiers": []}, ".tiers", "at least one tier"),
        ({**CALLS, "tiers": {"up_to": None}}, ".tiers", "a list"),
        ({**CALLS, "tiers": ["1"]}, ".tiers[0]", "named fields"),
        ({**CALLS, "tiers": [{"unit_rate": "1"}]}, ".tiers[0].up_to", "null for the last tier"),
        ({**CALLS, "tiers": [{"up_to": None}]}, ".tiers[0].unit_rate", 'write "0"'),
        ({**CALLS, "tiers": [{"up_to": None, "unit_rate": "1", "rate": "1"}]}, ".tiers[0].rate", "not a known field"),
        ({**CALLS, "tiers": [{"up_to": None, "unit_rate": "1", "flat_fee": "0.001"}]}, ".tiers[0].flat_fee", "digits"),
        (tiers("10", "10", None), ".tiers[1].up_to", "above 10"),
        (tiers("10", "5", None), ".tiers[1].up_to", "above 10"),
        (tiers("0", None), ".tiers[0].up_to", "above 0"),
        (tiers("10", "20"), ".tiers[1].up_to", "the last tier must be open"),
        (tiers(None, "20"), ".tiers[0].up_to", "only the last tier may be open"),
        (tiers(None, None), ".tiers[0].up_to", "only the last tier may be open"),
        (tiers(*["1"] * 1001), ".tiers", "at most 1000"),
    ],
)
def test_refusals_name_the_place_and_the_remedy(document: Any, path: str, remedy: str) -> None:
    """S089: terms are checked when they are read: shape, decimals, tiers, parameters of the model."""
    with pytest.raises(InvalidTerms) as refusal:
        read(document)
    assert refusal.value.path == PATH + path
    assert remedy in refusal.value.detail


@pytest.mark.parametrize("currency", ["", "usd", "XXX"])
def test_currency_is_required_even_for_a_rate_of_zero(currency: str) -> None:
    """S251: a charge that costs nothing still says in which currency."""
    with pytest.raises(CurrencyUnknown):
        read({**RATE, "unit_rate": "0"}, currency)


def test_digits_follow_the_currency() -> None:
    """S250: yen have no cents and dinars have three digits."""
    assert read({**FEE, "amount": "990"}, "JPY").amount == 990
    assert read({**FEE, "amount": "9.905"}, "KWD").amount == Decimal("9.905")
    with pytest.raises(InvalidTerms, match="JPY has 0 digits"):
        read({**FEE, "amount": "990.0"}, "JPY")


def test_an_estimate_needs_neither_code_nor_meter() -> None:
    terms = charge_from_document({"model": "per_unit", "unit_rate": "2"}, currency="USD", path="", is_catalog=False)
    assert (terms.code, terms.meter) == ("estimate", None)


@pytest.mark.parametrize(("model", "path"), [("flat", "amount"), ("graduated", "tiers"), ("magic", "model")])
def test_terms_made_in_code_are_complete_too(model: str, path: str) -> None:
    with pytest.raises(InvalidTerms) as refusal:
        ChargeTerms(code="x", model=model)
    assert refusal.value.path == path


def test_every_model_has_parameters_and_a_module() -> None:
    assert set(MODEL_PARAMETERS) == set(CHARGE_MODELS)


@given(terms=any_terms())
def test_document_round_trip(terms: ChargeTerms) -> None:
    """S087: terms are data; what is written is read back as the same terms and written again as the same text."""
    document = charge_to_document(terms)
    again = charge_from_document(document, currency="USD", path="")
    assert again == terms
    assert canonical_json(charge_to_document(again)) == canonical_json(document)


def test_spelling_does_not_change_the_terms() -> None:
    one = read({**RATE, "unit_rate": "0.0825"})
    other = read({**RATE, "unit_rate": "0.082500", "included_units": "0.0", "description": None})
    assert charge_to_document(one) == charge_to_document(other)


def test_refusals_are_one_family() -> None:
    with pytest.raises(EngineError) as refusal:
        read({**RATE, "unit_rate": None})
    assert refusal.value.code == "invalid_terms"
    assert str(refusal.value).startswith("charges[2].unit_rate: ")
