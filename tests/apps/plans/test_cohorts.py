"""Some of the customers first: cohorts, the versions published for them, and who stays on which terms."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, IntegrityError, transaction

from apps.audit.models import AuditEntry
from apps.common import ids
from apps.common.actors import OPERATOR
from apps.customers.errors import CustomerUnknown
from apps.plans import cohorts, price_book, selectors, services
from apps.plans.cohorts import CohortInput
from apps.plans.errors import CohortExists, CohortInvalid, CohortUnknown, PlanUnknown, PlanVersionNotReady
from apps.plans.models import Cohort, CohortMember, Plan, PlanVersion, PlanVersionStatus
from apps.subscriptions import changes
from apps.subscriptions.errors import ChangeInvalid
from apps.subscriptions.inputs import TermsChange, Timing, When
from tests.builders import customers, plans, subscriptions

pytestmark = pytest.mark.django_db

MARCH, APRIL = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)
HALF = Decimal(50)


def _cohort(code: str = "beta", **fields) -> Cohort:
    data = CohortInput(**({"code": code, "name": code.title()} | fields))
    return cohorts.cohort_create(data=data, actor=OPERATOR, at=plans.DRAFTED)


def _version(base_fee: str, effective_at: datetime, *, cohort: str | None = None) -> PlanVersion:
    draft = plans.drafted_plan(base_fee=base_fee, charges=[], effective_at=effective_at.isoformat())
    return services.plan_version_publish(
        plan_code="growth", version=draft.version, actor=OPERATOR, at=plans.DRAFTED, cohort_code=cohort
    )


def _current(at: datetime, customer=None) -> int:
    asked = None if customer is None else customer.id
    return selectors.plan_version_current(plan_code="growth", at=at, customer_id=asked).version


@pytest.fixture
def beta(tenant):
    """Two customers, of whom one is in the cohort `beta`; a first version for everybody."""
    inside, outside = customers.customer(external_id="inside"), customers.customer(external_id="outside")
    _cohort(customers=("inside",))
    plans.published_plan(base_fee="99.00", charges=[])
    return inside, outside


def test_a_version_for_a_cohort_is_on_sale_for_its_members_only(beta):
    """S102, S103: the version before it goes on for others, and for whoever does not say who asks."""
    inside, outside = beta
    second = _version("89.00", MARCH, cohort="beta")
    assert (_current(MARCH, inside), _current(MARCH, outside), _current(MARCH)) == (2, 1, 1)
    assert _current(MARCH - timedelta(microseconds=1), inside) == 1
    first = selectors.plan_version_get(plan_code="growth", version=1)
    assert selectors.plan_version_window(first).effective_to_at is None
    assert selectors.plan_version_window(second) == selectors.VersionWindow(MARCH, None)
    [entry] = price_book.price_book(at=MARCH).entries
    assert entry["version"] == 1
    _version("95.00", APRIL)
    assert (_current(APRIL, inside), _current(APRIL, outside)) == (3, 3)
    assert selectors.plan_version_window(second).effective_to_at == APRIL
    assert selectors.plan_version_window(first).effective_to_at == APRIL


def test_who_is_subscribed_stays_on_the_terms_it_has(beta):
    """S103: no new version, for a cohort or for all, moves a subscription; who comes later gets what is on sale."""
    inside, outside = beta
    early = subscriptions.subscription(customer=inside, plan_code="growth")
    _version("89.00", MARCH, cohort="beta")
    late = subscriptions.subscription(customer=outside, plan_code="growth", starts_at=MARCH)
    early.refresh_from_db()
    assert (early.plan_version.version, late.plan_version.version) == (1, 1)
    named = customers.customer(external_id="named")
    cohort = cohorts.cohort_by_reference("beta")
    cohorts.cohort_members_change(cohort_id=cohort.id, add=("named",), remove=(), actor=OPERATOR, at=MARCH)
    new = subscriptions.subscription(customer=named, plan_code="growth", starts_at=MARCH)
    assert new.plan_version.version == 2
    cohorts.cohort_members_change(cohort_id=cohort.id, add=(), remove=("named",), actor=OPERATOR, at=MARCH)
    new.refresh_from_db()
    assert (new.plan_version.version, _current(MARCH, named)) == (2, 1)
    entry = AuditEntry.objects.filter(action="change_members").order_by("-id").first()
    assert entry.after == {"added": [], "removed": [named.public_id]}


def test_a_change_of_plan_goes_to_the_version_of_who_changes(beta):
    """S103: by the plan's code a member gets the cohort's version; by number nobody else does."""
    inside, outside = beta
    plans.published_plan(code="basic", base_fee="10.00", charges=[])
    _version("89.00", MARCH, cohort="beta")
    on_basic = [subscriptions.subscription(customer=each, plan_code="basic") for each in beta]
    when = When(timing=Timing.AT, effective_at=MARCH)
    for subscription, version in zip(on_basic, (2, 1), strict=True):
        wanted = TermsChange(plan_code="growth")
        change = changes.subscription_change(
            subscription_id=subscription.id, wanted=wanted, when=when, actor=OPERATOR, at=subscriptions.START
        )
        assert change.plan_version.version == version
    with pytest.raises(ChangeInvalid, match="is for cohort 'beta' only; add the customer to it") as refused:
        changes.subscription_change(
            subscription_id=on_basic[1].id,
            wanted=TermsChange(plan_code="growth", plan_version=2),
            when=When(timing=Timing.AT, effective_at=APRIL),
            actor=OPERATOR,
            at=subscriptions.START,
        )
    assert [problem.pointer for problem in refused.value.problems] == ["/plan_version"]
    assert outside.subscriptions.get().changes.count() == 1


def test_a_retired_trial_of_a_cohort_gives_its_members_back_to_all(beta):
    """S103: an experiment that is called off leaves the plan on sale; a plan retired for all does not."""
    inside, _outside = beta
    _version("89.00", MARCH, cohort="beta")
    retire = {"plan_code": "growth", "actor": OPERATOR, "at": APRIL}
    services.plan_version_retire(version=2, **retire)
    assert (_current(APRIL - timedelta(microseconds=1), inside), _current(APRIL, inside)) == (2, 1)
    services.plan_version_retire(version=1, **retire)
    with pytest.raises(PlanUnknown, match="off sale since"):
        _current(APRIL, inside)


def test_each_version_comes_after_the_one_before_it_for_the_same_customers(beta):
    """Two cohorts may begin at one instant; a cohort's version not before what its members have already."""
    _cohort("gamma")
    _version("89.00", MARCH, cohort="beta")
    _version("79.00", MARCH, cohort="gamma")
    for cohort in ("beta", None):
        with pytest.raises(PlanVersionNotReady) as refused:
            _version("69.00", MARCH, cohort=cohort)
        assert [problem.pointer for problem in refused.value.problems] == ["/effective_at"]
    assert _version("69.00", APRIL).version == 4


def test_the_cohort_of_a_published_version_is_frozen(beta):
    """S103: chosen when it is published, and held by the database from then on; an unknown one publishes nothing."""
    with pytest.raises(CohortUnknown, match="no cohort 'nobody'"):
        _version("89.00", MARCH, cohort="nobody")
    assert PlanVersion.objects.get(version=2).status == PlanVersionStatus.DRAFT
    published = services.plan_version_publish(
        plan_code="growth", version=2, actor=OPERATOR, at=plans.DRAFTED, cohort_code="beta"
    )
    assert published.cohort.code == "beta"
    for change in ({"cohort": None}, {"cohort": _cohort("gamma")}):
        with pytest.raises(DatabaseError, match="plan_version_frozen|frozen"), transaction.atomic():
            PlanVersion.objects.filter(id=published.id).update(**change)


def test_a_version_for_some_does_not_rename_the_plan_for_all(beta):
    """The name is what everybody reads."""
    draft = plans.drafted_plan(base_fee="89.00", charges=[], effective_at=MARCH.isoformat(), name="Growth Beta")
    services.plan_version_publish(
        plan_code="growth", version=draft.version, actor=OPERATOR, at=plans.DRAFTED, cohort_code="beta"
    )
    assert Plan.objects.get().name == "Growth"


def test_two_halves_of_an_experiment_divide_the_customers(tenant):
    """S103: of 10,000 customers each is in one half exactly; the halves are even, and stay the same."""
    halves = [
        cohorts.membership_of(_cohort(code, experiment="fees", from_percent=low, to_percent=low + HALF))
        for code, low in (("a", Decimal(0)), ("b", HALF))
    ]
    everybody = [ids.new_id() for _ in range(10_000)]
    sides = [[half for half in halves if customer in half] for customer in everybody]
    assert all(len(found) == 1 for found in sides)
    first = sum(found == [halves[0]] for found in sides)
    assert 4_800 <= first <= 5_200  # four standard deviations of a fair coin
    assert sides == [[half for half in halves if customer in half] for customer in everybody]
    # Another experiment asks another question: its halves are not those of the first.
    other = cohorts.membership_of(_cohort("c", from_percent=Decimal(0), to_percent=HALF))
    both = sum(customer in halves[0] and customer in other for customer in everybody)
    assert 2_300 <= both <= 2_700


def test_the_place_of_a_customer_is_fixed(tenant):
    """What was published depends on it: a changed hash would move customers from one half to the other."""
    customer_id = ids.from_public(prefix="cus", text="cus_01kcg8m5e8f9rv4yw3x0n6t2ab")
    place = cohorts.share_of(customer_id=customer_id, experiment="fees")
    assert int(place * 10**6) == 18327230


def test_members_by_share_are_found_for_a_version(tenant):
    """S102: the same customers whether a cohort is asked or a customer."""
    cohort = _cohort(from_percent=Decimal("12.5"), to_percent=Decimal(75))
    found = [customers.customer() for _ in range(20)]
    members = [each for each in found if each.id in cohorts.membership_of(cohort)]
    assert 0 < len(members) < len(found)
    assert members == [each for each in found if cohort.id in cohorts.cohorts_of(customer_id=each.id)]


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"code": " ", "name": "New"}, "/code"),
        ({"name": ""}, "/name"),
        ({"code": "coh_01kcg8m5e8f9rv4yw3x0n6t2ab"}, "/code"),
        ({"to_percent": HALF}, "/from_percent"),
        ({"from_percent": HALF}, "/to_percent"),
        ({"from_percent": Decimal(-1), "to_percent": HALF}, "/from_percent"),
        ({"from_percent": Decimal(0), "to_percent": Decimal("100.01")}, "/to_percent"),
        ({"from_percent": Decimal(0), "to_percent": Decimal("33.333")}, "/to_percent"),
        ({"from_percent": Decimal(0), "to_percent": Decimal("NaN")}, "/to_percent"),
        ({"from_percent": HALF, "to_percent": HALF}, "/to_percent"),
        ({"experiment": "fees", "from_percent": Decimal(20), "to_percent": Decimal(60)}, "/from_percent"),
    ],
)
def test_a_cohort_that_is_none_is_refused(tenant, fields, pointer):
    """Each with its field and the remedy; nothing is stored."""
    _cohort("taken", experiment="fees", from_percent=HALF, to_percent=Decimal(100))
    with pytest.raises(CohortInvalid) as refused:
        _cohort(**{"code": "new", **fields})
    assert [problem.pointer for problem in refused.value.problems] == [pointer]
    assert Cohort.objects.count() == 1


def test_what_is_there_or_is_not_is_said(tenant):
    """A code twice, an unknown cohort, an unknown customer, and a customer that shall come and go at once."""
    cohort = _cohort(customers=(customers.customer(external_id="acme").public_id,))
    with pytest.raises(CohortExists):
        _cohort()
    assert cohorts.cohort_by_reference(cohort.public_id) == cohort
    with pytest.raises(CohortUnknown):
        cohorts.cohort_by_reference("a\x00b")
    change = {"cohort_id": cohort.id, "actor": OPERATOR, "at": plans.DRAFTED}
    with pytest.raises(CustomerUnknown):
        cohorts.cohort_members_change(add=("nobody",), remove=(), **change)
    with pytest.raises(CohortInvalid) as refused:
        cohorts.cohort_members_change(add=("acme",), remove=("acme",), **change)
    assert [problem.pointer for problem in refused.value.problems] == ["/remove"]
    entries = AuditEntry.objects.count()
    cohorts.cohort_members_change(add=("acme",), remove=(), **change)
    assert (CohortMember.objects.count(), AuditEntry.objects.count()) == (1, entries)


def test_the_database_holds_a_cohort_to_what_it_is(tenant):
    """Past the services: no half range, no range beyond all, no other range later, nobody named twice."""
    cohort = _cohort(from_percent=Decimal(0), to_percent=HALF, customers=(customers.customer().external_id,))
    for values in ({"from_percent": HALF}, {"from_percent": HALF, "to_percent": Decimal(101)}):
        with pytest.raises(IntegrityError, match="cohort_range_whole"), transaction.atomic():
            Cohort.objects.create(code="x", name="X", experiment="x", **values)
    with pytest.raises(DatabaseError, match="Fixed from the first"), transaction.atomic():
        Cohort.objects.filter(id=cohort.id).update(to_percent=Decimal(60))
    with pytest.raises(IntegrityError, match="cohort_member_once"), transaction.atomic():
        CohortMember.objects.create(cohort=cohort, customer=CohortMember.objects.get().customer)
