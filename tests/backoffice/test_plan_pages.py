"""A plan version under examination: what a person sees before publishing it."""

import re
from datetime import timedelta
from html import escape
from urllib.parse import urlencode

import pytest

from apps.common.actors import OPERATOR
from apps.identity.models import Role
from apps.invoices.models import Invoice
from apps.plans import services as plan_services
from apps.plans.models import PlanVersion
from apps.plans.presets import PRESETS
from tests.builders import faces, metering, plans

pytestmark = pytest.mark.django_db

PACKS = {"code": "packs", "meter": "api_calls", "model": "package", "package_size": "10", "package_price": "5.00"}


@pytest.fixture
def reader(tenant):
    """Somebody who may read everything."""
    return faces.browser(faces.staff(Role.VIEWER))


@pytest.fixture
def house(tenant, clock):
    """A tenant at a time when its customers live."""
    clock.set(faces.NOW)


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


def _page(reader, version: int, query: str = "", code: str = "growth") -> str:
    answer = reader.get(f"/backoffice/plans/{code}/versions/{version}/examine/{query}")
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def test_a_draft_shows_its_examples_cliffs_and_what_it_changes(reader, drafted):
    """S101, I19: passes and fails side by side, the jump of a package, the difference to the version on sale."""
    page = _page(reader, 2)
    assert (page.count(">Passes<"), page.count(">Fails<")) == (1, 1)
    assert "packs: the next unit above 10 adds 5.00 USD" in page
    assert "~ base_fee.amount: 99 -&gt; 89" in page
    assert re.search(r"growth v2, shown here.*meant from Mar 1, 2026, 00:00 UTC.*>0<.*growth v1</a>.*>1</td>", page)


def test_usage_is_priced_with_its_explanation(reader, drafted):
    """S105: the simulator asks the engine and stores nothing."""
    page = _page(reader, 2, "?simulate=1&usage.api_calls=21")
    assert re.search(r"Total before tax</th><td class=\"ch-number\">\$104\.00<", page)
    assert re.search(r"Packs</th> <td class=\"ch-number\">21 api_calls</td> <td class=\"ch-number\">\$15\.00<", page)
    assert "21 units begin 3 packages of 10: 3 x 5 USD = 15 USD." in page


def _field(page: str, name: str) -> str:
    """Return what stands in the form from a field to the next one."""
    start = page.index(f'name="{name}"')
    return page[start : page.index('class="ch-field"', start) if 'class="ch-field"' in page[start:] else None]


def test_each_way_of_usage_has_its_fields_and_refusals_stand_at_them(reader, house):
    """S099, S100: units per group of a matrix, values of events, a sum of amounts, and the quantity."""
    calls = {"code": "calls", "meter": "calls", "model": "per_unit", "unit_rate": "1.00"}
    calls["prices_by"] = {"property": "region", "match": {"eu": {"unit_rate": "2.00"}}, "default": {}}
    fees = {"code": "fees", "meter": "payments", "model": "percentage", "rate_percent": "10"}
    passed = {"code": "passed", "meter": "resale", "model": "dynamic", "amount_property": "price"}
    metering.meter(code="calls", group_by=["region"])
    metering.meter(code="payments", aggregation="sum", value_property="value")
    seat = {"amount": "5.00", "per_quantity": True}
    plans.drafted_plan(code="many", base_fee=seat, charges=[calls, fees, passed])

    def asked(**values: str) -> str:
        usage = {f"usage.{key}": value for key, value in values.items() if key != "quantity"}
        query = urlencode({"simulate": "1", "quantity": values.get("quantity", "1"), **usage})
        return _page(reader, 1, f"?{query}", code="many")

    page = asked(**{"calls.0": "10", "calls.1": "3", "payments": "12.00, 8 30", "resale": "4.25", "quantity": "2"})
    # 2 x 5.00 seats + 10 x 2.00 in eu + 3 x 1.00 elsewhere + 10 % of 50.00 + 4.25
    assert ">$42.25<" in page
    assert "calls (units), region eu" in page
    assert "calls (units), all others" in page
    wrong = asked(**{"calls.1": "many", "payments": "5, x", "resale": "-1", "quantity": "1,5"})
    assert "What it costs" not in wrong
    for name in ("quantity", "usage.calls.1", "usage.payments", "usage.resale"):
        assert 'role="alert"' in _field(wrong, name), name
    assert "ch-error" not in _field(wrong, "usage.calls.0")


def test_terms_are_readable(reader, house):
    """S090-S092: tiers and matrices as tables, the rest in words."""
    ladder = {
        **plans.CALLS,
        "meter": "calls",
        "max_amount": "5000.00",
        "unit_transform": {"divide_by": "1000", "mode": "ceil"},
        "prices_by": {
            "property": "region",
            "match": {"eu": {"model": "per_unit", "unit_rate": "0.006"}},
            "default": {},
        },
    }
    metering.meter(code="calls", group_by=["region"])
    plans.drafted_plan(
        code="many", charges=[ladder], trial_days=14, commitment={"amount": "500.00", "discount_percent": "12.5"}
    )
    page = _page(reader, 1, code="many")
    for words in (
        '<td class="ch-number">0</td> <td class="ch-number">100,000</td> <td class="ch-number">0.005 USD</td>',
        '<td class="ch-number">100,000</td> <td class="ch-number">no end</td> <td class="ch-number">0.003 USD</td>',
        "<td>eu</td> <td>Per unit: 0.006 USD</td>",
        "<td>any</td> <td>As above</td>",
        "<dd>14 days</dd>",
        "<dd>12.5 %</dd>",
        "<dd>$500.00</dd>",
        "<dd>$5,000.00</dd>",
        "divided by 1,000, rounded up in steps of 1",
    ):
        assert words in page, words


def test_any_two_versions_are_compared(reader, drafted):
    """S087: the choice, the version before without one, and nonsense is no choice."""
    page = _page(reader, 1, "?against=2")
    assert "~ base_fee.amount: 89 -&gt; 99" in page
    assert "~ base_fee.amount: 99 -&gt; 89" in _page(reader, 2)
    assert "Against version 1" in _page(reader, 2, "?against=" + "9" * 30)


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


def test_presets_are_offered_with_advice_and_as_files(reader):
    """S112, S096: from the list of plans; the file is the document that `plans_export --preset` writes."""
    assert "/backoffice/plan-presets/" in reader.get("/backoffice/plans/plan/").content.decode()
    page = reader.get("/backoffice/plan-presets/").content.decode()
    for preset in PRESETS:
        assert escape(preset.choose_when) in page
        assert reader.get(f"/backoffice/plan-presets/{preset.name}.yaml").content.decode() == preset.text
    assert reader.get("/backoffice/plan-presets/other.yaml").status_code == 404
    stranger = faces.browser(faces.staff(email="new@alpha.example"))
    assert stranger.get("/backoffice/plan-presets/").status_code == 403
    assert stranger.get("/backoffice/plan-presets/seat.yaml").status_code == 403
