"""The engine against the naive second implementation: the same questions, the same answers, to the last digit."""

import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.engine.aggregation import Aggregation, Operation, Reading, fold_readings
from apps.engine.charge_models import charge_from_document
from apps.engine.charge_models.increments import rate_increment
from apps.engine.commitments import CommitmentTerms, commitment_lines
from apps.engine.money import Rounding
from apps.engine.unit_rounding import quantity_decimal
from tests.engine import agreement
from tests.engine.agreement import basis_of, decimal_of, disagreements, quantity_of, smallest
from tests.engine.agreement_cases import MODELS, MODES, Case, random_case
from tests.engine.naive import commitments, numbers, usage
from tests.engine.naive.rating import Usage, increment_minor
from tests.engine.strategies import roundings

CASES_PER_MODEL = 1500
STARTS_AT = datetime(2026, 3, 1, tzinfo=UTC)
ENDS_AT = STARTS_AT + timedelta(seconds=90)


@pytest.mark.parametrize("model", MODELS)
def test_both_implementations_agree(model: str) -> None:
    """S105, S106: exact amount, rounded amount and the sum of the steps, for terms and usage on every edge."""
    asked = Counter()
    for named, found in disagreements(seed=f"suite {model}", cases=CASES_PER_MODEL, models=[model]):
        asked[named] += 1
        assert found is None, str(found)
    assert asked == {model: CASES_PER_MODEL}


def test_a_disagreement_is_noticed_and_made_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check itself can fail: a naive answer that is wrong above ten units is found, and shown without ballast."""
    right = agreement.charge_amount

    def wrong(document, given, factor):  # noqa: ANN001, ANN202
        return right(document, given, factor) + (Fraction(1, 10**6) if given.quantity > 10 else 0)

    monkeypatch.setattr(agreement, "charge_amount", wrong)
    found = [case for _, case in disagreements(seed="planted", cases=60, models=["graduated"]) if case is not None]
    assert len(found) > 10
    case = smallest(found[0].case)
    assert case.usage.quantity > 10
    assert (case.factor, case.mode) == (Fraction(1), "half_up")
    assert set(case.document) <= {"code", "model", "meter", "tiers"}
    assert "naive:" in str(found[0])
    assert "engine:" in str(found[0])


@pytest.mark.parametrize("model", ["per_unit", "graduated", "package", "overage", "percentage", "dynamic"])
def test_increments_sum_to_the_whole(model: str) -> None:
    """Billed per event, each one costs what the naive bills differ by, and together they cost what the period costs."""
    chance, asked = random.Random(f"increments {model}"), 0
    while asked < 60:
        case = random_case(chance, [model])
        document = {
            key: case.document[key] for key in case.document if key not in ("prices_by", "min_amount", "prorate")
        }
        document["timing"] = "advance"
        steps = _states(chance, replace(case, document=document, factor=Fraction(1)))
        terms = charge_from_document(document, currency=case.currency, path="charge")
        measured = [None, *((quantity_of(state), basis_of(terms, state.usage)) for state in steps)]
        amounts = [
            rate_increment(
                terms=terms, before=before, after=after, currency=case.currency, rounding=Rounding(case.mode)
            ).amount_minor
            for before, after in zip(measured, measured[1:], strict=False)
        ]
        bills = [agreement.to_minor(*_bill(state)) for state in steps]
        assert amounts[0] == bills[0]
        for number in range(1, len(steps)):
            expected = increment_minor(
                document, steps[number - 1].usage, steps[number].usage, currency=case.currency, mode=case.mode
            )
            assert amounts[number] == expected, (document, steps[number])
            assert amounts[number] >= 0, "one more event never gives money back"
        assert sum(amounts) == bills[-1]
        asked += 1


def _bill(state: Case) -> tuple[Fraction, str, str]:
    return agreement.charge_amount(state.document, state.usage, Fraction(1)), state.currency, state.mode


def _states(chance: random.Random, case: Case) -> list[Case]:
    """Return a period after its first event, after its second, and so on."""
    if case.document["model"] in ("percentage", "dynamic"):
        name = "event_values" if case.document["model"] == "percentage" else "amounts"
        items = getattr(case.usage, name) or (Fraction(0),)
        return [replace(case, usage=Usage(**{name: items[: count + 1]})) for count in range(len(items))]
    tenths = sorted(chance.randint(0, 10) for _ in range(4))
    # Whole tenths of the units, to the sixth decimal: the engine takes decimals that end.
    return [
        replace(case, usage=Usage(quantity=numbers.rounded_to_places(case.usage.quantity * part / 10, 6, "floor")))
        for part in tenths
    ]


@given(
    listed=st.integers(0, 10**7),
    before=st.integers(0, 10**5),
    amount=st.integers(0, 10**6),
    discount=st.sampled_from(["0", "10", "33.3", "99.9"]),
    overage=st.sampled_from(["0", "0.5", "1", "1.5", "3"]),
    factor=st.sampled_from([Fraction(1), Fraction(15, 31), Fraction(0)]),
    rounding=roundings,
)
def test_commitments_agree(  # noqa: PLR0917
    listed: int, before: int, amount: int, discount: str, overage: str, factor: Fraction, rounding: Rounding
) -> None:
    """Usage at list price and the lines of the commitment come to what the naive one asks, within one rounding each."""
    lines = commitment_lines(
        terms=CommitmentTerms(amount_minor=amount, discount_percent=Decimal(discount), overage_factor=Decimal(overage)),
        counted_minor=listed,
        billed_before_minor=before,
        factor=factor,
        currency="USD",
        rounding=rounding,
    )
    asked = {
        "listed": Fraction(listed + before),
        "amount": Fraction(numbers.rounded(amount * factor, rounding.value)),
        "discount_percent": Fraction(discount),
        "overage": Fraction(overage),
    }
    parts, got = commitments.commitment_parts(**asked), {line.code: line.amount_minor for line in lines}
    assert all(abs(got.get(code, 0) - exact) < 1 for code, exact in parts.items())
    assert set(got) <= set(parts)
    total = listed + before + sum(got.values())
    assert abs(total - commitments.commitment_total(**asked)) < 2
    if (listed + before) * (1 - Fraction(discount) / 100) <= asked["amount"]:
        assert total == asked["amount"], "below the commitment the customer pays exactly the commitment"


@st.composite
def event_lists(draw: st.DrawFn) -> list[usage.Event]:
    """Draw events around a window of ninety seconds, with equal times, in order of arrival."""
    event = st.builds(
        lambda second, value, name, operation: usage.Event(
            at=STARTS_AT + timedelta(seconds=second), value=Fraction(value, 8), name=name, operation=operation
        ),
        st.integers(-20, 110) | st.sampled_from([-1, 0, 1, 89, 90]),
        st.integers(-40, 40),
        st.sampled_from("abc"),
        st.sampled_from(["add", "add", "remove"]),
    )
    return draw(st.lists(event, max_size=9))


def readings_of(events: list[usage.Event]) -> list[Reading]:
    """Return events as the engine reads them."""
    return [Reading(e.at, decimal_of(e.value), e.name, Operation(e.operation)) for e in events]


@given(events=event_lists())
def test_aggregations_agree(events: list[usage.Event]) -> None:
    """S065: eight ways from events to a quantity, of those in the half-open window and of no other."""
    inside = usage.inside(events, STARTS_AT, ENDS_AT)
    expected = {
        Aggregation.COUNT: usage.count(inside),
        Aggregation.SUM: usage.total(inside),
        Aggregation.MAX: usage.largest(inside),
        Aggregation.MIN: usage.smallest(inside),
        Aggregation.LATEST: usage.latest(inside),
        Aggregation.AVERAGE: usage.mean(inside),
        Aggregation.UNIQUE_COUNT: usage.unique(inside),
        Aggregation.WEIGHTED_SUM: usage.weighted(inside, STARTS_AT, ENDS_AT, Fraction(0)),
    }
    assert set(expected) == set(Aggregation)
    for aggregation, quantity in expected.items():
        got = fold_readings(aggregation=aggregation, readings=readings_of(events), starts_at=STARTS_AT, ends_at=ENDS_AT)
        assert Fraction(got) == quantity, aggregation
        written = quantity_decimal(got)
        assert (
            Fraction(written) == numbers.rounded_to_places(quantity, 12, "half_even") or Fraction(written) == quantity
        )


@given(events=event_lists())
def test_what_is_carried_over_agrees(events: list[usage.Event]) -> None:
    """A meter that carries over begins with what was there before the window, however long ago it came."""
    before = [event for event in events if event.at < STARTS_AT]
    inside = usage.inside(events, STARTS_AT, ENDS_AT)
    carried = {"readings": readings_of(events), "starts_at": STARTS_AT, "ends_at": ENDS_AT, "carries_over": True}
    level = fold_readings(aggregation=Aggregation.WEIGHTED_SUM, **carried)
    assert Fraction(level) == usage.weighted(inside, STARTS_AT, ENDS_AT, usage.total(before))
    present = fold_readings(aggregation=Aggregation.UNIQUE_COUNT, **carried)
    assert Fraction(present) == usage.unique([*usage.in_order(before), *usage.in_order(inside)])


def test_rounding_modes_are_the_same_four() -> None:
    assert set(MODES) == {mode.value for mode in Rounding}
