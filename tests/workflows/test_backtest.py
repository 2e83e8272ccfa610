"""A price change tried on what was really used, before anybody is billed by it."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from apps.audit.models import AuditEntry
from apps.common.actors import OPERATOR
from apps.engine.charge_models import Basis, charge_from_document, fold_events, rate_charge
from apps.engine.exact import Rounding
from apps.invoices.models import Invoice
from apps.messaging.models import DomainEvent
from apps.plans import cohorts
from apps.plans import services as plan_services
from apps.plans.cohorts import CohortInput
from apps.plans.errors import CohortUnknown
from apps.plans.models import PlanVersion
from apps.workflows import backtest, simulated_usage
from apps.workflows.errors import BacktestInvalid
from tests.builders import customers, faces, metering, plans, subscriptions
from tests.builders.subscriptions import START

pytestmark = pytest.mark.django_db

FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)
NOW = faces.NOW
JANUARY = backtest.BacktestQuestion(plan_code="growth", version=1, starts_at=START, ends_at=FEBRUARY)


@pytest.fixture
def sold(tenant):
    """Three customers in January: 25 calls (99 and 17.50 by the ladder), 5 calls, and none."""
    faces.house(name="many")
    for name, count in (("few", 5), ("none", 0)):
        clock = customers.test_clock(now_at=START, name=f"Clock of {name}")
        customer = customers.customer(external_id=name, test_clock=clock)
        subscriptions.subscription(customer=customer, plan_code="growth")
        subscriptions.advance(clock, datetime(2026, 1, 11, tzinfo=UTC))
        if count:
            faces.used(name, count, datetime(2026, 1, 10, 12, tzinfo=UTC))
        subscriptions.advance(clock, NOW)


def _draft(**overrides) -> PlanVersion:
    terms = {"charges": faces.CHARGES, "effective_at": "2026-03-01T00:00:00Z", **overrides}
    document = plans.plan_document(**terms)
    return plan_services.plan_document_apply(document=document, actor=OPERATOR, at=NOW).version


def _changes(found: backtest.Backtest) -> dict[str, tuple[int, int]]:
    return {change.customer.external_id: (change.before_minor, change.after_minor) for change in found.customers}


def test_the_version_that_is_in_force_changes_nothing(sold):
    """I02: running with the current version gives zero change for everybody."""
    found = backtest.backtest_run(question=JANUARY, at=NOW)
    assert _changes(found) == {"many": (11650, 11650), "few": (10400, 10400), "none": (9900, 9900)}
    assert (found.winner_count, found.loser_count, found.unchanged_count, found.change_minor) == (0, 0, 3, 0)


def test_winners_losers_and_the_sum_of_their_changes(sold):
    """I02: a draft of a higher fee with ten free calls; the total is the sum of the customers' changes."""
    _draft(base_fee="104.50", charges=[{**faces.CHARGES[0], "included_units": "10"}])
    found = backtest.backtest_run(question=replace(JANUARY, version=2), at=NOW)
    # 25 calls: the ten in the first tier are free, 15 x 0.50 = 7.50; 5 calls: none of them is charged
    assert _changes(found) == {"many": (11650, 11200), "few": (10400, 10450), "none": (9900, 10450)}
    assert (found.winner_count, found.loser_count, found.unchanged_count) == (1, 2, 0)
    assert found.change_minor == sum(change.change_minor for change in found.customers) == 150
    assert found.change_minor == found.after_minor - found.before_minor


def test_nothing_is_stored(sold):
    """I02: no documents, no entries, no messages."""
    _draft(base_fee="89.00")
    counted = [model.objects.count() for model in (Invoice, AuditEntry, DomainEvent, PlanVersion)]
    found = backtest.backtest_run(question=replace(JANUARY, version=2), at=NOW)
    assert found.winner_count == 3
    assert [model.objects.count() for model in (Invoice, AuditEntry, DomainEvent, PlanVersion)] == counted


def test_a_simulated_spike_is_rated_on_the_real_usage_times_a_factor(sold):
    """S111: three times January's calls: 75 x the ladder = 42.50; 15 calls = 12.50."""
    found = backtest.backtest_run(question=replace(JANUARY, usage_factor=Decimal(3)), at=NOW)
    assert _changes(found) == {"many": (11650, 14150), "few": (10400, 11150), "none": (9900, 9900)}


def test_of_a_cohort_only_its_members_are_rated(sold):
    """I02, S103: among all who were on the plan, or among those that are listed."""
    data = CohortInput(code="beta", name="Beta", customers=("few", "none"))
    cohorts.cohort_create(data=data, actor=OPERATOR, at=NOW)
    _draft(base_fee="89.00")
    found = backtest.backtest_run(question=replace(JANUARY, version=2, cohort="beta"), at=NOW)
    assert _changes(found) == {"few": (10400, 9400), "none": (9900, 8900)}
    question = replace(JANUARY, version=2, cohort="beta", customers=("few", "many"))
    assert list(_changes(backtest.backtest_run(question=question, at=NOW))) == ["few"]
    with pytest.raises(CohortUnknown):
        backtest.backtest_run(question=replace(JANUARY, cohort="nobody"), at=NOW)


def test_a_version_on_another_meter_is_rated_on_that_meters_usage(tenant):
    """S114, I02: past usage under a new rule is what the new rule's meter counted; one that came too late is named."""
    metering.meter(code="bulk_calls", event_type="api.call", at=START)
    faces.house(name="many")
    calls = {"code": "bulk", "meter": "bulk_calls", "model": "per_unit", "unit_rate": "2"}
    _draft(charges=[calls], base_fee="0.00")
    found = backtest.backtest_run(question=replace(JANUARY, version=2), at=NOW)
    assert (_changes(found), found.notes) == ({"many": (11650, 5000)}, ())
    metering.meter(code="late_calls", event_type="api.call", at=NOW)
    _draft(charges=[{**calls, "meter": "late_calls"}], base_fee="0.00")
    found = backtest.backtest_run(question=replace(JANUARY, version=2), at=NOW)
    assert _changes(found) == {"many": (11650, 0)}
    [note] = found.notes
    assert note.startswith("Meter late_calls v1 counts events since 2026-02-10T00:00:00+00:00 only")


def test_a_list_of_customers(sold):
    """I02: of a list only those are rated; who is billed in another rhythm is left out and named."""
    found = backtest.backtest_run(question=replace(JANUARY, customers=("few",)), at=NOW)
    assert list(_changes(found)) == ["few"]
    yearly = plans.published_plan(code="yearly", interval={"unit": "year", "count": 1}, charges=[])
    question = replace(JANUARY, plan_code="yearly", version=yearly.version, customers=("few",))
    found = backtest.backtest_run(question=question, at=NOW)
    assert (found.customers, found.change_minor) == ((), 0)
    assert [(item.customer.external_id, item.reason) for item in found.left_out] == [
        ("few", "is billed every 1 month, the version every 1 year")
    ]


def test_cliffs_of_the_version_are_told(sold):
    """S101, I02: the jump of a package is in the answer."""
    charge = {"code": "packs", "meter": "api_calls", "model": "package", "package_size": "10", "package_price": "5"}
    _draft(charges=[charge])
    found = backtest.backtest_run(question=replace(JANUARY, version=2), at=NOW)
    assert found.cliffs == ("packs: the next unit above 10 adds 5.00 USD",)


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"ends_at": START}, "/period/ends_at"),
        ({"ends_at": datetime(2026, 3, 1, tzinfo=UTC)}, "/period/ends_at"),
        ({"usage_factor": Decimal(-1)}, "/usage_factor"),
        ({"usage_factor": Decimal("NaN")}, "/usage_factor"),
        ({"usage_factor": Decimal(1001)}, "/usage_factor"),
    ],
)
def test_a_question_without_an_answer_is_refused(tenant, change, pointer):
    """Each with its place and the remedy."""
    with pytest.raises(BacktestInvalid) as refused:
        backtest.backtest_run(question=replace(JANUARY, **change), at=NOW)
    assert [problem.pointer for problem in refused.value.problems] == [pointer]


def test_more_than_can_be_answered_at_once_is_refused(sold, monkeypatch):
    """Each customer has one period in January; the remedy is to name fewer."""
    monkeypatch.setattr(backtest, "PERIODS_MAX", 2)
    with pytest.raises(BacktestInvalid, match="holds 3 periods; at most 2 are rated at once") as refused:
        backtest.backtest_run(question=JANUARY, at=NOW)
    assert [problem.pointer for problem in refused.value.problems] == ["/period"]
    assert len(backtest.backtest_run(question=replace(JANUARY, customers=("few", "many")), at=NOW).customers) == 2


FEE = {
    "model": "percentage",
    "rate_percent": "2.9",
    "fixed_fee": "0.30",
    "free_amount": "100",
    "free_events": "2",
    "min_per_event": "0.75",
    "max_per_event": "9",
}


@pytest.mark.parametrize("factor", [Decimal(3), Decimal("0.5"), Decimal(7), Decimal(0), Decimal(1)])
def test_scaling_the_fold_is_folding_the_scaled(factor):
    """S111: allowances, minimum and maximum per event see the scaled values, as if the events had carried them."""
    terms = charge_from_document(FEE, currency="USD", path="", is_catalog=False)
    values = [Decimal(text) for text in ("40", "10", "7.77", "100", "33.33", "0.01")]
    measured = (sum(values), fold_events(simulated_usage.terms_to_measure(terms=terms, factor=factor), values))
    quantity, basis = simulated_usage.scaled(measured=measured, factor=factor)
    real = fold_events(terms, [value * factor for value in values] if factor else [])
    assert quantity == sum(values) * factor
    amounts = [
        rate_charge(terms=terms, quantity=quantity, currency="USD", rounding=Rounding.HALF_UP, basis=each).amount_minor
        for each in (basis, real)
    ]
    assert amounts[0] == amounts[1]
    carried = simulated_usage.scaled(measured=(Decimal(2), Basis(amount=Decimal(5))), factor=factor)
    assert carried == (2 * factor, Basis(amount=5 * factor))
