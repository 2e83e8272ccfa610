"""Customers who are moved to a new version on purpose: seen before, agreed one by one, repeated without harm."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from apps.audit.models import AuditEntry
from apps.common.actors import OPERATOR
from apps.customers.errors import CustomerUnknown
from apps.plans import cohorts
from apps.plans import services as plan_services
from apps.plans.cohorts import CohortInput
from apps.plans.errors import CohortUnknown, PlanVersionUnknown
from apps.plans.models import PlanVersion
from apps.subscriptions import changes
from apps.subscriptions.inputs import Timing, When
from apps.subscriptions.models import BillingPeriod, Subscription, SubscriptionChange
from apps.workflows import plan_migration
from apps.workflows.errors import PlanMigrationInvalid
from apps.workflows.plan_migration import MigrationOrder, MigrationOutcome
from tests.builders import customers, faces, plans, subscriptions
from tests.builders.subscriptions import START

pytestmark = pytest.mark.django_db

NOW = faces.NOW
MARCH, APRIL = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)
ORDER = MigrationOrder(plan_code="growth", version=2)
SCHEDULED, REFUSED = MigrationOutcome.SCHEDULED, MigrationOutcome.REFUSED
ALREADY_SCHEDULED = MigrationOutcome.ALREADY_SCHEDULED
ALREADY_ON_VERSION = MigrationOutcome.ALREADY_ON_VERSION


def _version(base_fee: str = "89.00", *, cohort: str | None = None, **overrides) -> PlanVersion:
    """Publish the next version of growth, on sale since a week."""
    terms = {"charges": faces.CHARGES, "effective_at": "2026-02-03T00:00:00Z", **overrides}
    draft = plans.drafted_plan(base_fee=base_fee, **terms)
    return plan_services.plan_version_publish(
        plan_code="growth", version=draft.version, actor=OPERATOR, at=NOW, cohort_code=cohort
    )


@pytest.fixture
def sold(tenant) -> dict[str, Subscription]:
    """Three customers who pay 99.00 and their calls since January; in February a cheaper version is on sale."""
    houses = {name: faces.house(name=name) for name in ("many", "rests", "leaves")}
    _version()
    return {name: house.subscription for name, house in houses.items()}


def _start(order: MigrationOrder = ORDER, *, at: datetime = NOW) -> plan_migration.Migration:
    return plan_migration.plan_migration_start(order=order, actor=OPERATOR, at=at)


def _outcomes(done: plan_migration.Migration) -> dict[str, MigrationOutcome]:
    return {step.subscription.customer.external_id: step.outcome for step in done.steps}


def test_each_moves_when_its_running_period_ends(sold):
    """S103: until then nothing changes, and the first period on the version is the one after."""
    done = _start()
    assert set(_outcomes(done).values()) == {SCHEDULED}
    assert {step.effective_at for step in done.steps} == {MARCH}
    assert done.counts == {SCHEDULED: 3, ALREADY_SCHEDULED: 0, ALREADY_ON_VERSION: 0, REFUSED: 0}
    subscription = sold["many"]
    subscription.refresh_from_db()
    assert subscription.plan_version.version == 1
    change = subscription.changes.get()
    assert (change.plan_version.version, change.reason_code, change.requested_by) == (
        2,
        "plan_migration",
        OPERATOR.label,
    )
    subscriptions.advance(subscription.customer.test_clock, datetime(2026, 3, 2, tzinfo=UTC))
    subscription.refresh_from_db()
    assert subscription.plan_version.version == 2
    by_start = {period.starts_at: period.plan_version.version for period in subscription.periods.all()}
    assert by_start == {START: 1, faces.FEBRUARY: 1, MARCH: 2}


def test_repeating_it_moves_only_who_is_left(sold):
    """S103: two runs make one change each; who moved is on the version, and nothing is agreed twice."""
    _start(replace(ORDER, customers=("many",)))
    assert _outcomes(_start()) == {"many": ALREADY_SCHEDULED, "rests": SCHEDULED, "leaves": SCHEDULED}
    subscriptions.advance(sold["many"].customer.test_clock, datetime(2026, 3, 2, tzinfo=UTC))
    again = _start()
    assert _outcomes(again) == {
        "many": ALREADY_ON_VERSION, "rests": ALREADY_SCHEDULED, "leaves": ALREADY_SCHEDULED,
    }  # fmt: skip
    assert [step.effective_at for step in again.steps] == [None, MARCH, MARCH]
    assert SubscriptionChange.objects.count() == 3


def test_who_cannot_be_moved_holds_up_nobody(sold):
    """S103: a stopped clock and an agreed end are named with their reasons; the third is moved."""
    pause = When(timing=Timing.NOW)
    changes.subscription_pause(
        subscription_id=sold["rests"].id, mode="freeze", when=pause, resume_at=None, actor=OPERATOR, at=NOW
    )
    end = When(timing=Timing.PERIOD_END)
    changes.subscription_cancel(subscription_id=sold["leaves"].id, when=end, actor=OPERATOR, at=NOW)
    done = _start()
    assert _outcomes(done) == {"many": SCHEDULED, "rests": REFUSED, "leaves": REFUSED}
    reasons = {step.subscription.customer.external_id: (step.code, step.reason) for step in done.steps}
    assert reasons["many"] == ("", "")
    assert reasons["rests"][0] == "change_refused"
    assert "is PAUSED and cannot be changed" in reasons["rests"][1]
    assert reasons["leaves"][0] == "change_already_scheduled"
    assert "(cancel) is agreed for 2026-03-01" in reasons["leaves"][1]
    assert SubscriptionChange.objects.filter(kind="plan").count() == 1


def test_a_preview_shows_the_effect_and_stores_nothing(sold):
    """S103, I02: who would move, and what January would have cost; no change, no period, no entry."""
    counted = [model.objects.count() for model in (SubscriptionChange, BillingPeriod, AuditEntry)]
    seen = plan_migration.plan_migration_preview(order=ORDER, actor=OPERATOR, at=NOW)
    assert [model.objects.count() for model in (SubscriptionChange, BillingPeriod, AuditEntry)] == counted
    assert set(_outcomes(seen).values()) == {SCHEDULED}
    found = seen.effect
    assert (found.starts_at, found.ends_at) == (START, faces.FEBRUARY)
    assert [(change.before_minor, change.after_minor) for change in found.customers] == [(11650, 10650)] * 3
    assert (found.winner_count, found.change_minor) == (3, -3000)
    done = _start()
    assert [(step.outcome, step.effective_at) for step in done.steps] == [
        (step.outcome, step.effective_at) for step in seen.steps
    ]


def test_a_preview_rates_those_only_who_would_move(sold):
    """S103: who is refused does not count in the effect; where nobody moves there is none."""
    _start(replace(ORDER, customers=("many", "rests")))
    seen = plan_migration.plan_migration_preview(order=ORDER, actor=OPERATOR, at=NOW)
    assert [change.customer.external_id for change in seen.effect.customers] == ["leaves"]
    _start()
    assert plan_migration.plan_migration_preview(order=ORDER, actor=OPERATOR, at=NOW).effect is None


def test_of_a_cohort_its_members_are_moved(sold):
    """S103: a version for a cohort takes its members; whoever does not belong is refused it."""
    cohorts.cohort_create(data=CohortInput(code="beta", name="Beta", customers=("many",)), actor=OPERATOR, at=NOW)
    _version("79.00", cohort="beta", effective_at="2026-02-04T00:00:00Z")
    order = replace(ORDER, version=3)
    assert _outcomes(_start(replace(order, cohort="beta"))) == {"many": SCHEDULED}
    everybody = _start(order)
    assert _outcomes(everybody) == {"many": ALREADY_SCHEDULED, "rests": REFUSED, "leaves": REFUSED}
    assert "is for cohort 'beta' only" in everybody.steps[1].reason


def test_of_one_version_those_on_it_are_moved(sold):
    """S103: others of the plan are not touched, and those on the goal are told as being there."""
    newcomer = customers.customer(external_id="new", test_clock=customers.test_clock(now_at=NOW, name="New"))
    subscriptions.subscription(customer=newcomer, plan_code="growth", starts_at=NOW)
    _version("79.00", effective_at="2026-02-20T00:00:00Z")
    order = replace(ORDER, version=3, from_version=2)
    assert _outcomes(_start(order)) == {"new": SCHEDULED}
    assert _outcomes(_start(replace(order, from_version=3))) == {}


def test_an_order_that_means_nothing_is_refused(sold, monkeypatch):
    """A draft, a version, cohort or customer that is not there, and too many at once; nothing is agreed."""
    plans.drafted_plan(base_fee="79.00", charges=faces.CHARGES, effective_at="2026-05-01T00:00:00Z")
    for change, error in (
        ({"version": 3}, PlanMigrationInvalid),
        ({"version": 9}, PlanVersionUnknown),
        ({"from_version": 9}, PlanVersionUnknown),
        ({"cohort": "nobody"}, CohortUnknown),
        ({"customers": ("nobody",)}, CustomerUnknown),
    ):
        with pytest.raises(error):
            _start(replace(ORDER, **change))
    monkeypatch.setattr(plan_migration, "SUBSCRIPTIONS_MAX", 2)
    with pytest.raises(PlanMigrationInvalid, match="3 subscriptions are meant, and at most 2 are moved at once"):
        _start()
    assert SubscriptionChange.objects.count() == 0
    assert _outcomes(_start(replace(ORDER, customers=("many", "rests")))) == {"many": SCHEDULED, "rests": SCHEDULED}
    assert _outcomes(_start())["leaves"] == SCHEDULED
