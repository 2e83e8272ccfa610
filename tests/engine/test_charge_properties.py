"""What holds for all terms of all models: sums, increments, determinism, and the two other ways to the same amount."""

import json
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from apps.engine.charge_models import (
    NO_BASIS,
    Basis,
    ChargeTerms,
    charge_from_document,
    charge_to_document,
    compile_rater,
    fold_events,
    rate_charge,
    rate_increment,
)
from apps.engine.charge_models.terms import MODEL_PARAMETERS
from apps.engine.decisions import decision_of, is_reproduced, recompute
from apps.engine.errors import InvalidTerms, UnitsOutOfRange
from apps.engine.exact import fraction_text
from apps.engine.explain import explain_line
from apps.engine.hashing import canonical_hash, canonical_json
from apps.engine.money import Rounding
from tests.engine.charge_strategies import charge_terms, usage_of
from tests.engine.drafts import JANUARY
from tests.engine.strategies import currency_codes, decimals_of, factors, quantities, roundings

RISING = tuple(model for model in MODEL_PARAMETERS if model != "volume")
STRAIGHT = ("per_unit", "overage", "graduated", "graduated_percentage", "volume", "package", "flat")


def decision(rating: Any) -> dict[str, Any]:
    """Return a decision as it comes back from a JSON column."""
    stored = decision_of(rating=rating, plan={}, period=JANUARY, meter_version=None, usage={}, tax=None, tax_minor=None)
    return json.loads(json.dumps(stored))


@given(data=st.data(), terms=charge_terms(), factor=factors, rounding=roundings)
def test_steps_and_rows_sum_to_the_amount(
    data: st.DataObject, terms: ChargeTerms, factor: Fraction, rounding: Rounding
) -> None:
    """S096, S113: every model and modifier explains all of its amount, from the stored decision alone."""
    quantity, basis = data.draw(usage_of(terms))
    line = rate_charge(terms=terms, quantity=quantity, currency="USD", rounding=rounding, factor=factor, basis=basis)
    assert sum(Fraction(step.amount) for step in line.steps) == line.amount_exact
    explanation = explain_line(decision=decision(line), recomputed=None)
    assert explanation.is_equal
    assert sum(Fraction(row.amount) for row in explanation.rows) == line.amount_exact
    assert explanation.formula


@given(data=st.data(), terms=charge_terms(), rounding=roundings)
def test_a_decision_is_rated_again_from_what_it_stores(
    data: st.DataObject, terms: ChargeTerms, rounding: Rounding
) -> None:
    """S105, S106: terms, quantity and basis come back from JSON and give the same two hashes."""
    quantity, basis = data.draw(usage_of(terms))
    line = rate_charge(terms=terms, quantity=quantity, currency="USD", rounding=rounding, basis=basis)
    stored = decision(line)
    again = recompute(decision=stored, quantity=quantity)
    assert is_reproduced(decision=stored, recomputed=again)
    assert again == line
    assert ("basis" in stored) == terms.needs_basis


@given(data=st.data(), terms=charge_terms(), factor=factors)
def test_the_input_hash_is_that_of_the_canonical_inputs(
    data: st.DataObject, terms: ChargeTerms, factor: Fraction
) -> None:
    """S106: put together from kept parts, the hashed text is the canonical JSON to the byte."""
    quantity, basis = data.draw(usage_of(terms))
    line = rate_charge(
        terms=terms, quantity=quantity, currency="USD", rounding=Rounding.CEIL, factor=factor, basis=basis
    )
    inputs: dict[str, Any] = {
        "terms": charge_to_document(terms),
        "quantity": quantity,
        "factor": fraction_text(factor),
        "currency": "USD",
        "rounding": Rounding.CEIL,
    }
    if terms.needs_basis:
        inputs["basis"] = basis.to_document()
    assert line.input_hash == canonical_hash(inputs)


@given(terms=charge_terms())
def test_terms_survive_their_document(terms: ChargeTerms) -> None:
    """S087: what is written is read back as the same terms and written again as the same text."""
    document = json.loads(json.dumps(charge_to_document(terms)))
    again = charge_from_document(document, currency="USD", path="")
    assert canonical_json(charge_to_document(again)) == canonical_json(document)
    if terms.prices_by is None:  # a cell priced like the charge is read as the charge's own price
        assert again == terms


@given(terms=charge_terms(RISING, prices_by=None), first=quantities, second=quantities, rounding=roundings)
def test_more_units_never_cost_less(terms: ChargeTerms, first: Decimal, second: Decimal, rounding: Rounding) -> None:
    """S097: in every model but volume the price rises with the units; volume says so by its cliff."""
    assume(not terms.needs_basis)
    fewer, more = (
        rate_charge(terms=terms, quantity=units, currency="USD", rounding=rounding).amount_exact
        for units in sorted((first, second))
    )
    assert fewer <= more


@given(terms=charge_terms(("percentage",)), values=st.lists(decimals_of(units_max=500, digits=3), max_size=8))
def test_another_event_never_costs_less(terms: ChargeTerms, values: list[Decimal]) -> None:
    """S100: whatever is free and clamped, the fee of a longer list of events is not smaller."""
    fees = [
        rate_charge(
            terms=terms,
            quantity=Decimal(count),
            currency="USD",
            rounding=Rounding.HALF_UP,
            basis=fold_events(terms, values[:count]),
        ).amount_exact
        for count in range(len(values) + 1)
    ]
    assert fees == sorted(fees)


@given(
    data=st.data(),
    terms=charge_terms(RISING[1:], prices_by=None, min_amount=None, timing="advance"),
    rounding=roundings,
    factor=factors,
    currency=st.sampled_from(["USD", "KWD"]),
)
def test_increments_sum_to_the_price_of_the_period(
    data: st.DataObject, terms: ChargeTerms, rounding: Rounding, factor: Fraction, currency: str
) -> None:
    """S096: billed event by event, a period costs what it costs at its end, to the minor unit."""
    values = data.draw(st.lists(decimals_of(units_max=300, digits=3), min_size=1, max_size=6))
    states = []
    for count in range(1, len(values) + 1):
        total = sum(values[:count], Decimal(0))
        if terms.model == "percentage":
            states.append((total, fold_events(terms, values[:count])))
        else:
            states.append((total, Basis(amount=total) if terms.model == "dynamic" else NO_BASIS))
    given_terms: dict[str, Any] = {"terms": terms, "currency": currency, "rounding": rounding, "factor": factor}
    increments = [
        rate_increment(before=before, after=after, **given_terms)
        for before, after in zip([None, *states], states, strict=False)
    ]
    quantity, basis = states[-1]
    whole = rate_charge(quantity=quantity, basis=basis, **given_terms)
    assert sum(increment.amount_minor for increment in increments) == whole.amount_minor
    for increment in increments:
        assert increment.amount_minor >= 0
        assert sum(Fraction(step.amount) for step in increment.steps) == increment.amount_exact
        stored = decision(increment)
        assert recompute(decision=stored, quantity=increment.quantity) == increment
        assert explain_line(decision=stored, recomputed=None).is_equal


@given(
    terms=charge_terms(STRAIGHT, prices_by=None),
    amounts=st.lists(quantities, min_size=1, max_size=5),
    currency=currency_codes,
    rounding=roundings,
    factor=factors,
)
def test_compiled_terms_give_the_same_amounts(
    terms: ChargeTerms, amounts: list[Decimal], currency: str, rounding: Rounding, factor: Fraction
) -> None:
    """S105: the fast way and the way that explains itself agree at bounds, at the included units, and between."""
    rater = compile_rater(terms=terms, currency=currency, rounding=rounding, factor=factor)
    edges = [tier.up_to + step for tier in terms.tiers if tier.up_to for step in (Decimal(0), Decimal("0.001"))]
    for quantity in (*amounts, *edges, terms.included_units, Decimal(0)):
        line = rate_charge(terms=terms, quantity=quantity, currency=currency, rounding=rounding, factor=factor)
        assert rater(quantity) == line.amount_minor


@given(data=st.data(), terms=charge_terms(("percentage", "dynamic")))
def test_terms_that_need_a_basis_compile_with_it(data: st.DataObject, terms: ChargeTerms) -> None:
    quantity, basis = data.draw(usage_of(terms))
    rater = compile_rater(terms=terms, currency="USD", rounding=Rounding.FLOOR, basis=basis)
    line = rate_charge(terms=terms, quantity=quantity, currency="USD", rounding=Rounding.FLOOR, basis=basis)
    assert rater(quantity) == line.amount_minor


@pytest.mark.parametrize("units", ["-1", "-0.0001", "NaN", "Infinity", "-Infinity", "1000000000000000000000000000001"])
def test_compiled_terms_refuse_what_rating_refuses(units: str) -> None:
    terms = ChargeTerms(code="calls", meter="calls", model="per_unit", unit_rate=Decimal(1))
    rater = compile_rater(terms=terms, currency="USD", rounding=Rounding.HALF_UP)
    with pytest.raises(UnitsOutOfRange, match="correct the usage") as refusal:
        rater(Decimal(units))
    assert refusal.value.path == "quantity"
    assert rater(Decimal(10) ** 30) == 10**32


def test_only_metered_charges_in_advance_are_billed_per_event() -> None:
    terms = ChargeTerms(code="calls", meter="calls", model="per_unit", unit_rate=Decimal(1))
    with pytest.raises(InvalidTerms, match="advance") as refusal:
        rate_increment(
            terms=terms, before=None, after=(Decimal(1), NO_BASIS), currency="USD", rounding=Rounding.HALF_UP
        )
    assert refusal.value.path == "timing"


def test_the_first_increment_carries_what_is_due_from_zero_units_on() -> None:
    """Three events on a ladder with an entry fee of 2.00: 7.00, 5.00, 5.00, and 17.00 in all."""
    terms = charge_from_document(
        {
            "code": "seats",
            "meter": "seats",
            "model": "graduated",
            "timing": "advance",
            "tiers": [{"up_to": None, "unit_rate": "5", "flat_fee": "2"}],
        },
        currency="USD",
        path="",
    )
    states = [None, *((Decimal(count), NO_BASIS) for count in (1, 2, 3))]
    increments = [
        rate_increment(terms=terms, before=before, after=after, currency="USD", rounding=Rounding.HALF_UP)
        for before, after in zip(states, states[1:], strict=False)
    ]
    assert [increment.amount_minor for increment in increments] == [700, 500, 500]
    assert decision(increments[0])["before"] is None
    assert decision(increments[1])["before"] == {"quantity": "1"}
    assert increments[1].input_hash != increments[2].input_hash


@pytest.mark.parametrize(
    ("name", "terms_hash", "input_hash", "output_hash"),
    [
        ("flat", "4a7cdc63fe742995", "6e0eaf93f51b51d6", "1f5aed39abc5856d"),
        ("per_unit", "1c19ce925f2f9c5c", "ae1574fab79d78ae", "c24f296c6be2b5bf"),
        ("overage", "1c05aa97a26b7bee", "148f9548ff3cbbe1", "03fcabb71b97dbc9"),
        ("graduated", "19a4e335d9a76fa1", "9804a60ef28db2b0", "b8cf4b38ef3ff5d0"),
    ],
)
def test_terms_and_lines_from_before_keep_their_hashes(
    name: str, terms_hash: str, input_hash: str, output_hash: str
) -> None:
    """S106: written by the first version of the engine, pinned: stored decisions must still be reproduced."""
    egress = {"code": "egress", "meter": "egress", "unit_rate": "0.0825"}
    documents: dict[str, dict[str, Any]] = {
        "flat": {"code": "base_fee", "amount": "99.00", "timing": "advance"},
        "per_unit": {**egress, "included_units": "10.50"},
        "overage": {**egress, "included_units": "100"},
        "graduated": {
            "code": "calls",
            "meter": "calls",
            "included_units": "10000",
            "prorate": True,
            "tiers": [
                {"up_to": "100000", "unit_rate": "0.005", "flat_fee": "1.00"},
                {"up_to": None, "unit_rate": "0.003"},
            ],
            "min_amount": "10.00",
            "max_amount": "300.00",
            "unit": "calls",
            "tax_category": "saas",
            "description": "Aufrufe für €",
        },
    }
    terms = charge_from_document({**documents[name], "model": name}, currency="EUR", path="")
    line = rate_charge(
        terms=terms,
        quantity=Decimal("120000.50"),
        currency="EUR",
        rounding=Rounding.HALF_EVEN,
        factor=Fraction(15, 31),
    )
    assert canonical_hash(charge_to_document(terms))[:16] == terms_hash
    assert (line.input_hash[:16], line.output_hash[:16]) == (input_hash, output_hash)
