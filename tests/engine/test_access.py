"""The decision about access: properties that hold for every question, and its words."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from apps.engine.access import (
    AccessQuestion,
    LimitState,
    Policy,
    Reason,
    decide_access,
    question_from_document,
    question_to_document,
)

UNITS = st.decimals(min_value=0, max_value=10**12, allow_nan=False, places=3)
INSTANTS = st.datetimes(timezones=st.just(UTC))
LIMITS = st.builds(
    LimitState,
    limit_id=st.uuids().map(str),
    policy=st.sampled_from(Policy),
    limit_units=UNITS,
    used_units=UNITS,
    resets_at=st.none() | INSTANTS,
    is_own_cap=st.booleans(),
    is_largest=st.booleans(),
)
QUESTIONS = st.builds(
    AccessQuestion,
    is_granted=st.booleans(),
    is_switched_off=st.booleans(),
    asked_units=st.none() | UNITS,
    ceiling_units=st.none() | UNITS,
    limits=st.lists(LIMITS, max_size=4).map(tuple),
    throttled_rate=st.just(Decimal("0.25")),
)
FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)


def _limit(**overrides) -> LimitState:
    terms = {"limit_id": "a", "policy": Policy.REJECT, "limit_units": Decimal(10), "used_units": Decimal(9)}
    return LimitState(**(terms | overrides))


@given(QUESTIONS)
def test_a_recorded_question_is_decided_alike(question):
    """I29: a stored question, read back, has the same answer to the last digit."""
    assert decide_access(question_from_document(question_to_document(question))) == decide_access(question)


@given(QUESTIONS)
def test_what_is_allowed_breaks_no_limit_that_refuses(question):
    """S115: allowed means granted, not switched off, and below every limit that refuses."""
    decision = decide_access(question)
    if decision.is_allowed:
        assert question.is_granted
        assert not question.is_switched_off
        assert all(limit.takes(question.asked_units) for limit in question.limits if limit.policy is Policy.REJECT)
    else:
        assert decision.reason in {
            Reason.SWITCHED_OFF,
            Reason.NOT_GRANTED,
            Reason.QUOTA_EXCEEDED,
            Reason.CAP_EXCEEDED,
        }


@given(QUESTIONS, UNITS)
def test_more_is_never_allowed_where_less_is_refused(question, less):
    """S115: asking for more cannot turn a refusal into a yes."""
    small, large = (replace(question, asked_units=units) for units in (less, less + 1))
    assert decide_access(small).is_allowed or not decide_access(large).is_allowed


@given(LIMITS, UNITS)
def test_what_is_taken_never_goes_above_unless_it_changes_nothing(limit, units):
    """S117: the last unit fits, the next does not, and an event that adds nothing is never in the way."""
    after = limit.used_with(units)
    assert limit.takes(units) == (after <= limit.limit_units or after == limit.used_units)


def test_the_last_unit_fits_and_the_next_does_not():
    asked = [AccessQuestion(is_granted=True, asked_units=Decimal(n), limits=(_limit(),)) for n in (1, 2)]
    assert [decide_access(question).reason for question in asked] == [Reason.WITHIN_LIMIT, Reason.QUOTA_EXCEEDED]


def test_without_units_the_question_is_whether_anything_is_left():
    left, full = (
        decide_access(AccessQuestion(is_granted=True, limits=(_limit(used_units=Decimal(used)),))) for used in (9, 10)
    )
    assert (left.is_allowed, left.remaining_units) == (True, 1)
    assert (full.is_allowed, full.remaining_units) == (False, 0)


def test_the_tightest_limit_is_named_and_a_cap_is_told_from_the_plan():
    """I34: what the customer drew itself is another reason than what the plan says."""
    plan = _limit(limit_units=Decimal(100), resets_at=FEBRUARY)
    cap = _limit(limit_id="b", limit_units=Decimal(9), is_own_cap=True, resets_at=FEBRUARY)
    decision = decide_access(AccessQuestion(is_granted=True, limits=(plan, cap)))
    assert (decision.reason, decision.limit_units, decision.resets_at) == (Reason.CAP_EXCEEDED, 9, FEBRUARY)


def test_a_throttle_asks_to_slow_down_only_above_its_limit():
    """S115: at the limit the rate is whole, above it the caller is asked for less."""
    at_limit, above = (
        AccessQuestion(
            is_granted=True,
            limits=(_limit(policy=Policy.THROTTLE, used_units=Decimal(used)),),
            throttled_rate=Decimal("0.25"),
        )
        for used in (10, 11)
    )
    assert decide_access(at_limit).rate_factor == 1
    assert (decide_access(above).is_allowed, decide_access(above).rate_factor) == (True, Decimal("0.25"))


def test_a_static_limit_is_compared_with_what_is_asked():
    fifteen = AccessQuestion(is_granted=True, ceiling_units=Decimal(15))
    assert decide_access(replace(fifteen, asked_units=Decimal(15))).is_allowed
    assert decide_access(replace(fifteen, asked_units=Decimal(16))).reason is Reason.QUOTA_EXCEEDED
