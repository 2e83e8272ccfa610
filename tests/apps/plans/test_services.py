"""Plans through their services: drafts, publishing, and what the database holds on its own."""

import copy
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.audit.models import AuditEntry
from apps.common.actors import OPERATOR
from apps.common.db import NoTenant
from apps.lifecycle.errors import TransitionRefused
from apps.messaging.models import DomainEvent
from apps.metering.models import Meter
from apps.plans import documents, estimates, pricing, selectors, services
from apps.plans.errors import (
    PlanDocumentInvalid,
    PlanExamplesFailed,
    PlanUnknown,
    PlanVersionNotDraft,
    PlanVersionNotReady,
    PlanVersionUnknown,
)
from apps.plans.models import Charge, Feature, Plan, PlanVersion, PlanVersionStatus
from apps.tenancy import context as tenancy_context
from tests.builders import metering, plans

pytestmark = pytest.mark.django_db


@pytest.fixture
def growth(tenant, growth_text) -> dict:
    """The document, in a tenant that has its meters."""
    for code in ("api_calls", "egress", "jobs"):
        metering.meter(code=code)
    return documents.load_text(text=growth_text, format="yaml")


def _apply(document, at) -> services.PlanApplied:
    return services.plan_document_apply(document=document, actor=OPERATOR, at=at)


def _publish(at, version=1, code="growth") -> PlanVersion:
    return services.plan_version_publish(plan_code=code, version=version, actor=OPERATOR, at=at)


def _counts() -> tuple[int, ...]:
    return tuple(model.objects.count() for model in (Plan, PlanVersion, Charge, Feature, AuditEntry, DomainEvent))


def test_a_document_becomes_a_draft(growth, at):
    """S090: a plan has a code, a name, a base price and a currency."""
    applied = _apply(growth, at)
    version = applied.version
    assert (applied.plan.code, applied.plan.name) == ("growth", "Growth")
    assert (version.version, version.status, version.currency, version.rounding) == (1, "DRAFT", "USD", "half_up")
    assert (version.interval_unit, version.interval_count) == ("month", 1)
    charges = selectors.charges_of(version)
    assert [charge.code for charge in charges] == ["base_fee", "api_calls", "egress", "jobs", "support"]
    base_fee = selectors.engine_terms(charges[0])
    assert (base_fee.model, base_fee.amount, base_fee.timing) == ("flat", Decimal("99.00"), "advance")
    assert [charge.meter.code if charge.meter else None for charge in charges] == [
        None,
        "api_calls",
        "egress",
        "jobs",
        None,
    ]
    assert applied.is_changed
    assert "+ base_fee.amount: 99" in applied.difference


def test_included_usage_and_overage_belong_to_each_metric(growth, at):
    """S091: included units per metric: the tenth thousand call is free, the next one is not; egress has its own."""
    _apply(growth, at)
    totals = [
        estimates.plan_estimate(plan_code="growth", version=1, usage=usage, at=at)["total"]["amount"]
        for usage in ({}, {"api_calls": "10000", "egress": "50"}, {"api_calls": "10200", "egress": "50"})
    ]
    assert totals == ["119.00", "119.00", "120.00"]


def test_overage_is_a_charge_model_of_its_own(growth, at):
    """S092: the preset for overage: a rate for each unit above the included ones."""
    terms = {charge.code: selectors.engine_terms(charge) for charge in selectors.charges_of(_apply(growth, at).version)}
    assert (terms["egress"].model, str(terms["egress"].included_units), str(terms["egress"].unit_rate)) == (
        "overage",
        "50",
        "0.09",
    )
    estimate = estimates.plan_estimate(plan_code="growth", version=1, usage={"egress": "60.5"}, at=at)
    line = next(line for line in estimate["lines"] if line["code"] == "egress")
    assert line["net"] == {"amount": "0.95", "currency": "USD"}  # 10.5 x 0.09 = 0.945


def test_the_same_document_twice_changes_nothing(growth, at):
    """S087: a versioned config: applying it again is harmless, before publishing and after."""
    _apply(growth, at)
    counted = _counts()
    again = _apply(copy.deepcopy(growth), at)
    assert (again.is_changed, again.difference, again.version.version) == (False, (), 1)
    assert _counts() == counted
    _publish(at)
    counted = _counts()
    after = _apply(growth, at)
    assert (after.is_changed, after.version.status) == (False, PlanVersionStatus.PUBLISHED)
    assert _counts() == counted


def test_a_changed_document_replaces_the_draft(growth, at):
    """A draft binds nobody: it takes the place of the one before, whose parts are gone."""
    first = _apply(growth, at)
    growth["charges"][1]["tiers"][0]["unit_rate"] = "0.004"
    del growth["features"]["seats"]
    growth["examples"] = []
    second = _apply(growth, at)
    assert (second.is_changed, second.version.id, second.version.version) == (True, first.version.id, 1)
    assert "~ charges[api_calls].tiers[0].unit_rate: 0.005 -> 0.004" in second.difference
    assert not Feature.objects.filter(code="seats").exists()
    assert Charge.objects.count() == 5
    entry = AuditEntry.objects.filter(entity_type="plans.planversion").order_by("-id").first()
    assert (entry.action, entry.before["document_hash"]) == ("draft", first.version.document_hash)
    assert entry.after["difference"] == list(second.difference)


def test_a_changed_document_after_publishing_makes_the_next_version(growth, at):
    """S088: versions count up; each has the date it is on sale from, and until when once there is a next one."""
    _apply(growth, at)
    first = _publish(at)
    growth["base_fee"]["amount"] = "109.00"
    growth["effective_at"] = "2026-03-01T00:00:00Z"
    growth["examples"] = [{"usage": {}, "total": "129.00"}]
    growth["name"] = "Growth 2026"
    second = _apply(growth, at)
    assert (second.version.version, second.version.status) == (2, PlanVersionStatus.DRAFT)
    assert selectors.plan_version_window(first).effective_to_at is None
    assert Plan.objects.get().name == "Growth"
    published = _publish(at, version=2)
    assert Plan.objects.get().name == "Growth 2026"
    march = datetime(2026, 3, 1, tzinfo=UTC)
    assert selectors.plan_version_window(first) == selectors.VersionWindow(datetime(2026, 1, 1, tzinfo=UTC), march)
    assert selectors.plan_version_window(published) == selectors.VersionWindow(march, None)
    current = [
        selectors.plan_version_current(plan_code="growth", at=moment).version
        for moment in (march - timedelta(microseconds=1), march)
    ]
    assert current == [1, 2]


def test_published_terms_are_frozen_by_the_database(growth, at):
    """S088: immutable after publish, for code that goes past the services too."""
    version = _publish(at, version=_apply(growth, at).version.version)
    attacks = [
        lambda: PlanVersion.objects.filter(id=version.id).update(currency="EUR"),
        lambda: PlanVersion.objects.filter(id=version.id).update(effective_at=at),
        lambda: PlanVersion.objects.filter(id=version.id).delete(),
        lambda: Charge.objects.filter(plan_version=version).update(terms={}),
        lambda: Charge.objects.filter(plan_version=version, code="support").delete(),
        lambda: Feature.objects.filter(plan_version=version).update(is_granted=True),
        lambda: Charge.objects.create(
            plan_version=version, position=9, code="x", model="flat", timing="arrears", terms={}
        ),
        lambda: PlanVersion.objects.filter(id=version.id).update(status="DRAFT"),
    ]
    for attack in attacks:
        with pytest.raises(IntegrityError, match=r"plan_version_frozen|charge_frozen|feature_frozen|status_edges|kept"):
            with transaction.atomic():
                attack()
    version.refresh_from_db()
    assert (version.currency, version.status) == ("USD", PlanVersionStatus.PUBLISHED)


def test_a_refused_document_stores_nothing(growth, at):
    """S089: validation comes first: no plan, no draft, no trace."""
    counted = _counts()
    growth["charges"][0]["unit_rate"] = 0.09
    growth["charges"][1]["meter"] = "unheard"
    with pytest.raises(PlanDocumentInvalid) as refused:
        _apply(growth, at)
    assert [problem.pointer for problem in refused.value.problems] == ["/charges/0/unit_rate", "/charges/1/meter"]
    assert _counts() == counted


def test_publishing_freezes_and_tells(growth, at):
    """S087: what was data in a file is now terms on sale, with trail and news."""
    _apply(growth, at)
    version = _publish(at)
    assert (version.status, version.published_at) == (PlanVersionStatus.PUBLISHED, at)
    topics = list(DomainEvent.objects.order_by("id").values_list("topic", flat=True))
    assert topics[-2:] == ["plans.plan_version.drafted", "plans.plan_version.published"]
    event = DomainEvent.objects.get(topic="plans.plan_version.published")
    assert event.payload["plan"] == "growth"
    assert event.payload["effective_at"] == "2026-01-01T00:00:00Z"
    actions = list(
        AuditEntry.objects.filter(entity_type="plans.planversion").order_by("id").values_list("action", flat=True)
    )
    assert actions == ["draft", "publish"]


def test_publishing_twice_is_refused(growth, at):
    """Already done is an answer of its own."""
    _apply(growth, at)
    _publish(at)
    with pytest.raises(PlanVersionNotDraft, match="PUBLISHED"):
        _publish(at)


def test_examples_must_come_out(growth, at):
    """I19: golden examples are checked at publish; one wrong tier value refuses it and names both totals."""
    growth["charges"][1]["tiers"][0]["unit_rate"] = "0.0051"
    _apply(growth, at)
    counted = _counts()
    with pytest.raises(PlanExamplesFailed) as refused:
        _publish(at)
    assert [problem.pointer for problem in refused.value.problems] == ["/examples/1/total"]
    assert "says 629.90 USD, the terms make 638.90" in refused.value.problems[0].detail
    assert _counts() == counted
    assert PlanVersion.objects.get().status == PlanVersionStatus.DRAFT


@pytest.mark.parametrize(
    "pointer",
    [
        ("base_fee", "amount"),
        ("charges", 0, "included_units"),
        ("charges", 0, "unit_rate"),
        ("charges", 1, "included_units"),
        ("charges", 1, "tiers", 0, "up_to"),
        ("charges", 1, "tiers", 0, "unit_rate"),
        ("charges", 1, "tiers", 1, "unit_rate"),
        ("charges", 2, "amount"),
    ],
)
def test_no_price_of_the_example_can_change_unseen(growth_text, pointer):
    """I19: golden files for plans: the mutation of any value that the examples touch makes one of them fail."""
    document = documents.load_text(text=growth_text, format="yaml")
    assert pricing.examples_mismatched(plan=documents.validate(document=document)) == []
    target = document
    for part in pointer[:-1]:
        target = target[part]
    target[pointer[-1]] = str(Decimal(target[pointer[-1]]) * 2)
    assert pricing.examples_mismatched(plan=documents.validate(document=document)) != []


@settings(max_examples=60, derandomize=True, deadline=None)
@given(units=st.tuples(st.integers(0, 300_000), st.integers(0, 300_000)))
def test_more_usage_never_costs_less(units):
    """I19: generated: the price of a plan rises with usage, has no gap and no cliff at a tier's border."""
    document = plans.plan_document()
    plan = documents.validate(document=document)
    few, many = sorted(units)
    few_minor, many_minor = (_total_minor(plan, number) for number in (few, many))
    assert few_minor <= many_minor
    # No unit costs more than the dearest rate, so no border is a cliff.
    assert many_minor - few_minor <= (many - few) * 5 // 10 + 1


def _total_minor(plan, units) -> int:
    document = {"examples": [{"usage": {"api_calls": str(units)}, "total": "0.00"}]}
    with_example = documents.validate(document=plan.to_document() | document)
    return pricing.examples_mismatched(plan=with_example)[0].actual_minor


def test_a_later_version_takes_effect_later(growth, at):
    """What was on sale on a day stays what it was: a version cannot slip in before or beside another."""
    _apply(growth, at)
    _publish(at)
    growth["charges"][2]["amount"] = "30.00"
    growth["examples"] = []
    _apply(growth, at)
    with pytest.raises(PlanVersionNotReady) as refused:
        _publish(at, version=2)
    assert refused.value.problems[0].pointer == "/effective_at"
    assert "must lie after 2026-01-01T00:00:00Z" in refused.value.problems[0].detail


def test_a_draft_is_bound_to_meters_and_told_when_they_move(growth, at):
    """A meter that got a new version under a draft is named at publishing; applying the document again binds it."""
    _apply(growth, at)
    metering.meter(code="egress", event_type="egress.measured", at=at)
    with pytest.raises(PlanVersionNotReady, match="meter egress: version 1 -> 2 since the draft was made"):
        _publish(at)
    again = _apply(growth, at)
    assert (again.is_changed, again.difference) == (True, ("~ meter egress: version 1 -> 2",))
    _publish(at)
    assert Charge.objects.get(code="egress").meter.version == 2


def test_a_draft_whose_meter_is_gone_is_not_published(growth, at):
    """Nobody could be billed on a meter that measures nothing any more."""
    _apply(growth, at)
    Meter.objects.filter(code="egress").update(retired_at=at)
    with pytest.raises(PlanVersionNotReady) as refused:
        _publish(at)
    assert [problem.pointer for problem in refused.value.problems] == ["/charges/1/meter"]
    assert PlanVersion.objects.get().status == PlanVersionStatus.DRAFT


def test_retired_terms_are_off_sale_and_stay(growth, at):
    """Retiring takes a plan off sale from that moment, brings nothing older back, and changes no terms."""
    _apply(growth, at)
    version = _publish(at)
    later = at + timedelta(days=1)
    services.plan_version_retire(
        plan_code="growth", version=1, actor=OPERATOR, at=later, reason=("replaced", "by scale")
    )
    assert selectors.plan_version_current(plan_code="growth", at=at).id == version.id
    with pytest.raises(PlanUnknown, match="off sale since"):
        selectors.plan_version_current(plan_code="growth", at=later)
    assert selectors.plan_version_window(version).effective_to_at is None  # as it was read before retiring
    version.refresh_from_db()
    assert selectors.plan_version_window(version).effective_to_at == later
    assert AuditEntry.objects.get(action="retire").reason_code == "replaced"
    with pytest.raises(TransitionRefused):
        services.plan_version_retire(plan_code="growth", version=1, actor=OPERATOR, at=later)


def test_what_is_not_there_is_said(growth, at):
    """An unknown plan, an unknown version and a plan not yet on sale are three different sentences."""
    _apply(growth, at)
    with pytest.raises(PlanUnknown, match="no plan 'unheard'"):
        selectors.plan_by_reference("unheard")
    with pytest.raises(PlanVersionUnknown, match="no version 7"):
        _publish(at, version=7)
    with pytest.raises(PlanUnknown, match="publish one first"):
        selectors.plan_version_current(plan_code="growth", at=at)
    _publish(at)
    with pytest.raises(PlanUnknown, match="on sale at 2025"):
        selectors.plan_version_current(plan_code="growth", at=datetime(2025, 12, 31, tzinfo=UTC))
    plan = Plan.objects.get()
    assert selectors.plan_by_reference(plan.public_id) == plan
    with pytest.raises(PlanUnknown):
        selectors.plan_by_reference("a\x00b")


def test_two_tenants_do_not_see_each_other_s_plans(tenant, other_tenant, at):
    """Two actors, one code: each has its own plan, its own price and its own version numbers."""
    plans.published_plan(code="shared", base_fee="10.00", charges=[])
    with tenancy_context.tenant_context(schema_name=other_tenant):
        assert not Plan.objects.exists()
        with pytest.raises(PlanUnknown):
            selectors.plan_version_current(plan_code="shared", at=at)
        plans.published_plan(code="shared", base_fee="77.00", charges=[])
        assert estimates.plan_estimate(plan_code="shared", usage={}, at=at)["total"]["amount"] == "77.00"
    assert estimates.plan_estimate(plan_code="shared", usage={}, at=at)["total"]["amount"] == "10.00"
    assert Plan.objects.count() == 1


def test_plans_are_never_written_outside_a_tenant(db, at):
    """The shared schema has no plans, and a service says so before a query could fail."""
    with tenancy_context.shared_context(), pytest.raises(NoTenant):
        _apply(plans.plan_document(charges=[]), at)


def test_a_plan_cannot_be_deleted(tenant):
    """The code of an offer stays; past invoices name it."""
    plan = plans.drafted_plan(charges=[]).plan
    with pytest.raises(IntegrityError), transaction.atomic():
        Plan.objects.filter(id=plan.id).delete()
    assert Plan.objects.filter(id=plan.id).exists()
