"""The demo is business as it would be: at its end everything that must hold does hold."""

from dataclasses import replace

import pytest

from apps.entitlements.models import AccessDecision, UsageCap
from apps.invoices.models import Adjustment, Invoice, InvoiceDiscount, InvoiceLine
from apps.metering.correction_documents import UsageCorrection
from apps.metering.limit_models import UsageLimit
from apps.metering.models import (
    LateUsage,
    QuarantinedEvent,
    UnmatchedUsage,
    UsageAlert,
    UsageProof,
    UsageSource,
)
from apps.subscriptions.models import BillingPeriod, SubscriptionChange
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
    _shows_metering()
    assert invariants.invariants_check(at=NOW) == []


def _shows_metering() -> None:
    """Require that every page about usage has something to show."""
    assert set(UsageLimit.objects.values_list("origin", flat=True)) == {"plan", "customer"}
    assert set(UsageCap.objects.values_list("kind", flat=True)) == {"alert", "hard"}
    assert AccessDecision.objects.filter(is_allowed=False).exists()
    reasons = set(QuarantinedEvent.objects.values_list("code", flat=True))
    assert len(reasons) >= 4, reasons
    assert LateUsage.objects.exists()
    assert Adjustment.objects.exists()
    assert UsageCorrection.objects.filter(status="PENDING_APPROVAL").exists()
    assert UsageAlert.objects.filter(kind="loss").exists()
    assert UsageSource.objects.count() == 2
    assert UsageProof.objects.filter(difference_count=0).exists()
    assert UnmatchedUsage.objects.exists()


@pytest.mark.races
def test_the_demo_shows_what_subscriptions_can_do(tenant_of_its_own):
    """A trial, a coupon for some periods, a price of one's own, a downgrade, a pause and an upgrade within months."""
    acme = demo_catalogue.ACME
    shown = {"contoso", "northwind", "litware", "wingtip", "fabrikam", "relecloud", "woodgrove"}
    people = tuple(
        replace(
            person,
            joins_month=0,
            events_a_day=1,
            changes=tuple(replace(change, month=1) for change in person.changes),
        )
        for person in acme.customers
        if person.external_id in shown
    )
    demo.demo_fill(demo=replace(acme, customers=people), at=NOW, say=lambda words: None, months=3)
    assert set(SubscriptionChange.objects.filter(applied_at__isnull=False).values_list("kind", flat=True)) == {
        "plan",
        "pause",
        "resume",
    }
    kinds = set(BillingPeriod.objects.values_list("kind", flat=True))
    assert {"REGULAR", "TRIAL", "FROZEN"} <= kinds
    codes = set(InvoiceLine.objects.values_list("code", flat=True))
    assert {"payments", "reports", "requests", "traffic"} <= codes
    assert codes & {"minimum_commitment", "commitment_discount", "commitment_overage"}
    assert InvoiceLine.objects.filter(kind="credit").exists()
    assert InvoiceDiscount.objects.filter(code="WELCOME20").count() == 3
    assert Invoice.objects.filter(kind="USAGE").exists()
    assert invariants.invariants_check(at=NOW) == []
