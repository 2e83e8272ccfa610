"""What holds for every price of every model, on every edge: parts and wholes, limits, discounts, more and less."""

import random
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from apps.engine.charge_models import RatedLine
from apps.engine.money import Rounding, round_to_minor
from tests.engine.agreement import rated
from tests.engine.agreement_cases import MODELS, Case, random_case
from tests.engine.naive.models import event_fee
from tests.engine.naive.numbers import MINOR_DIGITS
from tests.engine.strategies import factors, fees, roundings

seeds = st.integers(0, 2**40)
many = settings(max_examples=250)


def case_of(seed: int, *models: str, **changes: Any) -> Case:
    """Return a case by chance, with keys of its document set, or left out where they are None."""
    case = random_case(random.Random(seed), models or MODELS)
    document = {key: value for key, value in (case.document | changes).items() if value is not None}
    return replace(case, document=document)


def minor_of(case: Case) -> Fraction:
    """Return one minor unit of the currency of a case, in major units."""
    return Fraction(1, 10 ** MINOR_DIGITS[case.currency])


def changed(case: Case, **changes: Any) -> RatedLine:
    """Rate a case again with keys of its document changed."""
    return rated(replace(case, document=case.document | changes))


@many
@given(seed=seeds)
def test_a_whole_period_is_the_whole_price(seed: int) -> None:
    """Prorating the whole changes nothing: with and without `prorate`, a factor of one is no factor."""
    case = replace(case_of(seed), factor=Fraction(1))
    amounts = {changed(case, prorate=flag).amount_exact for flag in (False, True)}
    assert amounts == {rated(case).amount_exact}


@given(parts=st.lists(factors, min_size=1, max_size=7), fee=fees, rounding=roundings)
def test_fees_of_the_parts_of_a_period_sum_to_the_fee(parts: list[Fraction], fee: Decimal, rounding: Rounding) -> None:
    """S107: however a period is cut, the exact fees of its parts are its fee; cumulatively, to the minor unit."""
    shares = [part / sum(parts) for part in parts]
    fee_case = case_of(0, "flat", amount=f"{fee:.2f}", prorate=True, per_quantity=None)
    plain = {key: fee_case.document[key] for key in ("code", "model", "amount", "prorate")}
    fee_case = replace(fee_case, document=plain, currency="USD", mode=rounding.value)
    lines = [rated(replace(fee_case, factor=share)) for share in shares]
    assert sum(line.amount_exact for line in lines) == Fraction(plain["amount"])
    served = [sum(shares[:count], Fraction(0)) for count in range(len(shares) + 1)]
    billed = [rated(replace(fee_case, factor=factor)).amount_minor for factor in served]
    increments = [after - before for before, after in pairwise(billed)]
    assert sum(increments) == round_to_minor(Fraction(plain["amount"]), currency="USD", rounding=rounding)
    assert all(increment >= 0 for increment in increments)


@many
@given(seed=seeds)
def test_the_rounded_amount_is_next_to_the_exact_one(seed: int) -> None:
    """S250: one rounding: less than one minor unit away, half of one where it goes to the nearest."""
    case = case_of(seed)
    line = rated(case)
    away = abs(line.amount_minor * minor_of(case) - line.amount_exact)
    assert away < minor_of(case)
    if case.mode.startswith("half"):
        assert away <= minor_of(case) / 2


@many
@given(seed=seeds)
def test_limits_hold_whatever_the_price(seed: int) -> None:
    """Never below the minimum nor above the maximum of the served part, and no limit moves an amount elsewhere."""
    case = case_of(seed)
    line = rated(case)
    is_prorated = case.document.get("prorate", case.document["model"] == "flat")
    part = case.factor if is_prorated else Fraction(1)
    free = rated(replace(case, document=case.document | {"min_amount": None, "max_amount": None}))
    low, high = (Fraction(case.document.get(key) or "0") * part for key in ("min_amount", "max_amount"))
    assert line.amount_exact >= low
    if case.document.get("max_amount") is not None:
        assert line.amount_exact <= max(high, low)
    assert line.amount_exact in {free.amount_exact, low, high}


@many
@given(seed=seeds, percent=st.sampled_from(["0", "1", "12.5", "50", "99.99", "100"]))
def test_a_discount_takes_its_part_of_the_price_and_no_more(seed: int, percent: str) -> None:
    case = case_of(seed, min_amount=None, max_amount=None, discount_percent=None)
    price = rated(case).amount_exact
    assert changed(case, discount_percent=percent).amount_exact == price * (1 - Fraction(percent) / 100)


@many
@given(seed=seeds, times=st.integers(2, 5))
def test_more_units_never_cost_less(seed: int, times: int) -> None:
    """Where nothing is negative and no price falls: all models of units but volume, whose cliffs are its nature."""
    case = case_of(seed, "per_unit", "graduated", "package", "overage", prices_by=None, unit_transform=None)
    quantity = min(case.usage.quantity, Fraction(10**29))
    case = replace(case, usage=replace(case.usage, quantity=quantity, groups=()))
    more = replace(case, usage=replace(case.usage, quantity=quantity * times))
    assert rated(case).amount_exact <= rated(more).amount_exact
    assert rated(case).amount_minor <= rated(more).amount_minor


@many
@given(seed=seeds)
def test_more_included_units_never_cost_more(seed: int) -> None:
    """S091: an included unit takes a billed one away; none of the models of units asks more for that."""
    case = case_of(seed, "per_unit", "graduated", "package", "overage", prices_by=None, included_units="3")
    assert changed(case, included_units="4.5").amount_exact <= rated(case).amount_exact


@many
@given(seed=seeds)
def test_volume_prices_one_tier_only(seed: int) -> None:
    """The price is billed units times the rate of one tier, and its fee: one of the tiers explains all of it."""
    plain = {"min_amount": None, "max_amount": None, "discount_percent": None, "prices_by": None, "prorate": None}
    case = case_of(seed, "volume", **plain)
    line = rated(case)
    offers = {
        line.billable_quantity * Fraction(tier["unit_rate"]) + Fraction(tier.get("flat_fee", "0"))
        for tier in case.document["tiers"]
    }
    assert line.amount_exact in offers | {Fraction(0)}


@many
@given(seed=seeds)
def test_a_percentage_without_allowance_is_the_sum_of_its_events(seed: int) -> None:
    """S100: event by event, in any order, when nothing is free."""
    without = {"free_events": None, "free_amount": None, "min_amount": None, "max_amount": None}
    case = case_of(seed, "percentage", **without, discount_percent=None)
    fees_of_events = [event_fee(case.document, value) for value in case.usage.event_values]
    assert rated(case).amount_exact == sum(fees_of_events, Fraction(0))
    backwards = replace(case.usage, event_values=tuple(reversed(case.usage.event_values)))
    assert rated(replace(case, usage=backwards)).amount_exact == rated(case).amount_exact


@many
@given(seed=seeds)
def test_one_question_has_one_answer(seed: int) -> None:
    """S105, S106: asked twice, the same document and the same two hashes; another quantity has another input hash."""
    case = case_of(seed)
    first, second = rated(case), rated(case)
    assert first.to_document() == second.to_document()
    assert (first.input_hash, first.output_hash) == (second.input_hash, second.output_hash)
    assert rated(replace(case, mode="floor" if case.mode != "floor" else "ceil")).input_hash != first.input_hash
