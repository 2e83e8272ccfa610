"""The words of every model and modifier, from the stored decision alone."""

import json
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from apps.engine.charge_models import (
    NO_BASIS,
    Basis,
    RatedStep,
    charge_from_document,
    fold_events,
    fold_units,
    rate_charge,
    rate_increment,
)
from apps.engine.charge_models.steps import StepKind
from apps.engine.commitments import CommitmentTerms, commitment_lines
from apps.engine.decisions import decision_of, is_reproduced, measured_from_document, recompute
from apps.engine.errors import InvalidDecision
from apps.engine.explain import Explanation, explain_line
from apps.engine.money import Rounding
from apps.engine.step_words import _LABELS, _SENTENCES
from tests.engine.drafts import JANUARY

TIERS = [{"up_to": "10", "unit_rate": "5", "flat_fee": "2.00"}, {"up_to": None, "unit_rate": "4", "flat_fee": "1.00"}]
CARD = {"model": "percentage", "rate_percent": "2", "fixed_fee": "0.30", "free_events": "1"}


def decision(rating: Any, **usage: Any) -> dict[str, Any]:
    """Return a decision as it comes back from a JSON column."""
    stored = decision_of(
        rating=rating, plan={}, period=JANUARY, meter_version=None, usage=usage, tax=None, tax_minor=None
    )
    return json.loads(json.dumps(stored))


def explained(units: str, basis: Any = None, **charge: Any) -> Explanation:
    """Rate in euros, store the decision, and explain it."""
    terms = charge_from_document({"code": "x", "meter": "x", "unit": "calls", **charge}, currency="EUR", path="")
    line = rate_charge(
        terms=terms,
        quantity=Decimal(units),
        currency="EUR",
        rounding=Rounding.HALF_UP,
        basis=NO_BASIS if basis is None else basis(terms),
    )
    explanation = explain_line(decision=decision(line), recomputed=None)
    assert explanation.is_equal
    assert sum(Fraction(row.amount) for row in explanation.rows) == line.amount_exact
    return explanation


def values(*texts: str) -> Any:
    """Return what folds these event values."""
    return lambda terms: fold_events(terms, [Decimal(text) for text in texts])


def regions(**units: str) -> Any:
    """Return what folds these units per region."""
    return lambda terms: fold_units(terms, [({"region": name}, Decimal(count)) for name, count in units.items()])


@pytest.mark.parametrize(
    ("charge", "formula"),
    [
        (
            {"units": "12", "model": "volume", "tiers": TIERS},
            (
                "Tier 2, above 10, holds all units used and prices all billed ones: "
                "12 calls x 4 EUR + 1 EUR for the tier = 49 EUR.",
            ),
        ),
        ({"units": "0", "model": "volume", "tiers": TIERS, "flat_at_zero": False},
         ("No billable unit entered a tier, so the amount is 0 EUR.",)),
        (
            {"units": "25", "model": "package", "package_size": "10", "package_price": "3"},
            ("25 calls begin 3 packages of 10: 3 x 3 EUR = 9 EUR.",),
        ),
        (
            {"units": "3", "meter": None, "unit": "seats", "model": "flat", "amount": "10.00", "per_quantity": True},
            ("10 EUR x 3 seats = 30 EUR.",),
        ),
        (
            {"units": "2500", "model": "per_unit", "unit_rate": "1", "discount_percent": "10",
             "unit_transform": {"divide_by": "1000", "mode": "ceil"}},
            (
                "2500 measured, divided by 1000 and rounded up to a whole number: 3 calls.",
                "3 calls x 1 EUR = 3 EUR.",
                "A discount of 10 percent: 0.3 EUR less.",
                "Together 2.7 EUR.",
            ),
        ),
        (
            {"units": "4", "basis": values("40", "50", "1", "1000"), **CARD, "min_per_event": "1.00",
             "max_per_event": "5.00"},
            (
                "1 event free of charge; with the free part of others, a value of 40 EUR.",
                "1 event: 2 percent of 50 EUR + 1 x 0.3 EUR = 1.3 EUR.",
                "1 event at the minimum per event: 1 x 1 EUR = 1 EUR.",
                "1 event at the maximum per event: 1 x 5 EUR = 5 EUR.",
                "Together 7.3 EUR.",
            ),
        ),
        (
            {"units": "250", "model": "graduated_percentage",
             "tiers": [{"up_to": "100", "rate_percent": "1"}, {"up_to": None, "rate_percent": "0.5"}]},
            (
                "Tier 1, above 0 up to 100: 1 percent of 100 EUR = 1 EUR.",
                "Tier 2, above 100: 0.5 percent of 150 EUR = 0.75 EUR.",
                "Together 1.75 EUR.",
            ),
        ),
        (
            {"units": "3", "basis": lambda _: Basis(amount=Decimal("12.345")), "model": "dynamic",
             "amount_property": "price"},
            ('The events carry 12.345 EUR in "price".',),
        ),
        (
            {"units": "7", "basis": regions(eu="5", us="2"), "model": "per_unit", "unit_rate": "1",
             "prices_by": {"property": "region", "match": {"eu": {"unit_rate": "2"}}, "default": {}}},
            ('region "eu": 5 calls x 2 EUR = 10 EUR.', "Everything else: 2 calls x 1 EUR = 2 EUR.", "Together 12 EUR."),
        ),
    ],
)  # fmt: skip
def test_each_model_in_words(charge: dict[str, Any], formula: tuple[str, ...]) -> None:
    """S113, S096: what was computed is said in full, with the numbers that were used."""
    assert explained(**charge).formula == formula


def test_included_units_of_a_matrix_in_words() -> None:
    explanation = explained(
        "7",
        regions(eu="5", us="2"),
        model="per_unit",
        unit_rate="1",
        included_units="6",
        prices_by={"property": "region", "match": {"eu": {"unit_rate": "2"}}, "default": {}},
    )
    assert explanation.included == (
        "6 calls are included, used up by the prices in their order; 6 of them were used, and 1 calls are billed."
    )
    assert [row.label for row in explanation.rows if row.amount == "0"] == [
        'region "eu": Included',
        'region "eu": Per unit',
        "Everything else: Included",
    ]


def test_an_increment_in_words() -> None:
    """S113: what was billed for an event is the difference of two prices, and both are said."""
    terms = charge_from_document(
        {"code": "x", "meter": "x", "model": "per_unit", "unit_rate": "0.006", "timing": "advance"},
        currency="EUR",
        path="",
    )
    increment = rate_increment(
        terms=terms,
        before=(Decimal(2), NO_BASIS),
        after=(Decimal(3), NO_BASIS),
        currency="EUR",
        rounding=Rounding.HALF_UP,
    )
    explanation = explain_line(decision=decision(increment), recomputed=None)
    assert explanation.is_equal
    assert explanation.formula == (
        "With the event, 3 units cost 0.02 EUR.",
        "Without it, 2 units cost 0.01 EUR, which was billed before.",
        "Together 0.01 EUR.",
    )
    assert explanation.rounding == (
        "Both prices were rounded to the nearest, a half away from zero, so their difference needs no rounding."
    )


def test_seats_in_words() -> None:
    explanation = explained("3", meter=None, unit="seats", model="flat", amount="10.00", per_quantity=True)
    assert explanation.quantity == "The subscription has 3 seats; no usage is measured."


@pytest.mark.parametrize(
    ("listed_minor", "code", "sentence"),
    [
        (30000, "commitment_discount",
         "Usage of 300 EUR at list price counts against the commitment of 500.00 EUR, 10 percent off."),
        (30000, "minimum_commitment",
         "The period has a minimum of 500.00 EUR; 270.00 EUR were billed for it, and this line is the difference."),
        (100000, "commitment_overage",
         "Of usage of 1000.00 EUR at list price the commitment of 500.00 EUR covers 555.555555... (exactly 5000/9) "
         "EUR. The rest is charged x 1.5, and this line is the difference."),
    ],
)  # fmt: skip
def test_commitments_in_words(listed_minor: int, code: str, sentence: str) -> None:
    """S098: each line of a commitment says what it comes from, out of the evidence stored with it."""
    terms = CommitmentTerms(amount_minor=50000, discount_percent=Decimal(10), overage_factor=Decimal("1.5"))
    found = commitment_lines(terms=terms, counted_minor=listed_minor, currency="EUR", rounding=Rounding.HALF_UP)
    line = next(line for line in found if line.code == code)
    flat = charge_from_document({"code": code, "model": "flat", "amount": "1.00"}, currency="EUR", path="")
    rating = rate_charge(terms=flat, quantity=Decimal(1), currency="EUR", rounding=Rounding.HALF_UP)
    assert explain_line(decision=decision(rating, **line.usage), recomputed=None).quantity == sentence


def test_every_kind_of_step_has_words() -> None:
    kinds = set(StepKind.__args__)
    assert kinds - {"included"} == set(_SENTENCES)
    assert set(_LABELS) <= kinds
    assert RatedStep(kind="dynamic", amount="1").to_document() == {"kind": "dynamic", "amount": "1"}


def test_events_that_came_since_are_seen() -> None:
    """S113: another basis read from the events gives other hashes, though the quantity is the same."""
    terms = charge_from_document({"code": "x", "meter": "x", **CARD}, currency="EUR", path="")
    bases = [fold_events(terms, [Decimal(value) for value in read]) for read in (("1", "9"), ("9", "1"))]
    line = rate_charge(terms=terms, quantity=Decimal(10), currency="EUR", rounding=Rounding.HALF_UP, basis=bases[0])
    stored = decision(line)
    assert is_reproduced(decision=stored, recomputed=recompute(decision=stored, quantity=Decimal(10)))
    again = recompute(decision=stored, quantity=Decimal(10), basis=bases[1])
    assert not is_reproduced(decision=stored, recomputed=again)


@pytest.mark.parametrize(
    "changed",
    [
        {"basis": {"events": {"charged_events": -1}}},
        {"basis": []},
        {"before": {"quantity": 3}},
        {"before": "3"},
        {"before": {"quantity": "3", "units": "1"}},
    ],
)
def test_a_basis_that_cannot_be_read_is_refused(changed: dict[str, Any]) -> None:
    terms = charge_from_document({"code": "x", "meter": "x", **CARD, "timing": "advance"}, currency="EUR", path="")
    increment = rate_increment(
        terms=terms,
        before=None,
        after=(Decimal(1), fold_events(terms, [Decimal(1)])),
        currency="EUR",
        rounding=Rounding.HALF_UP,
    )
    with pytest.raises(InvalidDecision) as refusal:
        recompute(decision={**decision(increment), **changed}, quantity=Decimal(1))
    assert refusal.value.path.split(".")[0] in changed


def test_the_state_before_an_event_keeps_its_basis() -> None:
    terms = charge_from_document({"code": "x", "meter": "x", **CARD, "timing": "advance"}, currency="EUR", path="")
    states = [(Decimal(count), fold_events(terms, [Decimal(5)] * count)) for count in (1, 2)]
    increment = rate_increment(
        terms=terms, before=states[0], after=states[1], currency="EUR", rounding=Rounding.HALF_UP
    )
    assert measured_from_document(decision(increment)["before"], path="before") == states[0]
