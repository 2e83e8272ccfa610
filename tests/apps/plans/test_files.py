"""Terms as files: out and in again without a change, from files of other houses, and what would differ."""

import json
import re
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from apps.plans import documents, pricing
from apps.plans.documents.tier_files import LEAVABLE, plans_of_tier_file
from apps.plans.errors import PlanDocumentInvalid
from apps.plans.models import PlanVersion
from apps.plans.presets import PRESETS
from apps.tenancy import context as tenancy_context
from tests.builders import metering

pytestmark = pytest.mark.django_db
ALPHA = "t_alpha"
TIER_FILE = Path(__file__).with_name("tier_file.json")
GOLDEN = Path(__file__).with_name("tier_file_plans.yaml")


@pytest.fixture
def meters(db):
    """The meters that presets and the file of tiers name, in the tenant."""
    with tenancy_context.tenant_context(schema_name=ALPHA):
        for code in ("api_calls", "egress", "jobs", "storage_gb", "seats"):
            metering.meter(code=code)


@pytest.fixture
def tier_document():
    """The file of tiers, as our reader reads it."""
    return documents.load_text(text=TIER_FILE.read_text(encoding="utf-8"), format="json")


def _refused(document, left_out=()):
    with pytest.raises(PlanDocumentInvalid) as refused:
        plans_of_tier_file(document=document, left_out=left_out)
    return {problem.pointer: problem.detail for problem in refused.value.problems}


def _plans_stored() -> list[str]:
    with tenancy_context.tenant_context(schema_name=ALPHA):
        return [f"{version} {version.status}" for version in PlanVersion.objects.order_by("plan__code", "version")]


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_a_preset_is_published_as_it_stands_and_comes_out_as_it_went_in(meters, tmp_path, capsys, preset):
    """S096, S112: seat, tiered, usage and hybrid; the export of what was applied applies again to no change."""
    assert min(len(words) for words in (preset.stage, preset.choose_when, preset.beware)) > 40
    begun, again = tmp_path / "begun.yaml", tmp_path / "again.yaml"
    call_command("plans_export", preset=preset.name, output=begun)
    code = documents.load_text(text=begun.read_text("utf-8"), format="yaml")["plan"]
    call_command("plans_apply", begun, schema=ALPHA, publish=True)
    call_command("plans_export", code, schema=ALPHA, output=again)
    capsys.readouterr()
    call_command("plans_apply", again, schema=ALPHA)
    assert capsys.readouterr().out == f"{code} v1 (PUBLISHED): unchanged\n"


def test_everything_that_the_language_says_comes_out_again(growth_text):
    """S087: also a matrix whose null means something, and codes that other readers take for numbers or truth values."""
    document = documents.load_text(text=growth_text, format="yaml")
    document |= {"plan": "1e5", "trial_days": 14, "commitment": {"amount": "500.00", "discount_percent": "10"}}
    document["features"]["no"] = True
    document["features"]["2026-01-01"] = False
    document["features"]["*"] = True
    document["charges"].append(
        {
            "code": "calls_by_region",
            "meter": "calls",
            "model": "per_unit",
            "unit_rate": "0.01",
            "description": "Calls: by region # of origin",
            "prices_by": {"property": "region", "match": {"no": {"unit_rate": "0.02"}}, "default": {}},
        }
    )
    usage = {"calls": {"groups": [{"values": {"region": None}, "units": "1"}]}}
    document["examples"] = [{"usage": usage, "total": "119.01"}]
    canonical = documents.validate(document=document)
    text = documents.document_text(document=canonical.to_document())
    read = documents.validate(document=documents.load_text(text=text, format="yaml"))
    assert read.hash == canonical.hash


def test_tiers_become_plans(tier_document):
    """S090-S093, S095: id, name, price and currency; included usage and overage per metric; features with `*`."""
    plans = plans_of_tier_file(document=tier_document, left_out=LEAVABLE)
    canonical = [documents.validate(document=plan.document) for plan in plans]
    texts = [documents.document_text(document=plan.to_document()) for plan in canonical]
    assert "---\n".join(texts) == GOLDEN.read_text(encoding="utf-8")
    assert [pricing.examples_mismatched(plan=plan) for plan in canonical] == [[], []]


def test_a_wildcard_and_a_rounding_rule_are_kept(tier_document):
    """S093, S095: `*` stands for all features; ceil and floor are ours, nearest rounds a tie up."""
    for theirs, ours in (("ceil", "ceil"), ("floor", "floor"), ("nearest", "half_up")):
        tier_document["roundingRule"] = theirs
        tier_document["tiers"][0]["features"] = ["*"]
        plan = plans_of_tier_file(document=tier_document, left_out=LEAVABLE)[0]
        assert (plan.document["rounding"], plan.document["features"]) == (ours, {"*": True})


def test_what_no_plan_can_say_is_refused_by_name_or_left_out_by_name(tier_document):
    """S094: the version, the taxes and a custom contract are named with their place and what to do about them."""
    problems = _refused(tier_document)
    assert set(problems) == {"/version", "/tax", "/tiers/2/customContract"}
    assert "add --leave-out tax" in problems["/tax"]
    assert set(_refused(tier_document, ["version", "customContract"])) == {"/tax"}
    plans = plans_of_tier_file(document=tier_document, left_out=LEAVABLE)
    assert [plan.document["plan"] for plan in plans] == ["free", "pro"]


@pytest.mark.parametrize(
    ("change", "place", "words"),
    [
        (
            {"meteringWindow": "hourly"},
            "/meteringWindow",
            'one of day, daily, week, weekly, month.*not the text "hourly"',
        ),
        ({"roundingRule": "bankers"}, "/roundingRule", "one of ceil, floor, nearest"),
        ({"effectiveDate": "01.02.2026"}, "/effectiveDate", 'a day such as "2026-01-01"'),
        ({"effectiveDate": "2026-01-01T00:00:00"}, "/effectiveDate", "an instant with offset"),
        ({"seatPrice": 3}, "/seatPrice", "has no meaning here; remove it"),
        ({"tiers": {}}, "/tiers", "a list of 1 to 100 tiers, not an object"),
        ({"tiers": []}, "/tiers", "at least one tier"),
    ],
)
def test_a_wrong_head_is_refused_at_its_place(tier_document, change, place, words):
    """S089: the same care as for our own documents."""
    problems = _refused(tier_document | change, LEAVABLE)
    assert list(problems) == [place]
    assert re.search(words, problems[place])


@pytest.mark.parametrize(
    ("change", "place", "words"),
    [
        ({"id": "free"}, "/tiers/1/id", "like /tiers/0/id"),
        ({"basePrice": None}, "/tiers/1/basePrice", "a number of zero or more"),
        ({"basePrice": "1e999999999"}, "/tiers/1/basePrice", "a number of zero or more"),
        ({"basePrice": -1}, "/tiers/1/basePrice", "a number of zero or more"),
        ({"overageRates": {"seats": True, "apiCalls": 1, "storageGb": 1}}, "/tiers/1/overageRates/seats", "a number"),
        ({"overageRates": {"apiCalls": 1}}, "/tiers/1/includedUsage/storageGb", 'has no rate .*"0" for nothing'),
        (
            {"overageRates": {"apiCalls": 1, "api_calls": 1, "storageGb": 1}},
            "/tiers/1/overageRates/api_calls",
            "rename",
        ),
        ({"includedUsage": [5]}, "/tiers/1/includedUsage", "an object from metric to number"),
        ({"features": ["sso", "sso"]}, "/tiers/1/features/1", "once more"),
        ({"features": "sso"}, "/tiers/1/features", 'or \\["\\*"\\] for all'),
        ({"name": " "}, "/tiers/1/name", "must be text"),
        ({"trialDays": 14}, "/tiers/1/trialDays", "has no meaning here"),
    ],
)
def test_a_wrong_tier_is_refused_at_its_place(tier_document, change, place, words):
    """S089: every tier, every field."""
    tier_document["tiers"][1] |= change
    problems = _refused(tier_document, LEAVABLE)
    assert list(problems) == [place]
    assert re.search(words, problems[place])


def test_a_file_of_tiers_is_applied_whole_or_not_at_all(meters, tmp_path, tier_document, capsys):
    """S087, S092: a refusal names the place in the file, not in what was made of it, and stores no tier."""
    options = {"schema": ALPHA, "format": "tiers", "leave_out": list(LEAVABLE)}
    wrong = tmp_path / "wrong.json"
    wrong.write_text(TIER_FILE.read_text("utf-8").replace("49.90", "49.999").replace('"seats"', '"sseats"'), "utf-8")
    with pytest.raises(CommandError) as refused:
        call_command("plans_apply", wrong, **options)
    assert "/tiers/1/basePrice: " in str(refused.value)
    assert "/tiers/1/overageRates/sseats: " in str(refused.value)
    assert _plans_stored() == []
    call_command("plans_apply", TIER_FILE, **options, publish=True)
    call_command("plans_apply", TIER_FILE, **options, publish=True)
    assert _plans_stored() == ["free v1 PUBLISHED", "pro v1 PUBLISHED"]
    assert "pro v1 (PUBLISHED): unchanged" in capsys.readouterr().out


def test_what_a_file_would_change_is_printed_and_not_done(meters, tmp_path, growth_text, capsys):
    """S087: against the newest version, or against nothing; --exit-code tells a pipeline."""
    path = tmp_path / "growth.yaml"
    path.write_text(growth_text, encoding="utf-8")
    call_command("plans_diff", path, schema=ALPHA)
    assert "growth.yaml is a new plan, growth: " in capsys.readouterr().out
    assert _plans_stored() == []
    call_command("plans_apply", path, schema=ALPHA)
    capsys.readouterr()
    call_command("plans_diff", path, schema=ALPHA, exit_code=True)
    assert capsys.readouterr().out == "growth v1 (DRAFT) to growth.yaml: nothing differs\n"
    path.write_text(growth_text.replace('"20.00"', '"25.00"'), encoding="utf-8")
    with pytest.raises(SystemExit):
        call_command("plans_diff", path, schema=ALPHA, exit_code=True)
    assert capsys.readouterr().out.splitlines() == [
        "growth v1 (DRAFT) to growth.yaml: 1 value differs",
        "  ~ charges[support].amount: 20 -> 25",
    ]
    assert _plans_stored() == ["growth v1 DRAFT"]


def test_two_versions_are_compared_either_way(meters, tmp_path, growth_text, capsys):
    path = tmp_path / "growth.yaml"
    path.write_text(growth_text, encoding="utf-8")
    call_command("plans_apply", path, schema=ALPHA, publish=True)
    later = growth_text.replace("Growth", "Growth 2").replace("2026-01-01", "2026-03-01")
    path.write_text(later, encoding="utf-8")
    call_command("plans_apply", path, schema=ALPHA)
    capsys.readouterr()
    call_command("plans_diff", schema=ALPHA, plan="growth", before=2, after=1)
    assert "  ~ name: Growth 2 -> Growth" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("name", "arguments", "options", "words"),
    [
        ("plans_diff", [], {"schema": ALPHA}, "either a file, or --plan CODE with --from N and --to M"),
        ("plans_diff", [], {"schema": ALPHA, "plan": "x", "before": 1}, "either a file, or --plan CODE"),
        ("plans_diff", [], {"schema": ALPHA, "plan": "x", "before": 1, "after": 2}, "There is no plan 'x'"),
        ("plans_export", [], {}, "either the code of a plan with --schema, or --preset NAME"),
        ("plans_export", ["growth"], {}, "add --schema"),
        ("plans_export", ["growth"], {"schema": ALPHA}, "There is no plan 'growth'"),
        ("plans_export", [], {"preset": "seat", "output": Path("/nowhere/x.yaml")}, "cannot be written"),
        ("plans_apply", [TIER_FILE], {"schema": ALPHA, "leave_out": ["tax"]}, "--leave-out is for --format tiers"),
    ],
)
def test_what_is_missing_is_said(db, name, arguments, options, words):
    with pytest.raises(CommandError, match=words):
        call_command(name, *arguments, **options)


def test_the_file_of_tiers_is_read_without_a_binary_float(tier_document):
    """49.90 and 0.0021 arrive with the digits that were written."""
    tiers = plans_of_tier_file(document=tier_document, left_out=LEAVABLE)
    assert tiers[1].document["base_fee"]["amount"] == "49.9"
    assert json.dumps(tiers[1].document["charges"][0]["unit_rate"]) == '"0.0021"'
