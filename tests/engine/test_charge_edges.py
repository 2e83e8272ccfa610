"""Edges of rating that survivors of mutation pointed at: exactly on a clamp, nothing at all, what is left out."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from apps.engine.charge_models import (
    NO_BASIS,
    Basis,
    ChargeTerms,
    ChargeTier,
    EventTotals,
    basis_from_document,
    charge_from_document,
    compile_rater,
    fold_events,
    fold_units,
    rate_charge,
)
from apps.engine.charge_models.basis import empty_basis
from apps.engine.charge_models.billable import WHOLE, billable_parts
from apps.engine.charge_models.increments import rate_increment
from apps.engine.errors import EngineError, InvalidTerms, UnitsOutOfRange
from apps.engine.hashing import canonical_hash, canonical_json
from apps.engine.money import Rounding

RATE: dict[str, Any] = {"code": "calls", "meter": "calls", "model": "per_unit", "unit_rate": "1"}
CARD: dict[str, Any] = {
    "code": "card", "meter": "sales", "model": "percentage",
    "rate_percent": "100", "min_per_event": "1.00", "max_per_event": "5.00",
}  # fmt: skip


def read(document: dict[str, Any], **changes: Any) -> ChargeTerms:
    """Read a charge in dollars, with changes."""
    return charge_from_document({**document, **changes}, currency="USD", path="charge")


def folded(terms: ChargeTerms, *values: str) -> EventTotals:
    """Fold events of these values."""
    totals = fold_events(terms, map(Decimal, values)).events
    assert totals is not None
    return totals


@pytest.mark.parametrize(
    ("value", "fixed_fee", "where"),
    [
        ("0.9999", None, "events_at_minimum"),
        ("0.995", None, "events_at_minimum"),
        ("1", None, "charged_events"),
        ("1.0001", None, "charged_events"),
        ("4.9999", None, "charged_events"),
        ("5", None, "charged_events"),
        ("5.0001", None, "events_at_maximum"),
        ("5.04", None, "events_at_maximum"),
        ("0.69", "0.30", "events_at_minimum"),
        ("0.70", "0.30", "charged_events"),
        ("4.70", "0.30", "charged_events"),
        ("4.71", "0.30", "events_at_maximum"),
    ],
)
def test_exactly_on_a_clamp_an_event_is_priced_plainly(value: str, fixed_fee: str | None, where: str) -> None:
    """S100: the least and the most of an event belong to what is charged as it is."""
    terms = read(CARD, fixed_fee=fixed_fee)
    plain = Decimal(value) if where == "charged_events" else Decimal(0)
    assert folded(terms, value) == EventTotals(charged_value=plain, **{where: 1})


@pytest.mark.parametrize(
    ("values", "kinds"),
    [
        ([], ["events"]),
        (["0.5"], ["free_events", "events"]),
        (["3"], ["free_events", "events"]),  # partly free: no free event, and two of its value are free
        (["0", "0"], ["free_events", "events"]),  # free, and worth nothing
    ],
)
def test_what_was_free_is_a_step_where_there_was_any(values: list[str], kinds: list[str]) -> None:
    """S100: a free event and a free part of a value are both said."""
    terms = read({key: CARD[key] for key in ("code", "meter", "model", "rate_percent")}, free_amount="2")
    assert [kind for kind, _, _ in steps_of(terms, "0", fold_events(terms, map(Decimal, values)))] == kinds


def test_totals_of_nothing_are_zero() -> None:
    """S100: no event was charged, clamped or free, and what is not given is none of each."""
    zero = {"charged_events": 0, "events_at_minimum": 0, "events_at_maximum": 0, "free_events": 0}
    assert EventTotals().to_document() == {**zero, "charged_value": "0", "free_value": "0"}
    assert folded(read(CARD)) == EventTotals(**zero, charged_value=Decimal(0), free_value=Decimal(0))


def test_the_basis_of_no_events() -> None:
    matrix = {"property": "r", "match": {"eu": {"unit_rate": "2"}}, "default": {}}
    carried = {"code": "fee", "meter": "sales", "model": "dynamic", "amount_property": "cost"}
    assert empty_basis(read(RATE)) is NO_BASIS
    assert empty_basis(read(carried)) == Basis(amount=Decimal(0))
    assert empty_basis(read(CARD)) == Basis(events=EventTotals())
    assert empty_basis(read(RATE, prices_by=matrix)) == Basis(units_by_cell=(Decimal(0), Decimal(0)))


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"charged_events": -1}, "charged_events"),
        ({"events_at_maximum": True}, "events_at_maximum"),
        ({"free_events": "1"}, "free_events"),
        ({"free_events": None}, "free_events"),
        ({"free_value": "-0.1"}, "free_value"),
        ({"charged_value": 1.5}, "charged_value"),
        ({"refunded_events": 1}, "refunded_events"),
    ],
)
def test_stored_totals_are_read_strictly(change: dict[str, Any], key: str) -> None:
    """S106: a stored basis that somebody touched is refused at its place and priced by nobody."""
    stored = folded(read(CARD), "2", "0.5").to_document()
    assert basis_from_document({"events": stored}, path="basis").events == folded(read(CARD), "2", "0.5")
    with pytest.raises(EngineError) as refusal:
        basis_from_document({"events": {**stored, **change}}, path="basis")
    assert refusal.value.path == f"basis.events.{key}"


def test_a_stored_basis_has_known_fields_only() -> None:
    with pytest.raises(InvalidTerms) as refusal:
        basis_from_document({"unit_by_cell": []}, path="basis")
    assert refusal.value.path == "basis.unit_by_cell"


@pytest.mark.parametrize(("included", "expected"), [(None, 0), ("3", 3), ("12", 10)])
def test_included_units_of_a_part(included: str | None, expected: int) -> None:
    """S091: as many as are included, as many as were used, and none where none are included."""
    (part,) = billable_parts(read(RATE, included_units=included), Decimal(10), WHOLE, NO_BASIS)
    assert Fraction(*part.included) == expected
    assert Fraction(*part.billable.units) == 10 - expected


def test_compiled_terms_refuse_a_wrong_part_at_once_and_a_foreign_basis_when_asked() -> None:
    """S105: the quick way refuses what the explaining one does, and takes no basis that the terms do not need."""
    usual: dict[str, Any] = {"terms": read(RATE), "currency": "USD", "rounding": Rounding.HALF_UP}
    for factor in (Fraction(-1, 2), Fraction(3, 2)):
        with pytest.raises(UnitsOutOfRange, match="part of a period"):
            compile_rater(**usual, factor=factor)
    rate = compile_rater(**usual, basis=Basis(amount=Decimal(1)))
    with pytest.raises(UnitsOutOfRange) as refusal:
        rate(Decimal(1))
    assert refusal.value.path == "basis"


def test_what_an_increment_says_of_itself() -> None:
    """S105, S106: both bills, their difference, and hashes that anyone can compute from theirs."""
    usual: dict[str, Any] = {"currency": "USD", "rounding": Rounding.HALF_UP}
    terms = read(RATE, unit_rate="0.333", included_units="2", timing="advance")
    first = rate_increment(terms=terms, before=None, after=(Decimal(3), NO_BASIS), **usual)
    second = rate_increment(terms=terms, before=(Decimal(3), NO_BASIS), after=(Decimal(7), NO_BASIS), **usual)
    assert [(line.code, line.model, line.quantity) for line in (first, second)] == [
        ("calls", "per_unit", 3),
        ("calls", "per_unit", 7),
    ]
    assert [line.billable_quantity for line in (first, second)] == [1, 4]
    assert [line.amount_minor for line in (first, second)] == [33, 134]
    assert (first.before, second.before) == (None, first.after)
    assert second.to_document() == {
        "before": first.after.to_document(),
        "after": second.after.to_document(),
        "amount_minor": "134",
        "amount": "1.34",
        "input_hash": canonical_hash({"before": first.after.input_hash, "after": second.after.input_hash}),
        "output_hash": canonical_hash(
            {"before": first.after.output_hash, "after": second.after.output_hash, "amount_minor": "134"}
        ),
    }
    assert first.to_document()["before"] is None
    assert canonical_json(first.to_document())
    assert first.input_hash == canonical_hash({"before": None, "after": first.after.input_hash})


def steps_of(terms: ChargeTerms, units: str, basis: Basis = NO_BASIS) -> list[tuple[str, str | None, str | None]]:
    """Return kind, cell and units of each step, half up in dollars."""
    line = rate_charge(terms=terms, quantity=Decimal(units), currency="USD", rounding=Rounding.HALF_UP, basis=basis)
    return [(step.kind, step.cell, step.units) for step in line.steps]


def test_included_units_are_a_step_where_there_are_any() -> None:
    """S091, S099: a whole charge says what is included even unused; a cell only what it takes."""
    assert steps_of(read(RATE, included_units="3"), "0") == [("included", None, "0"), ("per_unit", None, "0")]
    assert steps_of(read(RATE), "2") == [("per_unit", None, "2")]
    matrix = {"property": "r", "match": {"eu": {"unit_rate": "2"}, "us": {"unit_rate": "3"}}, "default": {}}
    terms = read(RATE, included_units="2.5", prices_by=matrix)
    basis = fold_units(terms, [({"r": "eu"}, Decimal(2)), ({"r": "us"}, Decimal(4)), ({}, Decimal(1))])
    assert steps_of(terms, "7", basis) == [
        ("included", "1", "2"),
        ("per_unit", "1", "0"),
        ("included", "2", "0.5"),
        ("per_unit", "2", "3.5"),
        ("per_unit", "3", "1"),
    ]


@pytest.mark.parametrize(
    ("limits", "units", "kinds"),
    [
        ({"max_amount": "5.00"}, "5", ["per_unit"]),
        ({"max_amount": "5.00"}, "5.0001", ["per_unit", "maximum"]),
        ({"min_amount": "5.00"}, "5", ["per_unit"]),
        ({"min_amount": "5.00"}, "4.9999", ["per_unit", "minimum"]),
        ({"min_amount": "5.00", "max_amount": "5.00"}, "5", ["per_unit"]),
    ],
)
def test_a_limit_that_is_met_exactly_is_no_step(limits: dict[str, str], units: str, kinds: list[str]) -> None:
    """S096: a limit is named where it moved the amount, and nowhere else."""
    assert [kind for kind, _, _ in steps_of(read(RATE, **limits), units)] == kinds


def test_a_cell_has_known_fields_only() -> None:
    """S089: a misspelt field of a cell is refused at its place, and not left out in silence."""
    entry = {"when": {"r": "eu"}, "price": {"unit_rate": "2"}, "prices": {}}
    with pytest.raises(InvalidTerms, match="not a known field") as refusal:
        read(RATE, prices_by={"properties": ["r"], "match": [entry], "default": {}})
    assert refusal.value.path == "charge.prices_by.match[0].prices"


def tiered(*bounds: str | None) -> dict[str, Any]:
    """Return a graduated charge with these upper bounds."""
    tiers = [{"up_to": bound, "unit_rate": "1"} for bound in bounds]
    return {"code": "calls", "meter": "calls", "model": "graduated", "tiers": tiers}


def test_each_tier_rises_above_the_one_before_it() -> None:
    """S089: not above the first of them only."""
    with pytest.raises(InvalidTerms, match="above 20") as refusal:
        read(tiered("10", "20", "15", None))
    assert refusal.value.path == "charge.tiers[2].up_to"


def test_a_thousand_tiers_are_possible() -> None:
    assert len(read(tiered(*map(str, range(1, 1000)), None)).tiers) == 1000
    with pytest.raises(InvalidTerms, match="at most 1000"):
        read(tiered(*map(str, range(1, 1001)), None))


def test_null_in_a_cell_is_as_if_it_were_left_out() -> None:
    """S099: a form sends every field; the empty ones say nothing."""
    cell = {"model": None, "unit_rate": "2", "tiers": None}
    plain, nulls = (
        read(tiered(None), prices_by={"property": "r", "match": {"eu": price}, "default": {"unit_rate": None}})
        for price in ({"unit_rate": "2"}, cell)
    )
    assert nulls == plain
    assert nulls.prices_by.cells[1].price is None


def test_the_largest_amount_and_the_largest_cell_are_priced() -> None:
    """S250: the end of the range belongs to it, for what events carry and for each cell, too."""
    largest = Decimal(10) ** 30
    usual: dict[str, Any] = {"currency": "USD", "rounding": Rounding.HALF_UP}
    carried = read({"code": "fee", "meter": "sales", "model": "dynamic", "amount_property": "cost"})
    basis = Basis(amount=largest)
    assert rate_charge(terms=carried, quantity=Decimal(0), basis=basis, **usual).amount_minor == 10**32
    matrix = read(RATE, prices_by={"property": "r", "match": {"eu": {"unit_rate": "2"}}, "default": {}})
    basis = Basis(units_by_cell=(largest, largest))
    assert rate_charge(terms=matrix, quantity=largest, basis=basis, **usual).amount_minor == 3 * 10**32


def test_a_tier_without_a_fee_costs_none_and_shows_what_it_was_given() -> None:
    tier = ChargeTier(up_to=None, unit_rate=Decimal("1.50"))
    assert tier.to_document() == {"up_to": None, "unit_rate": "1.5", "flat_fee": "0"}
    assert repr(tier) == "ChargeTier(up_to=None, unit_rate=Decimal('1.50'), flat_fee=Decimal('0'), rate_percent=None)"
    assert tier == ChargeTier(up_to=None, unit_rate=Decimal("1.5"))


@pytest.mark.parametrize(
    ("units", "tier", "bounds"),
    [("3", "1", ("0", "10")), ("10", "1", ("0", "10")), ("10.5", "2", ("10", "20")), ("21", "3", ("20", None))],
)
def test_a_volume_step_names_the_tier_that_holds_all_units(
    units: str, tier: str, bounds: tuple[str, str | None]
) -> None:
    """S097: its number, from where and up to where."""
    terms = read({**tiered("10", "20", None), "model": "volume"})
    line = rate_charge(terms=terms, quantity=Decimal(units), currency="USD", rounding=Rounding.HALF_UP)
    (step,) = line.steps
    assert (step.kind, step.tier, (step.from_units, step.to_units)) == ("volume", tier, bounds)
