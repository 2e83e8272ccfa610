"""Many writers against one limit, on real commits: what is accepted is the limit, never a unit more."""

from functools import partial

import pytest

from apps.entitlements.models import AccessDecision
from apps.metering import selectors
from apps.metering.models import UsageCounter, UsageEvent
from apps.workflows import access_checks
from tests.builders import limits, metering
from tests.races import race

pytestmark = pytest.mark.races

WRITERS = 64


def _type(code: str) -> str:
    return f"{code}.call"


def _used(subscription) -> list[int]:
    return sorted(
        int(used)
        for used in UsageCounter.objects.filter(
            customer_id=subscription.customer_id, starts_at__lte="2026-01-10T12:00:00Z", ends_at__gt="2026-01-10T12:00Z"
        ).values_list("used_units", flat=True)
    )


def _accepted(answers) -> int:
    failures = [answer for answer in answers if isinstance(answer, Exception)]
    assert failures == []
    return sum(answer.accepted for answer in answers)


def test_sixty_four_writers_share_a_limit_to_the_unit(committed_tenant, at):
    """S115, S117: 64 connections send 5 events each at 100 units; exactly 100 are taken, all others are refused."""
    code = "race-limit"
    metering.meter(code=code, event_type=_type(code))
    subscription = limits.limited(code=code, meter=code, limit="100")
    batches = [[metering.event(customer=code, type=_type(code)) for _ in range(5)] for _ in range(WRITERS)]
    answers = race(committed_tenant, [partial(metering.send, *batch, at=at) for batch in batches])
    assert _accepted(answers) == 100
    assert sum(answer.rejected for answer in answers) == WRITERS * 5 - 100
    assert _used(subscription) == [100]
    assert UsageEvent.objects.filter(customer_id=subscription.customer_id).count() == 100
    refused = AccessDecision.objects.filter(customer_id=subscription.customer_id, is_allowed=False)
    assert refused.count() == WRITERS * 5 - 100
    assert selectors.aggregates_compare(limit=1, customer_id=subscription.customer_id) == []


def test_two_meters_a_cap_and_repeats_at_once_never_go_above_any(committed_tenant, at):
    """S115, I34: calls and bytes read one event, a hard cap is below the plan, every batch is sent twice at once."""
    code = "race-mixed"
    metering.meter(code=code, event_type=_type(code))
    metering.meter(code=f"{code}-bytes", event_type=_type(code), aggregation="sum", value_property="bytes")
    more = {f"{code}-bytes": {"limit": "700", "meter": f"{code}-bytes", "on_exceed": "reject"}}
    subscription = limits.limited(code=code, meter=code, limit="90", more=more)
    limits.cap(subscription, meter=code, units="60", at=at)
    batches = [
        [metering.event(customer=code, type=_type(code), properties={"bytes": str(n % 3 * 7 + 1)}) for n in range(6)]
        for _ in range(16)
    ]
    answers = race(committed_tenant, [partial(metering.send, *batch, at=at) for batch in batches * 2])
    accepted = _accepted(answers)
    stored = UsageEvent.objects.filter(customer_id=subscription.customer_id)
    taken = sum(int(event.properties["bytes"]) for event in stored)
    assert accepted == stored.count() == 60
    assert taken <= 700
    assert _used(subscription) == sorted([60, taken])


def test_a_cap_that_is_set_while_events_stream_in_holds_from_its_commit_on(committed_tenant, at):
    """I34, S122: what others remember is proven by its version; once the cap is there, nothing above it is taken."""
    code = "race-cap"
    metering.meter(code=code, event_type=_type(code))
    subscription = limits.limited(code=code, meter=code, limit="1000", on_exceed="notify")

    def send() -> int:
        return sum(
            metering.send(metering.event(customer=code, type=_type(code)), at=at).accepted for _event in range(10)
        )

    def cap():
        return limits.cap(subscription, meter=code, units="5", at=at)

    answers = race(committed_tenant, [send] * 8 + [cap])
    assert [answer for answer in answers if isinstance(answer, Exception)] == []
    before = _used(subscription)[0]
    later = [metering.send(metering.event(customer=code, type=_type(code)), at=at) for _ in range(6)]
    assert _used(subscription)[0] == max(before, 5)
    assert later[-1].rejected == 1


def test_a_check_is_current_after_a_change_on_another_connection(committed_tenant, at):
    """S121, S122: remembered for five minutes, and yet right at once when a grant is committed elsewhere."""
    code = "race-cache"
    metering.meter(code=code, event_type=_type(code))
    subscription = limits.limited(code=code, meter=code, limit="3")
    assert limits.check(subscription, feature=code, at=at).decision.limit_units == 3
    (grant,) = race(
        committed_tenant, [partial(limits.grant, subscription, at=at, key=code, feature_code=code, extra_units=4)]
    )
    assert not isinstance(grant, Exception), grant
    assert limits.check(subscription, feature=code, at=at).decision.limit_units == 7
    assert access_checks.TERMS_SECONDS == 300
