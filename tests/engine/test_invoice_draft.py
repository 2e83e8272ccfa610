"""Invoice drafts: order, sums, unknown tax, commitments, and decisions that can be computed again."""

import json
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.engine.charge_models import ChargeTerms
from apps.engine.discounts import DiscountKind, DiscountTerms
from apps.engine.errors import CurrencyUnknown, InvalidDecision, InvalidDraft, TaxNotKnown, UnitsOutOfRange
from apps.engine.explain import explain_line
from apps.engine.hashing import canonical_json
from apps.engine.invoice_draft import (
    ChargeInput,
    build_invoice_draft,
    ensure_adds_up,
    ensure_finalizable,
    is_reproduced,
    recompute,
)
from apps.engine.money import Rounding
from tests.engine.drafts import BASE_FEE, CALLS, EGRESS, FEBRUARY, GERMAN_TAX, JANUARY, charge, facts, month
from tests.engine.strategies import any_terms, factors, quantities, roundings


def stored(decision: Any) -> Any:
    """Return a decision as it comes back from a JSON column."""
    return json.loads(json.dumps(dict(decision)))


def test_lines_totals_and_order() -> None:
    draft = build_invoice_draft(facts=month())
    assert [(line.position, line.kind, line.code, line.net_minor, line.tax_minor) for line in draft.lines] == [
        (1, "base_fee", "base_fee", 9900, 1881),
        (2, "usage", "api_calls", 51000, 9690),
        (3, "usage", "egress", 0, 0),
    ]
    assert (draft.subtotal_minor, draft.tax_minor, draft.total_minor) == (60900, 11571, 72471)
    assert [line.service_period for line in draft.lines] == [FEBRUARY, JANUARY, JANUARY]
    assert [line.unit for line in draft.lines] == ["", "calls", "egress"]
    assert draft.lines[2].description == "Egress"


def test_a_line_of_zero_is_kept_and_can_be_explained() -> None:
    line = build_invoice_draft(facts=month()).lines[2]
    assert (line.net_minor, line.decision["quantity"], line.decision["usage"]) == (0, "0", {"event_count": 0})


def test_order_of_the_charges_does_not_matter() -> None:
    """S105: the draft depends on the facts and not on how they were collected."""
    given_order = month()
    other_order = replace(given_order, charges=tuple(reversed(given_order.charges)))
    assert build_invoice_draft(facts=other_order).hash == build_invoice_draft(facts=given_order).hash


def test_the_same_facts_give_the_same_hash() -> None:
    """S106: after a replay the customer's invoice is the same, line by line and hash by hash."""
    first, second = build_invoice_draft(facts=month()), build_invoice_draft(facts=month())
    assert canonical_json(first.to_document()) == canonical_json(second.to_document())
    assert first.hash == second.hash
    assert build_invoice_draft(facts=month(rounding=Rounding.FLOOR)).hash != first.hash


def test_no_time_is_in_the_draft_but_the_period() -> None:
    """S252: every instant in the result was in the facts."""
    text = canonical_json(build_invoice_draft(facts=month()).to_document())
    for known in (*JANUARY.to_document().values(), *FEBRUARY.to_document().values()):
        text = text.replace(known, "")
    assert "T00:" not in text
    assert "202" not in text


def test_unknown_tax_is_not_zero() -> None:
    draft = build_invoice_draft(facts=facts(charge(BASE_FEE), charge(EGRESS, "10", tax=None)))
    assert [line.tax_minor for line in draft.lines] == [1881, None]
    assert draft.unknown_tax_codes == ("egress",)
    assert not draft.is_finalizable
    with pytest.raises(TaxNotKnown, match="egress"):
        ensure_finalizable(draft=draft)
    ensure_finalizable(draft=build_invoice_draft(facts=month()))


@pytest.mark.parametrize(
    ("minimum_minor", "before_minor", "shortfall_minor"),
    [(None, 0, None), (50000, 0, None), (51000, 0, None), (51001, 0, 1), (100000, 0, 49000), (100000, 9900, 39100)],
)
def test_minimum_commitment_is_trued_up(
    minimum_minor: int | None, before_minor: int, shortfall_minor: int | None
) -> None:
    """The fee of the next month does not count for this one; what was billed for this one earlier does."""
    draft = build_invoice_draft(
        facts=month(
            minimum_commitment_minor=minimum_minor,
            commitment_billed_before_minor=before_minor,
            commitment_tax=GERMAN_TAX,
        )
    )
    amounts = [line.net_minor for line in draft.lines if line.kind == "commitment"]
    assert amounts == ([] if shortfall_minor is None else [shortfall_minor])
    assert draft.is_finalizable


@pytest.mark.parametrize(
    ("options", "charges", "path"),
    [
        ({}, (charge(BASE_FEE), charge(BASE_FEE)), "base_fee"),
        ({}, (charge({**BASE_FEE, "code": "minimum_commitment"}),), "minimum_commitment"),
        ({"minimum_commitment_minor": -1}, (charge(BASE_FEE),), "minimum_commitment_minor"),
    ],
)
def test_impossible_drafts_are_refused(options: dict[str, Any], charges: tuple[ChargeInput, ...], path: str) -> None:
    with pytest.raises(InvalidDraft) as refusal:
        build_invoice_draft(facts=facts(*charges, **options))
    assert refusal.value.path == path


def test_one_code_may_stand_for_two_periods() -> None:
    draft = build_invoice_draft(facts=facts(charge(BASE_FEE, service_period=FEBRUARY), charge(BASE_FEE)))
    assert [line.service_period for line in draft.lines] == [JANUARY, FEBRUARY]


def test_an_empty_draft_still_needs_a_currency() -> None:
    """S251: no lines, no amounts, and yet the currency is required."""
    assert build_invoice_draft(facts=facts()).total_minor == 0
    with pytest.raises(CurrencyUnknown):
        build_invoice_draft(facts=facts(currency=""))


@pytest.mark.parametrize("name", ["subtotal_minor", "discount_minor", "tax_minor", "total_minor"])
def test_totals_that_do_not_add_up_are_refused(name: str) -> None:
    draft = build_invoice_draft(facts=month())
    with pytest.raises(InvalidDraft, match="parts sum to") as refusal:
        ensure_adds_up(draft=replace(draft, **{name: getattr(draft, name) + 1}))
    assert refusal.value.path == name
    with pytest.raises(InvalidDraft, match="without a gap"):
        ensure_adds_up(draft=replace(draft, lines=draft.lines[1:]))


def test_decision_holds_all_that_is_needed() -> None:
    """S106: terms, quantity, factor, period, currency, rounding, evidence and hashes travel with the line."""
    line = build_invoice_draft(facts=month()).lines[1]
    decision = stored(line.decision)
    assert decision["plan"] == {"code": "growth", "version": 3}
    assert decision["period"] == JANUARY.to_document()
    assert (decision["meter_version"], decision["usage"]["event_count"]) == (2, 812)
    assert (decision["amount_minor"], decision["tax_minor"]) == (51000, 9690)
    again = recompute(decision=decision, quantity=Decimal("120000.000"))
    assert again.amount_minor == line.net_minor
    assert is_reproduced(decision=decision, recomputed=again)


@pytest.mark.parametrize(
    "tampering",
    [
        {"amount_minor": 52999},
        {"output_hash": "0" * 64},
        {"input_hash": "0" * 64},
        {"rounding": "floor"},
        {"factor": "1/2"},
        {"currency": "USD"},
    ],
)
def test_a_changed_decision_is_not_reproduced(tampering: dict[str, Any]) -> None:
    """S106: whoever changes a stored decision is found out, even where the amount stays the same."""
    decision = stored(build_invoice_draft(facts=month()).lines[1].decision) | tampering
    assert not is_reproduced(decision=decision, recomputed=recompute(decision=decision, quantity=Decimal(120000)))


def test_changed_terms_are_not_reproduced() -> None:
    decision = stored(build_invoice_draft(facts=month()).lines[1].decision)
    decision["terms"]["tiers"][1]["unit_rate"] = "0.0030001"
    assert not is_reproduced(decision=decision, recomputed=recompute(decision=decision, quantity=Decimal(120000)))


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"engine_version": "0"}, "engine_version"),
        ({"factor": "1/0"}, "factor"),
        ({"factor": "half"}, "factor"),
        ({"factor": "3/2"}, "factor"),
        ({"rounding": "nearest"}, "rounding"),
        ({"terms": {"code": "x", "model": "magic"}}, "terms.model"),
        ({"currency": "XXX"}, "currency"),
    ],
)
def test_a_decision_that_cannot_be_read_is_refused(change: dict[str, Any], path: str) -> None:
    decision = stored(build_invoice_draft(facts=month()).lines[1].decision) | change
    with pytest.raises(InvalidDecision) as refusal:
        recompute(decision=decision, quantity=Decimal(1))
    assert refusal.value.path == path


def test_a_decision_with_a_missing_field_is_refused() -> None:
    decision = stored(build_invoice_draft(facts=month()).lines[1].decision)
    del decision["terms"]
    with pytest.raises(InvalidDecision, match="missing") as refusal:
        recompute(decision=decision, quantity=Decimal(1))
    assert refusal.value.path == "terms"


def test_negative_usage_is_refused_and_not_hidden() -> None:
    with pytest.raises(UnitsOutOfRange, match="correct the usage"):
        build_invoice_draft(facts=facts(charge(CALLS, "-1")))


@given(terms=any_terms(), quantity=quantities, factor=factors, rounding=roundings, more=st.integers(0, 3))
def test_recomputing_agrees_exactly_when_nothing_changed(
    terms: ChargeTerms, quantity: Decimal, factor: Fraction, rounding: Rounding, more: int
) -> None:
    """S106: equal hashes if and only if the quantity read again is the quantity that was billed."""
    line_input = ChargeInput(terms=terms, quantity=quantity, tax=GERMAN_TAX, factor=factor)
    line = build_invoice_draft(facts=facts(line_input, rounding=rounding)).lines[0]
    again = recompute(decision=stored(line.decision), quantity=quantity + more)
    assert is_reproduced(decision=line.decision, recomputed=again) == (more == 0)
    if more == 0:
        assert again == line.rating


@given(
    inputs=st.lists(st.tuples(any_terms(), quantities, factors), max_size=5),
    rounding=roundings,
    minimum_minor=st.one_of(st.none(), st.integers(0, 10**7)),
)
def test_totals_are_the_sum_of_their_parts(
    inputs: list[tuple[ChargeTerms, Decimal, Fraction]], rounding: Rounding, minimum_minor: int | None
) -> None:
    charges = tuple(
        ChargeInput(terms=replace(terms, code=f"c{position}"), quantity=quantity, factor=factor, tax=GERMAN_TAX)
        for position, (terms, quantity, factor) in enumerate(inputs)
    )
    draft = build_invoice_draft(
        facts=facts(*charges, rounding=rounding, minimum_commitment_minor=minimum_minor, commitment_tax=GERMAN_TAX)
    )
    assert draft.subtotal_minor == sum(line.rating.amount_minor for line in draft.lines)
    assert draft.total_minor == draft.subtotal_minor + sum(line.tax_minor for line in draft.lines)
    assert draft.subtotal_minor >= (minimum_minor or 0)


def coupon(code: str = "WELCOME", **options: Any) -> DiscountTerms:
    """Return a tenth off everything unless the options say otherwise."""
    known: dict[str, Any] = {
        "id": code.lower(),
        "code": code,
        "name": code.capitalize(),
        "kind": DiscountKind.PERCENT,
        "percent": Decimal(10),
        "applied_at": JANUARY.starts_at,
    }
    return DiscountTerms(**(known | options))


def test_tax_is_on_what_discounts_leave() -> None:
    """PRICING.md, section 5: lines, then discounts, then the subtotal, then tax."""
    draft = build_invoice_draft(facts=month(discounts=(coupon(),)))
    assert [(line.net_minor, line.discount_minor, line.tax_minor) for line in draft.lines] == [
        (9900, 990, 1693),  # 19 percent of 89.10 is 16.929
        (51000, 5100, 8721),
        (0, 0, 0),
    ]
    assert (draft.discount_minor, draft.subtotal_minor, draft.tax_minor) == (6090, 54810, 10414)
    assert draft.total_minor == 54810 + 10414
    assert [(applied.terms.code, applied.amount_minor) for applied in draft.discounts] == [("WELCOME", 6090)]
    assert draft.lines[0].decision["discounts"] == [{"id": "welcome", "code": "WELCOME", "amount_minor": 990}]
    assert draft.lines[0].decision["amount_minor"] == 9900
    assert "discounts" not in draft.lines[2].decision


def test_the_explanation_names_discounts_and_taxes_what_they_leave() -> None:
    fee, calls, _ = build_invoice_draft(facts=month(discounts=(coupon(),))).lines
    explained = explain_line(decision=stored(fee.decision), recomputed=None)
    assert explained.formula[-1] == "Discount WELCOME takes 9.90 EUR from this line."
    assert "on 89.10 EUR: 16.93 EUR" in explained.tax
    assert is_reproduced(
        decision=calls.decision, recomputed=recompute(decision=calls.decision, quantity=calls.quantity)
    )
    credit = build_invoice_draft(facts=facts(charge(BASE_FEE, effect="credit"))).lines[0]
    assert "on -99.00 EUR: -18.81 EUR" in explain_line(decision=credit.decision, recomputed=None).tax


def test_a_discount_that_takes_nothing_leaves_no_trace() -> None:
    """Drafts made before there were discounts keep their hash."""
    plain = build_invoice_draft(facts=month())
    other_plan = build_invoice_draft(facts=month(discounts=(coupon(plans=("starter",)),)))
    assert other_plan.discounts == ()
    assert other_plan.hash == plain.hash
    assert "discount" not in canonical_json(plain.to_document())
    assert build_invoice_draft(facts=month(discounts=(coupon(),))).hash != plain.hash


def test_a_discount_by_plan_knows_the_plan_of_each_line() -> None:
    """The fee of the next period may be another plan's."""
    fee = charge(BASE_FEE, service_period=FEBRUARY, plan={"code": "scale", "version": 1})
    draft = build_invoice_draft(
        facts=facts(fee, charge(CALLS, "120000"), discounts=(coupon(plans=("scale",), percent=Decimal(50)),))
    )
    assert [(line.code, line.discount_minor) for line in draft.lines] == [("base_fee", 4950), ("api_calls", 0)]


def test_what_is_given_back_or_waived_is_not_discounted() -> None:
    credit, waived = charge(BASE_FEE, effect="credit"), charge(CALLS, "120000", effect="waive")
    draft = build_invoice_draft(facts=facts(credit, waived, charge(BASE_FEE), discounts=(coupon(),)))
    assert [(line.net_minor, line.discount_minor) for line in draft.lines] == [(9900, 990), (-9900, 0), (0, 0)]
    assert draft.subtotal_minor == -990


def test_discounts_that_disagree_with_the_lines_are_refused() -> None:
    draft = build_invoice_draft(facts=month(discounts=(coupon(),)))
    with pytest.raises(InvalidDraft, match="not what the lines give") as refusal:
        ensure_adds_up(draft=replace(draft, discounts=()))
    assert refusal.value.path == "discounts"
