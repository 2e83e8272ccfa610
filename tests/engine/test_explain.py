"""Explanations: the sentences and rows a person reads, and the check behind them."""

import json
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given

from apps.engine.charge_models import ChargeTerms
from apps.engine.errors import EngineError
from apps.engine.explain import Explanation, explain_line, readable
from apps.engine.invoice_draft import ChargeInput, build_invoice_draft, recompute
from apps.engine.money import Rounding
from apps.engine.tax import TaxDecision
from tests.engine.drafts import BASE_FEE, CALLS, EGRESS, GERMAN_TAX, charge, facts, month
from tests.engine.strategies import any_terms, factors, quantities, roundings


def decision_of(*charges: ChargeInput, position: int = 0, **options: Any) -> dict[str, Any]:
    """Return one stored decision of a draft, as it comes back from a JSON column."""
    draft = build_invoice_draft(facts=facts(*charges, **options))
    return json.loads(json.dumps(dict(draft.lines[position].decision)))


def explained(decision: dict[str, Any], units: str | None = None) -> Explanation:
    """Explain a decision, with a quantity read again when one is given."""
    again = None if units is None else recompute(decision=decision, quantity=Decimal(units))
    return explain_line(decision=decision, recomputed=again)


def test_graduated_line_in_words() -> None:
    """S144: a line says where its amount comes from, and that the events still give it."""
    decision = json.loads(json.dumps(dict(build_invoice_draft(facts=month()).lines[1].decision)))
    explanation = explained(decision, "120000")
    assert explanation.quantity == 'Meter "api_calls" (version 2) came to 120000 calls from 812 events.'
    assert explanation.included == (
        "10000 calls are included, taken from the bottom of the tiers; "
        "10000 of them were used, and 110000 calls are billed."
    )
    assert explanation.formula == (
        "Tier 1, above 0 up to 100000: 90000 calls x 0.005 EUR = 450 EUR.",
        "Tier 2, above 100000: 20000 calls x 0.003 EUR = 60 EUR.",
        "Together 510 EUR.",
    )
    assert explanation.rounding == "The exact amount needs no rounding: 510.00 EUR."
    assert explanation.tax == "19 percent tax (DE, category saas) on 510.00 EUR: 96.90 EUR."
    assert explanation.plan == 'Priced by plan "growth", version 3.'
    assert explanation.period == (
        "For the time from 2026-01-01T00:00:00Z up to, and not including, 2026-02-01T00:00:00Z."
    )
    assert (explanation.proration, explanation.amount, explanation.is_equal) == (None, "510.00", True)
    assert [row.label for row in explanation.rows] == [
        "Included, from the bottom",
        "Above 0 up to 100000",
        "Above 100000",
    ]
    assert explanation.check == "Reading the events and rating them again gives the stored answer, hash for hash."


def test_fraction_of_a_fee_in_words() -> None:
    explanation = explained(decision_of(charge(BASE_FEE, factor=Fraction(15, 31))))
    assert explanation.quantity == "A fixed amount; no usage is measured."
    assert explanation.proration == "Only 15/31 of the full period was served. The amount is multiplied by that part."
    assert explanation.formula == ("99 EUR x 15/31 of the period = 47.903225... (exactly 1485/31) EUR.",)
    assert explanation.rounding == (
        "47.903225... (exactly 1485/31) EUR is rounded once, to the nearest, a half away from zero: 47.90 EUR."
    )
    assert (
        explanation.check == "Rating the stored quantity again gives the stored answer; the events were not read again."
    )


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        ({"max_amount": "5.00"}, "The maximum of 5 EUR applies: 3.25 EUR less."),
        ({"min_amount": "10.00"}, "The minimum of 10 EUR applies: 1.75 EUR more."),
    ],
)
def test_limits_in_words(limits: dict[str, str], sentence: str) -> None:
    formula = explained(decision_of(charge({**EGRESS, **limits}, "100"))).formula
    assert formula[0] == "100 units x 0.0825 EUR = 8.25 EUR."
    assert formula[1] == sentence


def test_no_tier_entered_in_words() -> None:
    explanation = explained(decision_of(charge({**CALLS, "flat_at_zero": False}, "0")))
    assert explanation.formula == ("No billable unit entered a tier, so the amount is 0 EUR.",)


def test_tiers_keep_their_numbers_above_included_units_in_words() -> None:
    """S144: a tier that included units fill is not listed, and the next one is still the second."""
    explanation = explained(decision_of(charge({**CALLS, "included_units": "100000", "flat_at_zero": False}, "100010")))
    assert explanation.formula == ("Tier 2, above 100000: 10 calls x 0.003 EUR = 0.03 EUR.",)


def test_included_units_before_a_plain_rate_in_words() -> None:
    explanation = explained(decision_of(charge({**EGRESS, "included_units": "90"}, "100")))
    assert explanation.included == "90 units are included; 90 of them were used, and 10 units are billed."
    assert explanation.rows[0].label == "Included"


def test_flat_fee_of_a_tier_in_words() -> None:
    tiers = [{"up_to": None, "unit_rate": "2", "flat_fee": "1.50"}]
    explanation = explained(decision_of(charge({**CALLS, "included_units": None, "tiers": tiers}, "3")))
    assert explanation.formula == ("Tier 1, above 0: 3 calls x 2 EUR + 1.5 EUR for entering = 7.5 EUR.",)
    assert explanation.included is None


def test_commitment_in_words() -> None:
    decision = decision_of(charge(EGRESS, "100"), position=1, minimum_commitment_minor=50000)
    explanation = explained(decision, "1")
    assert explanation.quantity == (
        "The period has a minimum of 500.00 EUR; 8.25 EUR were billed for it, and this line is the difference."
    )
    assert explanation.formula == ("A fixed 491.75 EUR.",)
    assert explanation.tax == "The tax is not known yet; the line cannot become final without it."
    assert explanation.check == (
        "Rating it again gives the stored answer, hash for hash; no events are behind a fixed amount."
    )


def test_untaxed_line_names_the_reason() -> None:
    untaxed = TaxDecision(category="saas", jurisdiction="US-OR", rate_percent=Decimal(0), treatment="not_registered")
    sentence = explained(decision_of(charge(EGRESS, "1", tax=untaxed))).tax
    assert sentence == "No tax (US-OR, category saas): the seller is not registered in the jurisdiction."


@pytest.mark.parametrize("mode", list(Rounding))
def test_rounding_is_named(mode: Rounding) -> None:
    words = {"half_up": "away from zero", "half_even": "even digit", "ceil": " up:", "floor": " down:"}
    assert words[mode.value] in explained(decision_of(charge(EGRESS, "1.1"), rounding=mode)).rounding


def test_another_quantity_is_reported() -> None:
    """S144: when the events no longer give the stored answer the explanation says so and names both quantities."""
    explanation = explained(decision_of(charge(EGRESS, "100")), "101")
    assert not explanation.is_equal
    assert explanation.stored_input_hash != explanation.recomputed_input_hash
    assert explanation.check == (
        "Reading the events and rating them again does not give the stored answer: "
        "stored quantity 100, read now 101, which comes to 8.33 EUR."
    )
    assert explanation.amount == "8.25"


def test_a_changed_decision_is_reported_without_events() -> None:
    decision = decision_of(charge(EGRESS, "100")) | {"output_hash": "0" * 64}
    explanation = explained(decision)
    assert not explanation.is_equal
    assert explanation.check.startswith("Rating the stored quantity again does not give the stored answer")


def test_a_decision_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(EngineError) as refusal:
        explain_line(decision={}, recomputed=None)
    assert refusal.value.path == "quantity"


@pytest.mark.parametrize(
    ("text", "words"), [("1.5", "1.5"), ("1/3", "0.333333... (exactly 1/3)"), ("-1/3", "-0.333333... (exactly -1/3)")]
)
def test_numbers_that_do_not_end_are_shown_with_their_first_digits(text: str, words: str) -> None:
    assert readable(text) == words


@given(terms=any_terms(), quantity=quantities, factor=factors, rounding=roundings)
def test_every_line_can_be_explained(
    terms: ChargeTerms, quantity: Decimal, factor: Fraction, rounding: Rounding
) -> None:
    """S144: whatever the terms, the rows sum to the amount and the document is JSON."""
    line_input = ChargeInput(terms=terms, quantity=quantity, tax=GERMAN_TAX, factor=factor)
    line = build_invoice_draft(facts=facts(line_input, rounding=rounding)).lines[0]
    explanation = explain_line(decision=line.decision, recomputed=line.rating)
    assert explanation.is_equal
    assert sum(Fraction(row.amount) for row in explanation.rows) == line.rating.amount_exact
    document = explanation.to_document()
    assert json.loads(json.dumps(document)) == document
    assert document["formula"]


@pytest.mark.parametrize(
    ("rounding", "words"),
    [
        (
            {"mode": "ceil", "precision": 0, "divide_by": "1000000000"},
            " Measured were 127310442311, divided by 1000000000 and rounded up to a whole number.",
        ),
        ({"mode": "half_up", "precision": 2}, " Measured were 127310442311 and rounded to the nearest, a half away "
         "from zero to 2 digits after the point."),
        (None, ""),
    ],
)  # fmt: skip
def test_what_was_measured_before_units_were_rounded_is_said(rounding: dict[str, Any] | None, words: str) -> None:
    terms = ChargeTerms(code="traffic", model="per_unit", meter="traffic_gb", unit="GB", unit_rate=Decimal("0.09"))
    usage = {"event_count": 272, "raw_quantity": "127310442311", "unit_rounding": rounding}
    decision = decision_of(ChargeInput(terms=terms, quantity=Decimal(128), meter_version=1, usage=usage))
    assert explained(decision).quantity == f'Meter "traffic_gb" (version 1) came to 128 GB from 272 events.{words}'
