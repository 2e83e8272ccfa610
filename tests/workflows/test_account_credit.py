"""A document below zero keeps its kind; what it leaves is credit, and the next document uses it."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, transaction

from apps.common.actors import OPERATOR
from apps.engine import postings
from apps.invoices.documents import pdf
from apps.invoices.models import Invoice, InvoiceStatus
from apps.ledger import selectors as ledger_selectors
from apps.subscriptions import changes
from apps.subscriptions.inputs import TermsChange, When
from apps.workflows import invariants
from tests.builders import customers, plans, subscriptions

pytestmark = pytest.mark.django_db

APRIL = datetime(2026, 4, 1, tzinfo=UTC)
MID_APRIL = datetime(2026, 4, 16, tzinfo=UTC)
MAY = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture
def world(tenant):
    """A customer that moved from 90.00 to 30.00 in advance in the middle of April."""
    plans.published_plan(code="small", base_fee="30.00", charges=[])
    plans.published_plan(code="big", base_fee="90.00", charges=[])
    clock = customers.test_clock(now_at=APRIL)
    customer = customers.customer(external_id="acme", test_clock=clock)
    subscription = subscriptions.subscription(customer=customer, plan_code="big", starts_at=APRIL)
    subscriptions.advance(clock, MID_APRIL)
    changes.subscription_change(
        subscription_id=subscription.id,
        wanted=TermsChange(plan_code="small"),
        when=When(),
        actor=OPERATOR,
        at=MID_APRIL,
    )
    return clock, customer, subscription


def _credit_minor(customer) -> int:
    return -ledger_selectors.account_balance_minor(
        code=postings.CUSTOMER_CREDIT, currency="USD", customer_id=customer.id
    )


def test_what_a_downgrade_gives_back_pays_the_next_invoice(world):
    """Half of 90.00 back and half of 30.00 due is 30.00 to the good: May's fee is settled by it."""
    clock, customer, _subscription = world
    subscriptions.advance(clock, MID_APRIL + timedelta(days=2))
    downgraded = subscriptions.invoices_of(customer)[1]
    assert (downgraded.total_minor, downgraded.credit_minor, downgraded.due_minor) == (-30_00, -30_00, 0)
    assert (downgraded.status, downgraded.kind) == (InvoiceStatus.PAID, "CYCLE")
    assert _credit_minor(customer) == 30_00
    assert not invariants.invariants_check(at=clock.now_at)
    subscriptions.advance(clock, MAY + timedelta(days=2))
    may = subscriptions.invoices_of(customer)[2]
    assert (may.total_minor, may.credit_minor, may.due_minor) == (30_00, 30_00, 0)
    assert may.status == InvoiceStatus.PAID
    assert may.snapshot["totals"] | {"credit": "30.00", "due": "0.00"} == may.snapshot["totals"]
    printed = pdf.printed(snapshot=may.snapshot, mark="")
    assert (printed["credit"], printed["due"]) == ([{"label": "Account credit used", "amount": "-$30.00"}], "$0.00")
    given = pdf.printed(snapshot=downgraded.snapshot, mark="")
    assert (given["credit"], given["due"]) == ([{"label": "Added to your account", "amount": "$30.00"}], "$0.00")
    assert _credit_minor(customer) == 0
    assert not invariants.invariants_check(at=clock.now_at)
    assert ledger_selectors.trial_balance_totals(rows=ledger_selectors.trial_balance()) == {"USD": 0}


def test_a_draft_uses_no_credit_and_the_database_holds_what_a_document_may_use(world):
    clock, customer, _subscription = world
    subscriptions.advance(clock, MID_APRIL + timedelta(minutes=1))
    draft = subscriptions.invoices_of(customer)[1]
    assert (draft.status, draft.credit_minor) == (InvoiceStatus.DRAFT, 0)
    with pytest.raises(IntegrityError, match="invoice_credit_within_total"), transaction.atomic():
        Invoice.objects.filter(id=draft.id).update(credit_minor=1)
