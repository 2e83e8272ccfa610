"""What is decided about late usage holds: nothing is lost, asked for twice, or given back that was never paid."""

from datetime import timedelta

import pytest

from apps.common import ids
from apps.common.actors import OPERATOR, SCHEDULE, Actor, ActorKind
from apps.common.db import fetch_all
from apps.invoices import adjustments
from apps.invoices.adjustment_models import Adjustment
from apps.invoices.models import Invoice, InvoiceKind
from apps.metering import late_usage
from apps.metering.models import LateUsage, UsageEvent, UsageWindow
from apps.workflows import advance_usage, late_settlement
from apps.workflows.errors import ReratingRefused
from tests.builders import late_usage as late
from tests.builders import metering, plans
from tests.builders.corrections import correction
from tests.builders.late_usage import FEBRUARY, JANUARY, MARCH

pytestmark = pytest.mark.races

LAST_SECOND = FEBRUARY - timedelta(seconds=1)
AFTER_GRACE = FEBRUARY + timedelta(hours=30)
LATER = FEBRUARY + timedelta(days=3)
LONG_AFTER = FEBRUARY + timedelta(days=4)


def _adjustments(subscription) -> list[tuple[int, str]]:
    rows = Adjustment.objects.filter(subscription=subscription).order_by("id")
    return [(each.amount_minor, each.status) for each in rows]


def _unaccounted(subscription) -> list[str]:
    windows = [str(window.id) for window in UsageWindow.objects.filter(subscription_id=subscription.id)]
    found = late_usage.windows_unaccounted(limit=10_000)
    return [row for row in found if any(window in row for window in windows)]


def _people(customer, subscription) -> tuple[Actor, Actor]:
    maker = Actor(kind=ActorKind.USER, id=customer.id, label="Maker")
    return maker, Actor(kind=ActorKind.USER, id=subscription.id, label="Checker")


def _version(code: str, **charge):
    return plans.published_plan(
        code=code, base_fee=None, charges=[late.per_call(code, **charge)], effective_at="2020-02-01T00:00:00Z"
    )


def _cancel(event: UsageEvent, at) -> None:
    # What a correction does when it is applied.
    fetch_all(
        "INSERT INTO metering_usagecancellation"
        " (event_key, customer_id, type, occurred_at, correction_id, cancelled_at) VALUES (%s, %s, %s, %s, %s, %s)",
        [event.event_key, event.customer_id, event.type, event.occurred_at, ids.new_id(), at],
    )


def test_late_usage_outlives_a_price_that_is_rejected(committed_tenant):
    """S114, S077: what came late was part of the other price; when that is rejected, it is owed as agreed then."""
    customer, subscription = late.subscribed("d-price")
    late.used("d-price", count=10, occurred_at=JANUARY + timedelta(days=2))
    late.finalized(subscription, ends_at=FEBRUARY, at=AFTER_GRACE)
    right, period = _version("d-price", unit_rate="0.04"), late.period_of(subscription)
    maker, checker = _people(customer, subscription)
    late.used("d-price", count=5, occurred_at=LAST_SECOND, at=AFTER_GRACE)
    late.follow(at=LATER)
    late_settlement.period_reprice(period_id=period.id, version=right, comment="4 cents", actor=maker, at=LATER)
    (priced,) = Adjustment.objects.filter(subscription=subscription)
    assert priced.amount_minor == -40
    late_settlement.adjustment_reject(adjustment_id=priced.id, comment="10 it was", actor=checker, at=LATER)
    late.settle(subscription, at=LONG_AFTER)
    assert _adjustments(subscription) == [(-40, "REJECTED"), (50, "APPROVED")]
    (found,) = LateUsage.objects.filter(window__subscription_id=subscription.id)
    assert (found.status, found.adjustment_id) == (
        "ADJUSTED",
        Adjustment.objects.get(amount_minor=50, subscription=subscription).id,
    )


def test_nothing_is_waived_while_a_price_waits(committed_tenant):
    """What is given up is said at a price, so the price is decided first."""
    customer, subscription = late.subscribed("d-waits")
    late.used("d-waits", count=10, occurred_at=JANUARY + timedelta(days=2))
    late.finalized(subscription, ends_at=FEBRUARY, at=AFTER_GRACE)
    right, period = _version("d-waits", unit_rate="0.04"), late.period_of(subscription)
    maker, _checker = _people(customer, subscription)
    late_settlement.period_reprice(period_id=period.id, version=right, comment="4 cents", actor=maker, at=LATER)
    late.used("d-waits", count=5, occurred_at=LAST_SECOND, at=LATER)
    late.follow(at=LATER)
    with pytest.raises(ReratingRefused):
        late_settlement.late_usage_waive(period_id=period.id, comment="ours", actor=OPERATOR, at=LATER)
    assert _adjustments(subscription) == [(-60, "PENDING_APPROVAL")]
    assert LateUsage.objects.get(window__subscription_id=subscription.id).status == "FOUND"


def test_usage_of_a_meter_that_only_the_other_price_has_is_found_late(committed_tenant):
    """S114: a price on another meter bills that meter's usage, so what comes later of it is late, too."""
    customer, subscription = late.subscribed("d-meter")
    late.finalized(subscription, ends_at=FEBRUARY, at=AFTER_GRACE)
    metering.meter(code="d-other", event_type="d-other")
    metering.send(
        *[
            metering.event(customer="d-meter", type="d-other", occurred_at=LAST_SECOND.isoformat())
            for _event in range(3)
        ],
        at=AFTER_GRACE,
    )
    right, period = _version("d-meter", meter="d-other"), late.period_of(subscription)
    maker, checker = _people(customer, subscription)
    late_settlement.period_reprice(period_id=period.id, version=right, comment="other", actor=maker, at=LATER)
    (priced,) = Adjustment.objects.filter(subscription=subscription)
    late_settlement.adjustment_approve(adjustment_id=priced.id, comment="yes", actor=checker, at=LATER)
    metering.send(
        *[
            metering.event(customer="d-meter", type="d-other", occurred_at=LAST_SECOND.isoformat())
            for _event in range(2)
        ],
        at=LATER,
    )
    late.settle(subscription, at=LONG_AFTER)
    assert _adjustments(subscription) == [(30, "APPROVED"), (20, "APPROVED")]


def test_usage_of_a_trial_that_was_told_to_owe_nothing_is_accounted_for(committed_tenant):
    """The watch is quiet about what has an outcome, and further usage of the trial is found again."""
    _customer, subscription = late.subscribed("d-trial", trial_days=14)
    at = JANUARY + timedelta(days=16)
    late.closed(subscription, at=JANUARY + timedelta(days=14))
    for batch in (1, 2):
        late.used("d-trial", count=5, occurred_at=JANUARY + timedelta(days=3), at=at)
        late.settle(subscription, at=at)
        late.follow(at=at)
        rows = LateUsage.objects.filter(window__subscription_id=subscription.id)
        assert list(rows.values_list("status", "event_count")) == [("NOTHING_DUE", 5)] * batch
        assert _unaccounted(subscription) == []


def test_what_was_never_paid_is_not_given_back_by_rule(committed_tenant):
    """Late usage was waived and then cancelled: the difference below zero is for a person to look at."""
    customer, subscription = late.subscribed("d-waived")
    late.finalized(subscription, ends_at=FEBRUARY, at=AFTER_GRACE)
    late.used("d-waived", count=2, occurred_at=LAST_SECOND, at=AFTER_GRACE)
    late.follow(at=LATER)
    period = late.period_of(subscription)
    late_settlement.late_usage_waive(period_id=period.id, comment="our outage", actor=OPERATOR, at=LATER)
    for event in UsageEvent.objects.filter(customer_id=customer.id):
        _cancel(event, LATER)
    late.settle(subscription, at=LONG_AFTER)
    assert _adjustments(subscription) == [(20, "REJECTED"), (-20, "PENDING_APPROVAL")]


def test_a_minimum_beside_a_fee_in_arrears_is_rated_again(committed_tenant):
    """The fee is on the document itself: it must not count a second time as billed before."""
    _customer, subscription = late.subscribed(
        "d-minimum",
        minimum_commitment="10.00",
        charges=[
            late.per_call("d-minimum"),
            {"code": "seat", "model": "flat", "amount": "3.00", "timing": "arrears"},
        ],
    )
    late.used("d-minimum", count=10, occurred_at=JANUARY + timedelta(days=1))
    assert late.finalized(subscription, ends_at=FEBRUARY, at=AFTER_GRACE).total_minor == 1000
    late.used("d-minimum", count=70, occurred_at=LAST_SECOND, at=AFTER_GRACE)
    late.settle(subscription, at=LATER)
    # 8.00 of usage and 3.00 of fee are 11.00.
    assert _adjustments(subscription) == [(100, "APPROVED")]


def test_who_was_not_looked_at_yet_comes_before_who_waits_for_a_person(committed_tenant):
    for code in ("d-first", "d-second"):
        _customer, subscription = late.subscribed(code)
        late.finalized(subscription, ends_at=FEBRUARY, at=AFTER_GRACE)
        late.used(code, count=1, occurred_at=LAST_SECOND, at=AFTER_GRACE)
        late.follow(at=LATER)
        period = late.period_of(subscription)
        if code == "d-first":
            late_settlement.late_usage_estimate(period_id=period.id, at=LATER)
            first = period.id
    assert late_usage.sources_open(limit=10, source_ids=[first, period.id]) == [period.id, first]


def test_what_will_not_get_a_document_of_its_own_stands_in_nobodys_way(committed_tenant):
    """A difference of nothing and one whose customer has a period ahead are not among those that are looked at."""
    _customer, nothing = late.subscribed("d-nothing", minimum_commitment="1.00")
    _customer, ahead = late.subscribed("d-ahead")
    for code, subscription in (("d-nothing", nothing), ("d-ahead", ahead)):
        late.finalized(subscription, ends_at=FEBRUARY, at=AFTER_GRACE)
        late.used(code, count=5, occurred_at=LAST_SECOND, at=AFTER_GRACE)
        late.settle(subscription, at=LATER)
    assert (_adjustments(nothing), _adjustments(ahead)) == ([(0, "APPROVED")], [(50, "APPROVED")])
    looked_at = {each.subscription_id for each in adjustments.adjustments_unplaced(limit=10_000)}
    assert {nothing.id, ahead.id} & looked_at == set()


def test_usage_billed_event_by_event_that_is_cancelled_comes_back_at_the_close(committed_tenant):
    customer, subscription = late.subscribed("d-advance", charges=[late.per_call("d-advance", timing="advance")])
    late.used("d-advance", count=10, occurred_at=JANUARY + timedelta(days=2))
    late.follow(at=JANUARY + timedelta(days=3))
    at = JANUARY + timedelta(days=3)
    assert advance_usage.usage_bill(subscription_id=subscription.id, actor=SCHEDULE, at=at).total_minor == 100
    events = list(UsageEvent.objects.filter(customer_id=customer.id).order_by("event_id"))
    for event in events[:4]:
        _cancel(event, at)
    assert late.finalized(subscription, ends_at=FEBRUARY, at=AFTER_GRACE).total_minor == -40
    _cancel(events[4], LATER)
    late.used("d-advance", count=3, occurred_at=LAST_SECOND, at=LATER)
    late.settle(subscription, at=LATER)
    assert _adjustments(subscription) == [(20, "APPROVED")]
    assert Invoice.objects.filter(subscription=subscription, kind=InvoiceKind.USAGE).count() == 1


def test_who_decides_sees_every_document_that_a_carried_over_reading_is_in(committed_tenant):
    """I09: a reading of January that February goes on with changes both documents, and both are shown."""
    code = "d-carried"
    metering.meter(code=code, event_type=code, aggregation="weighted_sum", value_property="n", has_carry_over=True)
    _customer, subscription = late.subscribed(code)
    late.used(code, count=1, occurred_at=JANUARY + timedelta(days=2), id=code, properties={"n": "100"})
    january = late.finalized(subscription, ends_at=FEBRUARY, at=AFTER_GRACE)
    february = late.finalized(subscription, ends_at=MARCH, at=MARCH + timedelta(hours=30))
    asked = correction({"source": "test", "id": code}, kind="cancel", at=MARCH + timedelta(days=3))
    found = {each["number"]: each["amount_minor"] for each in asked.document_effect["documents"]}
    assert found == {january.number: -january.total_minor, february.number: -february.total_minor}
    assert february.total_minor > 0
