"""Usage that comes late: found once, priced as it was then, on the next document. Only real commits show that."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from apps.common import ids
from apps.common.actors import OPERATOR, SCHEDULE, Actor, ActorKind
from apps.common.db import fetch_all
from apps.invoices import adjustments
from apps.invoices import services as invoice_services
from apps.invoices.adjustment_models import Adjustment, AdjustmentReason
from apps.invoices.errors import AdjustmentNeedsAnother
from apps.invoices.inputs import AdjustmentInput, AdjustmentLineInput
from apps.invoices.models import BillingEntity, Invoice, InvoiceKind
from apps.ledger import selectors as ledger_selectors
from apps.metering import following, late_usage
from apps.metering.late_usage import LatePolicyInput
from apps.metering.models import LateUsage, UsageEvent, UsageSource, UsageWindow
from apps.subscriptions import changes
from apps.subscriptions.inputs import Timing, When
from apps.workflows import cycle_close, explanations, invariants, late_settlement
from tests.builders import customers, metering, plans, subscriptions, taxes
from tests.builders import late_usage as late
from tests.builders.late_usage import FEBRUARY, JANUARY, MARCH
from tests.races import race

pytestmark = pytest.mark.races

LAST_SECOND = FEBRUARY - timedelta(seconds=1)
AFTER_GRACE = FEBRUARY + timedelta(hours=30)
LATER = FEBRUARY + timedelta(days=3)


def _open(subscription) -> list[LateUsage]:
    return list(LateUsage.objects.filter(window__subscription_id=subscription.id, status="FOUND"))


def _adjustments(subscription) -> list[Adjustment]:
    return list(Adjustment.objects.filter(subscription=subscription).order_by("id"))


def test_usage_of_the_last_second_that_comes_a_minute_later_is_on_its_period(committed_tenant):
    """S071: 23:59:59 arrives at 00:01:00 while the draft waits: it is billed with its own period."""
    customer, subscription = late.subscribed("l-second")
    late.used("l-second", count=3, occurred_at=JANUARY + timedelta(days=4))
    draft = late.closed(subscription, at=FEBRUARY)
    assert draft.total_minor == 30
    late.used("l-second", count=1, occurred_at=LAST_SECOND, at=FEBRUARY + timedelta(minutes=1))
    invoice = late.finalized(subscription, ends_at=FEBRUARY, at=AFTER_GRACE)
    late.follow(at=LATER)
    assert (invoice.total_minor, _open(subscription), _adjustments(subscription)) == (40, [], [])


def test_usage_that_comes_after_its_document_was_final_is_a_line_of_the_next_one(committed_tenant):
    """S071, S077, S082, I08: the same second, come too late, is found, priced and billed on the next document."""
    customer, subscription = late.subscribed("l-next")
    late.used("l-next", count=3, occurred_at=JANUARY + timedelta(days=4))
    january = late.finalized(subscription, ends_at=FEBRUARY, at=AFTER_GRACE)
    late.used("l-next", count=2, occurred_at=LAST_SECOND, at=AFTER_GRACE + timedelta(minutes=1))
    late.follow(at=LATER)
    (found,) = _open(subscription)
    assert (found.event_count, found.first_occurred_at, found.window.source_id) == (
        2,
        LAST_SECOND,
        late.period_of(subscription).id,
    )
    assert late.settle(subscription, at=LATER) == 1
    found.refresh_from_db()
    (adjustment,) = _adjustments(subscription)
    assert (found.status, found.adjustment_id, found.effect_minor) == ("ADJUSTED", adjustment.id, 20)
    assert (found.quantity_before, found.quantity_after) == (3, 5)
    assert (adjustment.status, adjustment.amount_minor, adjustment.made_by) == ("APPROVED", 20, "schedule:")
    late.used("l-next", count=1, occurred_at=FEBRUARY + timedelta(days=9))
    february = late.finalized(subscription, ends_at=MARCH, at=MARCH + timedelta(hours=30))
    lines = {line.kind: line for line in february.lines.all()}
    assert (lines["usage"].net_minor, lines["adjustment"].net_minor, february.total_minor) == (10, 20, 30)
    assert "adjustment for usage of Jan 1" in lines["adjustment"].description, lines["adjustment"].description
    adjustment.refresh_from_db()
    assert (adjustment.status, adjustment.invoice_id) == ("APPLIED", february.id)
    january.refresh_from_db()
    assert january.total_minor == 30
    # S082: from the line to both decisions and the very events that made the difference.
    explained = explanations.line_explain(line=lines["adjustment"])
    assert (explained.is_equal, [event["occurred_at"] for event in explained.sample]) == (
        True,
        [LAST_SECOND.isoformat()] * 2,
    )
    assert january.number in explained.explanation.quantity
    assert "0.30 USD for 3 units; 0.50 USD is owed for 5" in explained.explanation.quantity
    assert explained.explanation.formula[-1] == "0.50 owed - 0.30 billed = 0.20 USD."
    totals = ledger_selectors.trial_balance_totals(rows=ledger_selectors.trial_balance())
    assert not any(totals.values())


def test_late_usage_each_side_of_a_boundary_goes_to_its_own_period(committed_tenant):
    """S078: the same meter, two periods, one late event each side of midnight."""
    customer, subscription = late.subscribed("l-sides")
    late.finalized(subscription, ends_at=FEBRUARY, at=AFTER_GRACE)
    late.used("l-sides", count=1, occurred_at=LAST_SECOND, at=AFTER_GRACE)
    late.used("l-sides", count=1, occurred_at=FEBRUARY, at=AFTER_GRACE)
    late.settle(subscription, at=LATER)
    february = late.finalized(subscription, ends_at=MARCH, at=MARCH + timedelta(hours=30))
    assert sorted((line.kind, line.net_minor) for line in february.lines.all()) == [("adjustment", 10), ("usage", 10)]


def test_an_event_beside_the_finalising_transaction_is_found(committed_tenant):
    """An event commits after the document read its usage and before the document commits: late, once."""
    from tests.apps.metering.test_following import another_connection

    customer, subscription = late.subscribed("l-beside")
    late.closed(subscription, at=FEBRUARY)
    draft = late.document_of(subscription, ends_at=FEBRUARY)
    with another_connection(committed_tenant) as (start, end):
        start(lambda: cycle_close.invoice_refresh_and_finalize(invoice_id=draft.id, actor=SCHEDULE, at=AFTER_GRACE))
        late.used("l-beside", count=1, occurred_at=LAST_SECOND, at=AFTER_GRACE)
        end()
    late.follow(at=LATER)
    assert [each.event_count for each in _open(subscription)] == [1]
    late.follow(at=LATER)
    assert [each.event_count for each in _open(subscription)] == [1]


def test_a_difference_above_the_bound_waits_for_another_person(committed_tenant):
    """S072: above the tenant's bound a person decides, and not the one who made it."""
    customer, subscription = late.subscribed("l-bound")
    late_usage.late_policy_set(
        data=LatePolicyInput(policy="next_invoice", meter_code="l-bound", approved_up_to=Decimal("0.10")),
        actor=OPERATOR,
        at=JANUARY,
    )
    late.finalized(subscription, ends_at=FEBRUARY, at=AFTER_GRACE)
    late.used("l-bound", count=2, occurred_at=LAST_SECOND, at=AFTER_GRACE)
    late.follow(at=LATER)
    maker = Actor(kind=ActorKind.USER, id=customer.id, label="Maker")
    period = late.period_of(subscription)
    late_settlement.late_usage_settle(period_id=period.id, actor=maker, at=LATER)
    (adjustment,) = _adjustments(subscription)
    assert adjustment.status == "PENDING_APPROVAL"
    with pytest.raises(AdjustmentNeedsAnother):
        adjustments.adjustment_approve(adjustment_id=adjustment.id, comment="", actor=maker, at=LATER)
    # More comes before anybody decided: one adjustment has it all.
    late.used("l-bound", count=1, occurred_at=LAST_SECOND, at=LATER)
    late.settle(subscription, at=LATER)
    first, second = _adjustments(subscription)
    assert (first.status, second.status, second.amount_minor) == ("CANCELED", "PENDING_APPROVAL", 30)
    pointed = LateUsage.objects.filter(window__subscription_id=subscription.id).values_list("adjustment_id", flat=True)
    assert set(pointed) == {second.id}
    checker = Actor(kind=ActorKind.USER, id=subscription.id, label="Checker")
    adjustments.adjustment_approve(adjustment_id=second.id, comment="seen", actor=checker, at=LATER)
    assert late.closed(subscription, at=MARCH).total_minor == 30


def test_a_dropped_draft_gives_its_adjustments_back(committed_tenant):
    customer, subscription = late.subscribed("l-drop")
    late.finalized(subscription, ends_at=FEBRUARY, at=AFTER_GRACE)
    late.used("l-drop", count=2, occurred_at=LAST_SECOND, at=AFTER_GRACE)
    late.settle(subscription, at=LATER)
    draft = late.closed(subscription, at=MARCH)
    (adjustment,) = _adjustments(subscription)
    assert adjustment.invoice_id == draft.id
    invoice_services.invoice_discard(invoice_id=draft.id, actor=OPERATOR, at=MARCH, reason=("test", "dropped"))
    adjustment.refresh_from_db()
    assert (adjustment.status, adjustment.invoice_id) == ("APPROVED", None)
    period = late.period_of(subscription, starts_at=FEBRUARY)
    again = cycle_close.period_draft_again(period_id=period.id, actor=OPERATOR, at=MARCH)
    adjustment.refresh_from_db()
    assert (again.total_minor, adjustment.invoice_id) == (20, again.id)


def test_a_document_of_its_own_is_made_at_once(committed_tenant):
    """S072: the second policy; the documents that are final stay as they are."""
    customer, subscription = late.subscribed("l-own")
    late_usage.late_policy_set(
        data=LatePolicyInput(policy="own_document", meter_code="l-own"), actor=OPERATOR, at=JANUARY
    )
    late.finalized(subscription, ends_at=FEBRUARY, at=AFTER_GRACE)
    late.used("l-own", count=2, occurred_at=LAST_SECOND, at=AFTER_GRACE)
    late.settle(subscription, at=LATER)
    own = Invoice.objects.get(customer=customer, kind=InvoiceKind.ADJUSTMENT)
    assert (own.status, own.total_minor, own.lines.get().kind) == ("OPEN", 20, "adjustment")
    (adjustment,) = _adjustments(subscription)
    assert (adjustment.status, adjustment.invoice_id) == ("APPLIED", own.id)


def test_what_no_further_document_takes_up_gets_its_own_after_a_stated_time(committed_tenant):
    customer, subscription = late.subscribed("l-ended")
    late.used("l-ended", count=1, occurred_at=JANUARY + timedelta(days=1))
    changes.subscription_cancel(
        subscription_id=subscription.id,
        when=When(timing=Timing.NOW, reason_code="test"),
        actor=OPERATOR,
        at=JANUARY + timedelta(days=20),
    )
    late.finalized(subscription, ends_at=JANUARY + timedelta(days=20), at=AFTER_GRACE)
    late.used("l-ended", count=2, occurred_at=JANUARY + timedelta(days=19), at=AFTER_GRACE)
    late.settle(subscription, at=LATER)
    late_settlement.adjustments_alone_due(at=LATER + timedelta(hours=71))
    assert not Invoice.objects.filter(customer=customer, kind=InvoiceKind.ADJUSTMENT).exists()
    late_settlement.adjustments_alone_due(at=LATER + timedelta(hours=72))
    assert Invoice.objects.get(customer=customer, kind=InvoiceKind.ADJUSTMENT).total_minor == 20


def test_usage_that_falls_into_a_trial_is_told_to_owe_nothing(committed_tenant):
    """Late usage of a trial is not dropped: it is in the inbox, with the reason why nothing is due."""
    customer, subscription = late.subscribed("l-trial", trial_days=14)
    late.closed(subscription, at=JANUARY + timedelta(days=14))
    late.used("l-trial", count=5, occurred_at=JANUARY + timedelta(days=3), at=JANUARY + timedelta(days=16))
    late.settle(subscription, at=JANUARY + timedelta(days=16))
    (found,) = LateUsage.objects.filter(window__subscription_id=subscription.id)
    assert (found.status, "trial" in found.resolution) == ("NOTHING_DUE", True)


def test_a_minimum_takes_up_late_usage_below_it(committed_tenant):
    """The minimum was topped up on the document: late usage below it changes two lines and no total."""
    customer, subscription = late.subscribed("l-minimum", minimum_commitment="1.00")
    late.used("l-minimum", count=3, occurred_at=JANUARY + timedelta(days=1))
    assert late.finalized(subscription, ends_at=FEBRUARY, at=AFTER_GRACE).total_minor == 100
    late.used("l-minimum", count=5, occurred_at=LAST_SECOND, at=AFTER_GRACE)
    late.settle(subscription, at=LATER)
    (adjustment,) = _adjustments(subscription)
    assert sorted((line.kind, line.amount_minor) for line in adjustment.lines.all()) == [
        ("commitment", -50),
        ("usage", 50),
    ]
    late.used("l-minimum", count=7, occurred_at=LAST_SECOND, at=LATER)
    late.settle(subscription, at=LATER)
    assert [each.amount_minor for each in _adjustments(subscription)] == [0, 50]


def test_what_is_waived_is_kept_with_the_reason_and_not_asked_for_again(committed_tenant):
    customer, subscription = late.subscribed("l-waive")
    late.finalized(subscription, ends_at=FEBRUARY, at=AFTER_GRACE)
    late.used("l-waive", count=2, occurred_at=LAST_SECOND, at=AFTER_GRACE)
    late.follow(at=LATER)
    period = late.period_of(subscription)
    late_settlement.late_usage_waive(period_id=period.id, comment="our outage", actor=OPERATOR, at=LATER)
    (adjustment,) = _adjustments(subscription)
    assert (adjustment.status, adjustment.amount_minor) == ("REJECTED", 20)
    late.used("l-waive", count=1, occurred_at=LAST_SECOND, at=LATER)
    late.settle(subscription, at=LATER)
    assert [each.amount_minor for each in _adjustments(subscription)] == [20, 10]


def test_without_automatic_settling_the_inbox_shows_the_amount_and_waits(committed_tenant):
    """I08: every batch is listed with its effect by the real re-rating, and one click settles it."""
    customer, subscription = late.subscribed("l-inbox")
    late_usage.late_policy_set(
        data=LatePolicyInput(policy="next_invoice", meter_code="l-inbox", is_settled_automatically=False),
        actor=OPERATOR,
        at=JANUARY,
    )
    late.finalized(subscription, ends_at=FEBRUARY, at=AFTER_GRACE)
    late.used("l-inbox", count=2, occurred_at=LAST_SECOND, at=AFTER_GRACE)
    late.settle(subscription, at=LATER)
    (found,) = _open(subscription)
    assert (found.effect_minor, found.currency, found.quantity_after) == (20, "USD", 2)
    assert (_adjustments(subscription), "person" in found.waits_because) == ([], True)
    late_settlement.late_usage_settle(period_id=late.period_of(subscription).id, actor=OPERATOR, at=LATER)
    assert [each.status for each in _adjustments(subscription)] == ["APPROVED"]


def test_windows_follow_the_document(committed_tenant):
    """S060, S062, S063: a window is the billed period itself, half-open, whatever day and zone it begins in."""
    customer, subscription = late.subscribed("l-window", profile={"timezone": "America/New_York"})
    invoice = late.finalized(subscription, ends_at=FEBRUARY, at=AFTER_GRACE)
    (window,) = UsageWindow.objects.filter(subscription_id=subscription.id)
    line = invoice.lines.get()
    assert (window.starts_at, window.ends_at) == (line.service_starts_at, line.service_ends_at)
    assert window.snapshot == line.decision["usage"]["snapshot"]


def test_each_late_event_is_billed_adjusted_waived_or_waits(committed_tenant, monkeypatch):
    """The watch finds what no window accounts for and no inbox shows."""
    name = "all usage is billed, adjusted, waived or waits in the inbox"
    customer, subscription = late.subscribed("l-watch")
    late.finalized(subscription, ends_at=FEBRUARY, at=AFTER_GRACE)
    late.used("l-watch", count=2, occurred_at=LAST_SECOND, at=AFTER_GRACE)
    late.follow(at=LATER)
    (window,) = UsageWindow.objects.filter(subscription_id=subscription.id)
    assert [row for row in invariants.REGISTRY[name](LATER) if str(window.id) in row] == []
    late.settle(subscription, at=LATER)
    assert [row for row in invariants.REGISTRY[name](LATER) if str(window.id) in row] == []
    # A follower that forgot the step would lose them, and the watch says so.
    steps = tuple(step for step in following.STEPS if step.name != "find late usage")
    monkeypatch.setattr(following, "STEPS", steps)
    late.used("l-watch", count=1, occurred_at=LAST_SECOND, at=LATER)
    late.follow(at=LATER)
    (row,) = [row for row in invariants.REGISTRY[name](LATER) if str(window.id) in row]
    assert row.endswith("l-watch: 1 events without an outcome")
    # Put it right, because the tenant is shared: the window is accounted for as of now.
    late_settlement.late_usage_settle(period_id=late.period_of(subscription).id, actor=SCHEDULE, at=LATER)
    assert [row for row in invariants.REGISTRY[name](LATER) if str(window.id) in row] == []
    assert invariants.REGISTRY["final documents closed the windows that they billed"](LATER) == []


def test_a_period_that_a_wrong_rule_priced_is_rated_again_on_purpose(committed_tenant):
    """S114, S081: previewed by doing it and undoing it, approved by another, adjusted and never rewritten."""
    customer, subscription = late.subscribed("l-reprice")
    late.used("l-reprice", count=10, occurred_at=JANUARY + timedelta(days=2))
    document = late.finalized(subscription, ends_at=FEBRUARY, at=AFTER_GRACE)
    right = plans.published_plan(
        code="l-reprice",
        base_fee=None,
        charges=[late.per_call("l-reprice", unit_rate="0.04")],
        effective_at="2020-02-01T00:00:00Z",
    )
    period = late.period_of(subscription)
    maker = Actor(kind=ActorKind.USER, id=customer.id, label="Maker")
    checker = Actor(kind=ActorKind.USER, id=subscription.id, label="Checker")
    asked = {"period_id": period.id, "version": right, "actor": maker, "at": LATER}
    preview = late_settlement.period_reprice_preview(**asked)
    assert (preview.billed_minor, preview.owed_minor, _adjustments(subscription)) == (100, 40, [])
    late_settlement.period_reprice(**asked, comment="the rate was to be 4 cents")
    (adjustment,) = _adjustments(subscription)
    assert (adjustment.amount_minor, adjustment.status, adjustment.plan_version) == (-60, "PENDING_APPROVAL", right)
    # Late usage waits for the decision, visibly, and is then priced by the rule that was found right.
    late.used("l-reprice", count=5, occurred_at=LAST_SECOND, at=LATER)
    late.settle(subscription, at=LATER)
    (found,) = _open(subscription)
    assert adjustment.public_id in found.waits_because
    with pytest.raises(AdjustmentNeedsAnother):
        late_settlement.adjustment_approve(adjustment_id=adjustment.id, comment="", actor=maker, at=LATER)
    late_settlement.adjustment_approve(adjustment_id=adjustment.id, comment="yes", actor=checker, at=LATER)
    late.settle(subscription, at=LATER)
    assert [each.amount_minor for each in _adjustments(subscription)] == [-60, 20]
    document.refresh_from_db()
    assert document.total_minor == 100
    # More is given back than February asks for: the rest is credit of the account.
    february = late.finalized(subscription, ends_at=MARCH, at=MARCH + timedelta(hours=30))
    assert (february.total_minor, february.credit_minor, february.status) == (-40, -40, "PAID")


def test_a_held_document_waits_for_its_sources_and_not_for_ever(committed_tenant):
    """S072, S074: the third policy; a source that has told of less than the whole period holds the document."""
    customer, subscription = late.subscribed("l-hold")
    late_usage.late_policy_set(
        data=LatePolicyInput(policy="hold", meter_code="l-hold", grace_hours=24, hold_hours_max=48),
        actor=OPERATOR,
        at=JANUARY,
    )
    at = FEBRUARY - timedelta(hours=1)
    late.used("l-hold", count=1, occurred_at=at - timedelta(minutes=5), at=at, source="hold-edge")
    late.follow(at=at)
    late.closed(subscription, at=FEBRUARY)
    # Whatever other sources the tenant has: this one alone has not told of the last hour.
    UsageSource.objects.exclude(source="hold-edge").update(last_received_at=JANUARY - timedelta(days=90))

    def number(hours):
        moment = FEBRUARY + timedelta(hours=hours)
        cycle_close.drafts_finalize_due(at=moment, customer_ids=[customer.id])
        return late.document_of(subscription, ends_at=FEBRUARY).number

    assert number(24) is None
    late.used("l-hold", count=1, occurred_at=LAST_SECOND, at=FEBRUARY + timedelta(hours=25), source="hold-edge")
    assert number(26) is None
    UsageSource.objects.filter(source="hold-edge").update(watermark_at=FEBRUARY)
    assert number(27) is not None
    assert late.document_of(subscription, ends_at=FEBRUARY).total_minor == 20


def test_usage_that_is_cancelled_after_its_document_is_given_back(committed_tenant):
    """S081: a cancellation is found like an event, priced as its period was, and given back; nothing is updated."""
    customer, subscription = late.subscribed("l-cancel")
    late.used("l-cancel", count=3, occurred_at=JANUARY + timedelta(days=2))
    late.finalized(subscription, ends_at=FEBRUARY, at=AFTER_GRACE)
    victim = UsageEvent.objects.filter(customer_id=customer.id).first()
    fetch_all(
        "INSERT INTO metering_usagecancellation"
        " (event_key, customer_id, type, occurred_at, correction_id, cancelled_at) VALUES (%s, %s, %s, %s, %s, %s)",
        [victim.event_key, customer.id, victim.type, victim.occurred_at, ids.new_id(), LATER],
    )
    late.follow(at=LATER)
    (found,) = _open(subscription)
    assert (found.event_count, found.cancelled_count) == (0, 1)
    late.settle(subscription, at=LATER)
    (adjustment,) = _adjustments(subscription)
    assert (adjustment.amount_minor, adjustment.status) == (-10, "APPROVED")


@pytest.mark.parametrize(
    ("code", "zone", "ends_at"),
    [
        # A month that lost an hour, and one that won it: both end at the customer's own midnight.
        ("l-spring", "America/New_York", datetime(2026, 4, 1, 4, tzinfo=UTC)),
        ("l-autumn", "America/New_York", datetime(2026, 12, 1, 5, tzinfo=UTC)),
    ],
)
def test_windows_keep_the_customers_midnight_through_daylight_saving(committed_tenant, code, zone, ends_at):
    """S079, S063: one second each side of the boundary goes to its own period, in spring and in autumn."""
    local_start = (ends_at - timedelta(days=5)).astimezone(ZoneInfo(zone)).replace(day=1, hour=0)
    metering.meter(code=code, event_type=code)
    plans.published_plan(code=code, base_fee=None, charges=[late.per_call(code)])
    customer = customers.customer(external_id=code, timezone=zone)
    subscription = subscriptions.subscription(customer=customer, plan_code=code, starts_at=local_start.astimezone(UTC))
    late.finalized(subscription, ends_at=ends_at, at=ends_at + timedelta(hours=30))
    late.used(code, count=1, occurred_at=ends_at - timedelta(seconds=1), at=ends_at + timedelta(hours=31))
    late.used(code, count=2, occurred_at=ends_at, at=ends_at + timedelta(hours=31))
    late.follow(at=ends_at + timedelta(hours=31))
    (found,) = _open(subscription)
    assert (found.event_count, found.window.ends_at) == (1, ends_at)


def test_two_who_settle_at_once_make_one_adjustment(committed_tenant):
    customer, subscription = late.subscribed("l-race")
    late.finalized(subscription, ends_at=FEBRUARY, at=AFTER_GRACE)
    late.used("l-race", count=4, occurred_at=LAST_SECOND, at=AFTER_GRACE)
    late.follow(at=LATER)
    period = late.period_of(subscription)
    asked = {"period_id": period.id, "actor": SCHEDULE, "at": LATER}
    results = race(committed_tenant, [lambda: late_settlement.late_usage_settle(**asked)] * 3)
    assert not [result for result in results if isinstance(result, Exception)], results
    assert [each.amount_minor for each in _adjustments(subscription)] == [40]


def test_a_document_of_its_own_waits_for_its_tax_and_is_mended_by_the_rate(committed_tenant):
    """A charge that had no line has no tax of then; what is not known yet stops the document, and a rate frees it."""
    customer, subscription = late.subscribed("l-tax", profile={"country": "FR"})
    late.used("l-tax", count=1, occurred_at=JANUARY + timedelta(days=2))
    late.finalized(subscription, ends_at=FEBRUARY, at=AFTER_GRACE)
    line = AdjustmentLineInput(
        code="calls",
        kind="usage",
        description="Calls",
        quantity=Decimal(5),
        unit_name="",
        service_starts_at=JANUARY,
        service_ends_at=FEBRUARY,
        amount_minor=50,
        tax=None,
        before={},
        after={"amount_minor": 50, "quantity": "5"},
    )
    made = adjustments.adjustment_make(
        data=AdjustmentInput(
            customer=customer,
            subscription=subscription,
            billing_period=late.period_of(subscription),
            currency="USD",
            reason=AdjustmentReason.AGREEMENT,
            lines=(line,),
            is_alone=True,
        ),
        actor=OPERATOR,
        at=LATER,
    )
    entity = BillingEntity.objects.get(is_default=True)
    BillingEntity.objects.filter(id=entity.id).update(tax_regime="STATIC", country="FR")
    try:
        late_settlement.adjustment_approve(adjustment_id=made.id, comment="agreed", actor=SCHEDULE, at=LATER)
        draft = Invoice.objects.get(customer=customer, kind=InvoiceKind.ADJUSTMENT)
        assert (draft.status, [issue["code"] for issue in draft.issues]) == ("DRAFT", ["tax_not_known"])
        taxes.tax_rate(country="FR", rate_percent="20")
        cycle_close.drafts_finalize_due(at=LATER, customer_ids=[customer.id])
    finally:
        BillingEntity.objects.filter(id=entity.id).update(tax_regime=entity.tax_regime, country=entity.country)
    draft.refresh_from_db()
    assert (draft.status, draft.tax_minor, draft.total_minor) == ("OPEN", 10, 60)
