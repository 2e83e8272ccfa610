"""Two and more at once, with real commits: one plan, one draft, one publication, one customer."""

import pytest

from apps.audit.models import AuditEntry
from apps.common import ids
from apps.common.actors import OPERATOR
from apps.customers.errors import CustomerExists
from apps.customers.models import Customer
from apps.plans import services
from apps.plans.errors import PlanVersionNotDraft
from apps.plans.models import Charge, Plan, PlanVersion, PlanVersionStatus
from tests import races
from tests.builders import customers, plans

pytestmark = pytest.mark.races


@pytest.fixture
def code(committed_tenant) -> str:
    """A code of this test's own: what is committed in this tenant stays."""
    return f"race-{str(ids.new_id())[-8:]}"


def _apply(document, at):
    return lambda: services.plan_document_apply(document=document, actor=OPERATOR, at=at)


def test_the_same_document_at_once_is_one_draft(committed_tenant, code, at):
    """S087: two deployments that apply one file: one writes, the others find it done."""
    document = plans.plan_document(code=code, charges=[])
    results = races.race(committed_tenant, [_apply(document, at)] * 4)
    assert sorted(result.is_changed for result in results) == [False, False, False, True]
    version = PlanVersion.objects.get(plan__code=code)
    assert version.charges.count() == 1
    assert AuditEntry.objects.filter(entity_id=version.id).count() == 1


def test_different_documents_at_once_leave_one_whole_draft(committed_tenant, code, at):
    """The draft is that of one document, never a mixture of several."""
    fees = [f"{number}.00" for number in range(1, 5)]
    documents = [plans.plan_document(code=code, base_fee=fee, charges=[]) for fee in fees]
    results = races.race(committed_tenant, [_apply(document, at) for document in documents])
    assert all(result.is_changed for result in results)
    version = PlanVersion.objects.get(plan__code=code)
    terms = Charge.objects.get(plan_version=version).terms
    assert terms["amount"] == version.document["base_fee"]["amount"]


def test_publishing_at_once_happens_once(committed_tenant, code, at):
    """S088: who comes second is told; a replacement that comes too late becomes the next version."""
    draft = plans.drafted_plan(code=code, charges=[])

    def publish():
        return services.plan_version_publish(plan_code=code, version=1, actor=OPERATOR, at=at)

    changed = plans.plan_document(code=code, base_fee="5.00", charges=[])
    results = races.race(committed_tenant, [publish, publish, publish, _apply(changed, at)])
    assert sum(isinstance(result, PlanVersion) for result in results[:3]) == 1
    assert sum(isinstance(result, PlanVersionNotDraft) for result in results[:3]) == 2
    first = PlanVersion.objects.get(id=draft.id)
    assert first.status == PlanVersionStatus.PUBLISHED
    assert Charge.objects.get(plan_version=first).terms["amount"] == first.document["base_fee"]["amount"]
    assert Plan.objects.filter(code=code).count() == 1


def test_one_code_is_one_customer(committed_tenant, code, at):
    """Who comes second is told who came first, and never sees a database error."""
    works = [lambda: customers.customer(external_id=code, at=at)] * 4
    results = races.race(committed_tenant, works)
    assert sum(isinstance(result, Customer) for result in results) == 1
    assert sum(isinstance(result, CustomerExists) for result in results) == 3
    assert Customer.objects.filter(external_id=code).count() == 1
