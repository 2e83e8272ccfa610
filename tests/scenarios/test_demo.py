"""The demo is business as it would be: at its end everything that must hold does hold."""

import pytest

from apps.invoices.models import Invoice
from apps.workflows import demo, demo_catalogue, invariants
from tests.conftest import NOW


@pytest.mark.races
def test_a_demo_tenant_s_months_leave_nothing_out_of_place(tenant_of_its_own):
    said: list[str] = []
    demo.demo_fill(demo=demo_catalogue.GLOBEX, at=NOW, say=said.append, months=3)
    assert said[-1] == "Globex Cloud GmbH: month 4 of 4"
    assert Invoice.objects.filter(status="PAID").count() >= 4
    # A buyer in a country without a rate: the draft waits, with its reason.
    assert {issue["code"] for draft in Invoice.objects.filter(status="DRAFT") for issue in draft.issues} <= {
        "tax_not_known"
    }
    assert invariants.invariants_check(at=NOW) == []
