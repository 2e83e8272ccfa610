"""A plan version under examination: what a person sees before publishing it."""

from datetime import timedelta

import pytest

from apps.common.actors import OPERATOR
from apps.identity.models import Role
from apps.invoices.models import Invoice
from apps.plans import services as plan_services
from apps.plans.models import PlanVersion
from tests.builders import faces, plans

pytestmark = pytest.mark.django_db

PACKS = {"code": "packs", "meter": "api_calls", "model": "package", "package_size": "10", "package_price": "5.00"}


@pytest.fixture
def reader(tenant):
    """Somebody who may read everything."""
    return faces.browser(faces.staff(Role.VIEWER))


@pytest.fixture
def drafted(tenant, clock) -> PlanVersion:
    """A customer with 25 calls in January, and a draft that sells calls in packs, with an example that fails."""
    faces.house()
    clock.set(faces.NOW)
    document = plans.plan_document(
        base_fee="89.00",
        charges=[PACKS],
        effective_at="2026-03-01T00:00:00Z",
        examples=[
            {"name": "two packs", "usage": {"api_calls": "11"}, "total": "99.00"},
            {"name": "wrong", "usage": {}, "total": "1.00"},
        ],
    )
    return plan_services.plan_document_apply(document=document, actor=OPERATOR, at=faces.NOW).version


def _page(reader, version: int, query: str = "") -> str:
    answer = reader.get(f"/backoffice/plans/growth/versions/{version}/examine/{query}")
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def test_a_draft_shows_its_examples_cliffs_and_what_it_changes(reader, drafted):
    """S101, I19: passes and fails side by side, the jump of a package, the difference to the version on sale."""
    page = _page(reader, 2)
    assert (page.count(">Passes<"), page.count(">Fails<")) == (1, 1)
    assert "packs: the next unit above 10 adds 5.00 USD" in page
    assert "~ base_fee.amount: 99 -&gt; 89" in page
    assert "0 subscriptions on it" in page
    assert "1 subscription on it" in _page(reader, 1)


def test_usage_is_priced_with_its_explanation(reader, drafted):
    """S105: the simulator asks the engine and stores nothing; what cannot be priced is said."""
    page = _page(reader, 2, "?simulate=1&quantity=1&usage.api_calls=21")
    assert "Total $104.00" in page
    assert "Packs: $15.00" in page
    assert "Rounding." in page
    assert "This cannot be priced" in _page(reader, 2, "?simulate=1&quantity=1&usage.api_calls=many")


def test_a_backtest_shows_who_pays_more_and_less(reader, drafted):
    """I02, S110: January's 25 calls in packs: 89 + 15 = 104.00 and not 116.50; no document is made."""
    counted = Invoice.objects.count()
    page = _page(reader, 2, "?backtest=1&starts=2026-01-15+00:00&ends=2026-02-02+00:00&factor=1")
    assert "1 would pay less, 0 more, 0 the same." in page
    assert "-$12.50" in page
    assert Invoice.objects.count() == counted
    same = _page(reader, 1, "?backtest=1&starts=2026-01-15+00:00&ends=2026-02-02+00:00&factor=1")
    assert "0 would pay less, 0 more, 1 the same." in same
    future = (faces.NOW + timedelta(days=30)).strftime("%Y-%m-%d")
    assert "must lie in the past" in _page(reader, 2, f"?backtest=1&starts=2026-01-15&ends={future}&factor=1")


def test_only_who_reads_records_and_only_what_is_there(reader, drafted):
    """A person without a role sees nothing; a version that is not there is not found."""
    assert reader.get("/backoffice/plans/growth/versions/9/examine/").status_code == 404
    stranger = faces.browser(faces.staff(email="new@alpha.example"))
    assert stranger.get("/backoffice/plans/growth/versions/1/examine/").status_code == 403


def test_the_version_leads_to_its_examination_and_the_plan_counts_who_is_on_it(reader, drafted):
    """S103: customers stay pinned to the version they began with; the plan's page says how many."""
    page = reader.get(f"/backoffice/plans/planversion/{drafted.pk}/change/").content.decode()
    assert "/backoffice/plans/growth/versions/2/examine/" in page
    plan = " ".join(reader.get(f"/backoffice/plans/plan/{drafted.plan_id}/change/").content.decode().split())
    assert '<td class="ch-number">1</td>' in plan
