"""Whoever chooses what becomes of late usage is told what each way costs, on the page where it is chosen."""

from apps.metering import late_usage
from apps.metering.late_admin import LateUsagePolicyAdmin
from apps.metering.late_models import LatePolicy
from tests.contracts.source import ROOT


def test_each_policy_states_its_price_and_the_default_is_the_next_invoice(tenant):
    """S073: amending closed documents harms revenue recognition and holding delays delivery; neither is the default."""
    assert late_usage.policy_of_tenant().policy == LatePolicy.NEXT_INVOICE
    page = LateUsagePolicyAdmin.purpose
    assert "recognised revenue" in page
    assert "hold" in page.lower()
    howto = (ROOT / "docs" / "how-to" / "late-usage.md").read_text(encoding="utf-8")
    table = howto.partition("| Policy | What happens | What it costs |")[2].partition("\n\n")[0]
    rows = {line.split("|")[1].strip().split("`")[1]: line.split("|")[3].strip() for line in table.splitlines()[2:]}
    assert set(rows) == set(LatePolicy.values)
    assert all(rows.values()), rows
    assert "silent source delays" in rows["hold"]
    assert "Amending the closed document itself is not offered" in howto
