"""Limits that refuse, throttle and notify, as events come in: exact, explained, and taking nothing when they refuse."""

from datetime import timedelta

import pytest

from apps.common.actors import OPERATOR
from apps.engine.access import Reason
from apps.entitlements import services
from apps.entitlements.models import AccessDecision
from apps.metering.limit_models import UsageLimit, UsageLimitChange
from apps.metering.models import QuarantinedEvent, UsageEvent
from apps.workflows import cycle_close, usage_intake, usage_limits
from tests.builders import customers, limits, metering, plans, subscriptions

pytestmark = pytest.mark.django_db


def _send(count: int, at, **overrides):
    return metering.send(*(metering.event(**overrides) for _ in range(count)), at=at)


def _used(subscription, at, **asked) -> str:
    return limits.check(subscription, at=at, **asked).to_document()["used"]


def test_the_event_that_would_go_above_is_refused_with_limit_used_and_reset(tenant, at):
    """S115, S116, S118: the limit is checked before the event is acknowledged, and the answer can be acted upon."""
    subscription = limits.limited(limit="3")
    result = _send(5, at)
    assert (result.accepted, result.rejected) == (3, 2)
    refused = result.to_document()["results"]
    assert [(r["index"], r["code"], r["limit"], r["used"]) for r in refused] == [
        (3, "quota_exceeded", "3", "3"),
        (4, "quota_exceeded", "3", "3"),
    ]
    assert refused[0]["resets_at"] == "2026-02-01T00:00:00+00:00"
    assert _used(subscription, at) == "3"
    assert UsageEvent.objects.filter(customer_id=subscription.customer_id).count() == 3


def test_the_counter_moves_within_the_accepting_transaction(tenant, at):
    """S056, S119: what was accepted a moment ago is used up for the next caller, without any batch in between."""
    subscription = limits.limited(limit="3")
    for used in ("1", "2", "3"):
        assert _send(1, at).accepted == 1
        assert _used(subscription, at) == used
    assert _send(1, at).rejected == 1


def test_a_refused_event_waits_in_quarantine_and_counts_once_the_limit_is_raised(tenant, at):
    """S115: refused is not lost; raised by a grant, the replay is accepted under the event's own id."""
    subscription = limits.limited(limit="1")
    _send(2, at)
    held = QuarantinedEvent.objects.get(code="quota_exceeded")
    with pytest.raises(Exception, match="quota_exceeded"):
        usage_intake.quarantine_replay(quarantined_id=held.id, actor=OPERATOR, at=at)
    limits.grant(subscription, at=at, extra_units=1)
    assert usage_intake.quarantine_replay(quarantined_id=held.id, actor=OPERATOR, at=at).accepted == 1
    assert _used(subscription, at) == "2"


def test_a_duplicate_takes_nothing_and_is_told_so_even_when_nothing_is_left(tenant, at):
    """S115: the same batch again is a repeat, not a refusal."""
    subscription = limits.limited(limit="2")
    batch = [metering.event() for _ in range(2)]
    assert metering.send(*batch, at=at).accepted == 2
    again = metering.send(*batch, at=at)
    assert (again.duplicates, again.rejected) == (2, 0)
    assert _used(subscription, at) == "2"


def test_what_repeats_a_refused_event_of_its_batch_is_refused_like_it(tenant, at):
    """S116: nothing is called a duplicate of what was not stored."""
    limits.limited(limit="0")
    event = metering.event()
    result = metering.send(event, event, at=at)
    assert [r["code"] for r in result.to_document()["results"]] == ["quota_exceeded", "quota_exceeded"]
    assert UsageEvent.objects.count() == 0


def test_all_limits_of_an_event_hold_or_none_is_taken(tenant, at):
    """S115: bytes are used up while calls are left; a refused event takes no call."""
    metering.meter(code="bytes", event_type="api.call", aggregation="sum", value_property="bytes")
    metering.meter(code="api_calls", event_type="api.call")
    more = {"bytes": {"limit": "100", "meter": "bytes", "on_exceed": "reject"}}
    subscription = limits.limited(limit="10", more=more)
    sizes = ["60", "50", "40", "1"]
    result = metering.send(*(metering.event(properties={"bytes": size}) for size in sizes), at=at)
    assert [r["index"] for r in result.to_document()["results"]] == [1, 3]
    assert (_used(subscription, at), _used(subscription, at, feature="bytes")) == ("2", "100")


@pytest.mark.parametrize(
    ("aggregation", "sent", "accepted"),
    [("sum", ["4", "4", "3", "2"], 3), ("max", ["4", "11", "10"], 2)],
)
def test_sums_and_largest_values_are_held_to_the_last_unit(tenant, at, aggregation, sent, accepted):
    """S115: the value decides, not the number of events."""
    metering.meter(aggregation=aggregation, value_property="n")
    subscription = limits.limited(limit="10")
    result = metering.send(*(metering.event(properties={"n": n}) for n in sent), at=at)
    assert (result.accepted, _used(subscription, at)) == (accepted, "10")


def test_a_unique_count_refuses_the_new_and_takes_the_known(tenant, at):
    """S115: the third user is refused, the first two go on, in this batch and in the next."""
    metering.meter(aggregation="unique_count", value_property="user")
    subscription = limits.limited(limit="2")
    first = metering.send(*(metering.event(properties={"user": u}) for u in ("a", "b", "a", "c")), at=at)
    assert [r["index"] for r in first.to_document()["results"]] == [3]
    second = metering.send(*(metering.event(properties={"user": u}) for u in ("d", "b")), at=at)
    assert [r["index"] for r in second.to_document()["results"]] == [0]
    assert _used(subscription, at) == "2"


@pytest.mark.parametrize(
    ("on_exceed", "reason", "rate"), [("throttle", "throttled", "0.25"), ("notify", "above_limit", "1")]
)
def test_softer_limits_count_and_tell(tenant, at, on_exceed, reason, rate):
    """S115: nothing is refused; a throttled caller is asked to slow down once more than the limit is used."""
    subscription = limits.limited(limit="2", on_exceed=on_exceed)
    assert _send(3, at).accepted == 3
    answer = limits.check(subscription, at=at).to_document()
    assert (answer["allowed"], answer["reason"], answer["access"]["rate_factor"]) == (True, reason, rate)


def test_a_window_begins_at_its_instant_and_ends_before_its_end(tenant, at):
    """S115: 23:59:59.999999 belongs to January, midnight to February; each month has its own limit."""
    limits.limited(limit="1")
    moments = ["2026-01-31T23:59:59.999999Z", "2026-02-01T00:00:00Z", "2026-01-31T23:59:59.999999Z"]
    later = at.replace(month=2, day=1) + timedelta(hours=1)
    cycle_close.billing_run_start(trigger="test", actor=OPERATOR, at=later, wall_at=later)
    result = metering.send(*(metering.event(occurred_at=m) for m in moments), at=later)
    assert [r["index"] for r in result.to_document()["results"]] == [2]


def test_each_refusal_is_recorded_with_all_it_was_decided_from(tenant, at):
    """I29: why was this event refused, by which plan version, counter and policy; a sample of the rest."""
    subscription = limits.limited(limit="1")
    _send(2, at)
    (entry,) = AccessDecision.objects.filter(is_allowed=False)
    limit = UsageLimit.objects.get(customer_id=subscription.customer_id)
    assert (entry.reason, entry.policy, entry.occasion) == (Reason.QUOTA_EXCEEDED, "reject", "intake")
    assert (entry.limit_id, entry.counter_id, entry.plan_version_id) == (
        limit.id,
        limit.counter_id,
        subscription.plan_version_id,
    )
    assert (entry.limit_units, entry.used_units, entry.asked_units) == (1, 1, 1)
    assert entry.event_id == QuarantinedEvent.objects.get().event_id


def test_a_limit_that_moves_leaves_who_when_from_and_to(tenant, at):
    """S122: a grant raises the running window at once, and the row says so."""
    subscription = limits.limited(limit="1")
    _send(1, at)
    limits.grant(subscription, at=at, extra_units=4)
    assert _send(4, at).accepted == 4
    made, moved = UsageLimitChange.objects.order_by("id")
    assert (made.from_units, made.to_units, moved.from_units, moved.to_units) == (None, 1, 1, 5)
    assert moved.changed_at == at


def test_what_was_granted_ends_by_the_clock_of_a_customer_on_a_test_clock(tenant, at):
    """S115: far ahead of our clock, the limit is what it is on that day, and not what it was when it was made."""
    clock = customers.test_clock(now_at=limits.START)
    plans.published_plan(
        code="clocked",
        features={"api_calls": {"limit": "2", "meter": "api_calls", "on_exceed": "reject"}},
        charges=[],
    )
    customer = customers.customer(external_id="clocked", test_clock=clock)
    subscription = subscriptions.subscription(customer=customer, plan_code="clocked")
    first, second = limits.START + timedelta(days=15), limits.START + timedelta(days=20)
    limits.grant(subscription, at=at, extra_units=5, ends_at=first + timedelta(days=1))
    for now, accepted in ((first, 1), (second, 1)):
        subscriptions.advance(clock, now)
        result = _send(1 if now == first else 3, at, customer="clocked", occurred_at=now.isoformat())
        assert result.accepted == accepted


def test_a_cap_that_is_withdrawn_still_holds_in_the_windows_that_were_over(tenant, at):
    """I34: what comes late is judged by the cap of its month, whoever makes the limits anew: beat, or a late event."""
    subscription = limits.limited(limit="100")
    cap = limits.cap(subscription, units="1", at=at)
    assert _send(2, at).accepted == 1
    later = limits.START + timedelta(days=40)
    services.cap_withdraw(cap=cap, actor=OPERATOR, at=later)
    assert _send(1, later, occurred_at=at.isoformat()).rejected == 1
    usage_limits.usage_limits_make_due(at=later)
    assert _send(1, later, occurred_at=at.isoformat()).rejected == 1
