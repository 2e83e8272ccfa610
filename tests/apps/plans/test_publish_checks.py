"""What a version must stand before it is on sale: its own examples, and no cliff above its own limit."""

from decimal import Decimal

import pytest

from apps.common.actors import OPERATOR
from apps.engine.charge_models import charge_from_document, rate_charge
from apps.plans import cliffs, documents, pricing, services
from apps.plans.errors import PlanExamplesFailed, PlanVersionNotReady
from tests.builders import metering, plans

VOLUME = {
    "code": "calls",
    "meter": "calls",
    "model": "volume",
    "tiers": [{"up_to": "100", "unit_rate": "1"}, {"up_to": None, "unit_rate": "0.80"}],
}
PACKAGE = {"code": "jobs", "meter": "calls", "model": "package", "package_size": "10", "package_price": "25"}
GRADUATED = {**VOLUME, "model": "graduated"}


def _plan(*charges, **fields):
    document = plans.plan_document(base_fee=None, charges=list(charges), examples=[], **fields)
    return documents.validate(document=document)


def _found(*charges) -> list[tuple[str, int]]:
    plan = _plan(*charges)
    return [(str(c.at_units), c.jump_minor) for c in cliffs.cliffs_of(charges=plan.charges, currency="USD")]


def test_a_cliff_is_where_one_more_unit_changes_the_price():
    """S101: 100 calls cost 100.00 and the next one makes all of them cheaper; a package rises by its price."""
    assert _found(VOLUME) == [("100", -2000)]
    assert _found(PACKAGE) == [("10", 2500)]
    assert _found(GRADUATED) == []


def test_cliffs_are_found_behind_every_modifier():
    """S101: included units, a unit transform, a discount, a flat fee and the cells of a matrix move the cliff."""
    assert _found({**PACKAGE, "included_units": "5"}) == [("5", 2500), ("15", 2500)]
    thousands = {"divide_by": "1000", "mode": "ceil", "precision": 0}
    assert ("100000", -1920) in _found({**VOLUME, "unit_transform": thousands})
    assert _found({**VOLUME, "discount_percent": "50"}) == [("100", -1000)]
    fee = [{"up_to": "10", "unit_rate": "1"}, {"up_to": None, "unit_rate": "1", "flat_fee": "7.00"}]
    assert _found({**GRADUATED, "tiers": fee}) == [("10", 700)]
    by_region = {"property": "region", "match": {"eu": {"tiers": VOLUME["tiers"]}}, "default": {"unit_rate": "1"}}
    charge = {"code": "c", "meter": "calls", "model": "volume", "tiers": fee, "prices_by": by_region}
    (found,) = cliffs.cliffs_of(charges=_plan(charge).charges, currency="USD")
    assert str(found) == "c (region eu): the next unit above 100 takes off 20.00 USD"


@pytest.mark.django_db
def test_a_cliff_above_the_plans_own_limit_is_not_published(tenant, at):
    """S101, I19: told on apply; refused at publish only when the document sets a limit below it."""
    metering.meter(code="calls")
    document = plans.plan_document(charges=[VOLUME], cliff_limit="19.99")
    applied = services.plan_document_apply(document=document, actor=OPERATOR, at=at)
    assert applied.warnings == ("calls: the next unit above 100 takes off 20.00 USD",)
    with pytest.raises(PlanVersionNotReady) as refused:
        services.plan_version_publish(plan_code="growth", version=1, actor=OPERATOR, at=at)
    assert [problem.pointer for problem in refused.value.problems] == ["/cliff_limit"]
    services.plan_document_apply(document=document | {"cliff_limit": "20.00"}, actor=OPERATOR, at=at)
    published = services.plan_version_publish(plan_code="growth", version=1, actor=OPERATOR, at=at)
    assert published.status == "PUBLISHED"


@pytest.mark.django_db
def test_terms_that_charge_usage_carry_an_example(tenant, at):
    """I19: every plan version carries examples; one of fixed fees needs none."""
    plans.drafted_plan(examples=[])
    with pytest.raises(PlanExamplesFailed) as refused:
        services.plan_version_publish(plan_code="growth", version=1, actor=OPERATOR, at=at)
    assert [(problem.pointer, problem.code) for problem in refused.value.problems] == [
        ("/examples", "examples_missing")
    ]
    plans.published_plan(code="flat", charges=[], examples=[])


# Reckoned by hand: what each model makes of an example, commitments included.
CASES = {
    "volume": (VOLUME, {}, "120", "96.00"),
    "package": (PACKAGE, {}, "21", "75.00"),
    "transform": ({**PACKAGE, "unit_transform": {"divide_by": "1000", "mode": "ceil"}}, {}, "10001", "50.00"),
    "percentage": (
        {"code": "c", "meter": "calls", "model": "percentage", "rate_percent": "2", "fixed_fee": "0.30",
         "free_events": "1", "max_per_event": "1"},
        {}, {"events": ["500", "10", "100"]}, "1.50",  # free; 0.20 + 0.30; 2.30 clamped to 1
    ),
    "graduated_percentage": (
        {"code": "c", "meter": "calls", "model": "graduated_percentage",
         "tiers": [{"up_to": "100", "rate_percent": "1"}, {"up_to": None, "rate_percent": "0.5"}]},
        {}, "300", "2.00",
    ),
    "dynamic": (
        {"code": "c", "meter": "calls", "model": "dynamic", "amount_property": "price"},
        {}, {"amount": "12.345", "units": "3"}, "12.35",
    ),
    "matrix": (
        {"code": "c", "meter": "calls", "model": "per_unit", "unit_rate": "1",
         "prices_by": {"property": "region", "match": {"eu": {"unit_rate": "2"}}, "default": {}}},
        {}, {"groups": [{"values": {"region": "eu"}, "units": "3"}, {"values": {}, "units": "4"}]}, "10.00",
    ),
    "minimum": (VOLUME, {"minimum_commitment": "150.00"}, "120", "150.00"),
    # 120 x 0.80 = 96 at list price; 90 covers usage of 100 at a tenth off: all of it, and 3.60 of shortfall
    "below commitment": (VOLUME, {"commitment": {"amount": "90.00", "discount_percent": "10"}}, "120", "90.00"),
    # 50 covers 50 at list price; the rest, 46, x 1.5
    "above commitment": (VOLUME, {"commitment": {"amount": "50.00", "overage_factor": "1.5"}}, "120", "119.00"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_examples_cover_every_model_and_commitment(name):
    """I19, S098, S099, S100: the example of every model comes out, and no other total does."""
    charge, fields, usage, total = CASES[name]
    document = plans.plan_document(base_fee=None, charges=[charge], **fields, examples=[])
    meter = charge["meter"]
    document["examples"] = [{"usage": {meter: usage}, "total": total}]
    assert pricing.examples_mismatched(plan=documents.validate(document=document)) == []
    document["examples"][0]["total"] = str(Decimal(total) + Decimal("0.01"))
    assert len(pricing.examples_mismatched(plan=documents.validate(document=document))) == 1


def test_an_example_counts_seats():
    """S096: a fee per seat, and an example that says how many there are."""
    document = plans.plan_document(
        base_fee=None, charges=[], examples=[{"usage": {}, "quantity": "4", "total": "36.00"}]
    )
    document["base_fee"] = {"amount": "9.00", "per_quantity": True}
    assert pricing.examples_mismatched(plan=documents.validate(document=document)) == []


def test_a_matrix_of_a_thousand_cells_is_looked_at_cell_by_cell(monkeypatch):
    """The work grows with the bounds and not with their square, and ends where nobody reads any more."""
    tiers = [{"up_to": "10", "unit_rate": "1", "flat_fee": "0"}, {"up_to": None, "unit_rate": "1", "flat_fee": "5.00"}]
    document = {
        "code": "calls",
        "meter": "calls",
        "model": "graduated",
        "tiers": tiers,
        "prices_by": {
            "property": "region",
            "match": {f"r{number:03}": {"tiers": [{**tiers[0], "unit_rate": f"1.{number:03}"}, tiers[1]]}
                      for number in range(999)},
            "default": {},
        },
    }  # fmt: skip
    terms = charge_from_document(document, currency="USD", path="")
    rated = []

    def counted(**given):
        rated.append(given["terms"].prices_by)
        return rate_charge(**given)

    monkeypatch.setattr(cliffs, "rate_charge", counted)
    found = cliffs.cliffs_of(charges=[terms], currency="USD")
    assert (len(found), len(rated)) == (1000, 2000)
    assert set(rated) == {None}
    assert {cliff.jump_minor for cliff in found} == {5_00}
    monkeypatch.setattr(cliffs, "PLACES_MAX", 10)
    assert len(cliffs.cliffs_of(charges=[terms], currency="USD")) == 10
