"""Where usage is billed by when it came, and when a document stops waiting for it (F16)."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.engine.errors import InvalidTerms
from apps.engine.late_usage import (
    Closing,
    DocumentState,
    Place,
    Policy,
    is_approved_by_rule,
    may_be_final,
    place_usage,
)
from apps.engine.periods import Period

JANUARY = Period(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
END = JANUARY.ends_at
SECOND = timedelta(seconds=1)
GRACE = timedelta(hours=24)


def _closing(policy: Policy = Policy.NEXT_INVOICE, **overrides: timedelta) -> Closing:
    return Closing(**{"ends_at": END, "grace": GRACE, "policy": policy, "hold_max": timedelta(hours=72), **overrides})


@pytest.mark.parametrize(
    ("document", "is_seen", "policy", "place"),
    [
        (DocumentState.NONE_YET, False, Policy.NEXT_INVOICE, Place.OWN_PERIOD),
        (DocumentState.DRAFT, False, Policy.NEXT_INVOICE, Place.DRAFT),
        (DocumentState.DRAFT, False, Policy.OWN_DOCUMENT, Place.DRAFT),
        (DocumentState.FINAL, True, Policy.OWN_DOCUMENT, Place.SEEN),
        (DocumentState.FINAL, False, Policy.NEXT_INVOICE, Place.ADJUSTMENT),
        (DocumentState.FINAL, False, Policy.HOLD, Place.ADJUSTMENT),
        (DocumentState.FINAL, False, Policy.OWN_DOCUMENT, Place.OWN_DOCUMENT),
        (DocumentState.NOT_BILLED, False, Policy.NEXT_INVOICE, Place.NOTHING_DUE),
    ],
)
def test_usage_has_one_place(document, is_seen, policy, place):
    """S072: the place follows from what there is of the document, what it had seen, and the policy."""
    occurred_at = END - SECOND
    found = place_usage(occurred_at=occurred_at, period=JANUARY, document=document, is_seen=is_seen, policy=policy)
    assert found is place


@pytest.mark.parametrize(
    ("occurred_at", "is_inside"),
    [(JANUARY.starts_at - SECOND, False), (JANUARY.starts_at, True), (END - SECOND, True), (END, False)],
)
def test_a_period_has_its_first_instant_and_not_its_last(occurred_at, is_inside):
    """S078: one second decides to which of two periods usage belongs, and it belongs to one of them."""
    place = place_usage(
        occurred_at=occurred_at,
        period=JANUARY,
        document=DocumentState.FINAL,
        is_seen=False,
        policy=Policy.NEXT_INVOICE,
    )
    assert (place is not Place.OUTSIDE) == is_inside


@pytest.mark.parametrize(
    ("policy", "watermark", "now", "is_final"),
    [
        # S076: the grace, to the second.
        (Policy.NEXT_INVOICE, None, END + GRACE - SECOND, False),
        (Policy.NEXT_INVOICE, None, END + GRACE, True),
        (Policy.OWN_DOCUMENT, END - SECOND, END + GRACE, True),
        # S074: under hold, the sources must have told of the whole period, or the longest hold is over.
        (Policy.HOLD, END - SECOND, END + GRACE, False),
        (Policy.HOLD, END, END + GRACE, True),
        (Policy.HOLD, END, END + GRACE - SECOND, False),
        (Policy.HOLD, None, END + GRACE, True),
        (Policy.HOLD, END - SECOND, END + timedelta(hours=72) - SECOND, False),
        (Policy.HOLD, END - SECOND, END + timedelta(hours=72), True),
    ],
)
def test_when_a_document_stops_waiting(policy, watermark, now, is_final):
    assert may_be_final(closing=_closing(policy), watermark=watermark, now=now) == is_final


def test_a_window_closes_ten_minutes_after_its_end_whatever_the_grace():
    """S075: what is on its way for some minutes is not late, even where nobody waits for anything else."""
    closing = _closing(grace=timedelta(0))
    assert closing.window_closes_at == closing.final_from_at == END + timedelta(minutes=10)
    assert not may_be_final(closing=closing, watermark=None, now=END + timedelta(minutes=10) - SECOND)
    assert may_be_final(closing=closing, watermark=None, now=END + timedelta(minutes=10))


def test_a_time_to_wait_is_not_below_zero():
    with pytest.raises(InvalidTerms, match="below zero"):
        _closing(grace=-SECOND)


@given(
    received_after=st.sampled_from([-SECOND, 0 * SECOND, GRACE - SECOND, GRACE + SECOND, timedelta(days=40)]),
    occurred_before=st.sampled_from([-SECOND, 0 * SECOND, SECOND, timedelta(days=30)]),
    finalised_after=st.sampled_from([GRACE, timedelta(days=3)]),
    policy=st.sampled_from(Policy),
)
def test_every_event_has_exactly_one_outcome(received_after, occurred_before, finalised_after, policy):
    """F16: at the end, around the grace, after the document was final and long after: billed, pending or outside."""
    received_at, occurred_at = END + received_after, END - occurred_before
    finalised_at = END + finalised_after
    is_seen = received_at < finalised_at
    outcomes = []
    for moment in sorted({received_at, END, END + GRACE, finalised_at, END + timedelta(days=60)}):
        if moment < received_at:
            continue
        document = (
            DocumentState.FINAL
            if moment >= finalised_at
            else DocumentState.DRAFT
            if moment >= END
            else DocumentState.NONE_YET
        )
        outcomes.append(
            place_usage(occurred_at=occurred_at, period=JANUARY, document=document, is_seen=is_seen, policy=policy)
        )
    # Whatever way it took there, in the end it is in one place: on its document, or in a difference.
    billed = {Place.SEEN}
    differences = {Place.ADJUSTMENT, Place.OWN_DOCUMENT}
    if not JANUARY.contains(occurred_at):
        assert set(outcomes) == {Place.OUTSIDE}
    else:
        assert outcomes[-1] in (billed if is_seen else differences)
        assert not (set(outcomes) & billed and set(outcomes) & differences)


@pytest.mark.parametrize(("amount_minor", "is_approved"), [(100, True), (-100, True), (101, False), (-101, False)])
def test_the_bound_counts_either_way(amount_minor, is_approved):
    assert is_approved_by_rule(amount_minor=amount_minor, bound_minor=100) == is_approved
