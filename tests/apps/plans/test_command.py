"""`manage.py plans_apply`, as an operator uses it."""

import json

import pytest
from django.core.management import CommandError, call_command

from apps.plans.models import PlanVersion
from apps.tenancy import context as tenancy_context
from tests.builders import metering

pytestmark = pytest.mark.django_db
ALPHA = "t_alpha"


@pytest.fixture
def growth_file(db, tmp_path, growth_text):
    """The document in a file, and its meters in the tenant."""
    with tenancy_context.tenant_context(schema_name=ALPHA):
        for code in ("api_calls", "egress", "jobs"):
            metering.meter(code=code)
    path = tmp_path / "growth.yaml"
    path.write_text(growth_text, encoding="utf-8")
    return path


def _version() -> PlanVersion | None:
    with tenancy_context.tenant_context(schema_name=ALPHA):
        return PlanVersion.objects.order_by("-version").first()


def test_a_file_is_applied_published_and_left_alone(growth_file, capsys):
    """S087: importable from YAML: a draft, then terms on sale, then nothing to do."""
    call_command("plans_apply", growth_file, schema=ALPHA)
    assert "growth v1 (DRAFT): changed" in capsys.readouterr().out
    call_command("plans_apply", growth_file, schema=ALPHA, publish=True)
    told = capsys.readouterr().out
    assert "growth v1 (DRAFT): unchanged" in told
    assert "growth v1 is published, effective 2026-01-01T00:00:00+00:00" in told
    call_command("plans_apply", growth_file, schema=ALPHA, publish=True)
    assert capsys.readouterr().out == "growth v1 (PUBLISHED): unchanged\n"
    assert _version().status == "PUBLISHED"


def test_a_changed_file_prints_what_differs(growth_file, growth_text, capsys):
    """The operator reads the difference before anybody is billed by it."""
    call_command("plans_apply", growth_file, schema=ALPHA, publish=True)
    growth_file.write_text(growth_text.replace('"5000.00"', '"6000.00"').replace("2026-01-01", "2026-02-01"), "utf-8")
    capsys.readouterr()
    call_command("plans_apply", growth_file, schema=ALPHA)
    assert capsys.readouterr().out.splitlines() == [
        "growth v2 (DRAFT): changed",
        "  ~ charges[api_calls].max_amount: 5000 -> 6000",
        "  ~ effective_at: 2026-01-01T00:00:00Z -> 2026-02-01T00:00:00Z",
    ]


def test_a_json_file_is_applied(db, tmp_path, capsys):
    """S087: importable from JSON; the format is taken from the file's name or said."""
    document = {
        "plan": "free",
        "name": "Free",
        "currency": "EUR",
        "interval": {"unit": "year", "count": 1},
        "effective_at": "2026-01-01T00:00:00Z",
    }
    path = tmp_path / "free.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    call_command("plans_apply", path, schema=ALPHA)
    unnamed = path.rename(tmp_path / "free")
    call_command("plans_apply", unnamed, schema=ALPHA, format="json")
    assert "free v1 (DRAFT): unchanged" in capsys.readouterr().out
    with pytest.raises(CommandError, match="add --format yaml or --format json"):
        call_command("plans_apply", unnamed, schema=ALPHA)


def test_a_refused_file_prints_every_problem(growth_file, growth_text):
    """S089: validation at load time, told to whoever loads."""
    growth_file.write_text(growth_text.replace('"0.09"', "0.09").replace("USD", "XXX"), encoding="utf-8")
    with pytest.raises(CommandError) as refused:
        call_command("plans_apply", growth_file, schema=ALPHA, publish=True)
    assert "/charges/0/unit_rate: must be a decimal string" in str(refused.value)
    assert "/currency: " in str(refused.value)
    assert _version() is None


def test_publishing_with_a_failing_example_keeps_the_draft(growth_file, growth_text):
    """I19: the refusal names expected and actual; the draft is there to be corrected."""
    growth_file.write_text(growth_text.replace('"629.90"', '"630.00"'), encoding="utf-8")
    with pytest.raises(CommandError, match=r"says 630.00 USD, the terms make 629.90"):
        call_command("plans_apply", growth_file, schema=ALPHA, publish=True)
    assert _version().status == "DRAFT"


@pytest.mark.parametrize(
    ("options", "detail"),
    [
        ({"schema": "t_nobody"}, "no ready tenant with the schema 't_nobody'"),
        ({"schema": "public"}, "no ready tenant with the schema 'public'"),
    ],
)
def test_an_unknown_tenant_is_said(growth_file, options, detail):
    """Nothing is ever applied to the shared schema by mistake."""
    with pytest.raises(CommandError, match=detail):
        call_command("plans_apply", growth_file, **options)


def test_a_file_that_is_not_there_is_said(db, tmp_path):
    """The sentence names the file."""
    with pytest.raises(CommandError, match=r"missing\.yaml cannot be read"):
        call_command("plans_apply", tmp_path / "missing.yaml", schema=ALPHA)
