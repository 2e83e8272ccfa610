"""Books, news and documents commit together or not at all."""

import pytest
from django.db import transaction

from apps.common.actors import OPERATOR
from apps.invoices import services as invoice_services
from apps.invoices.models import Invoice, InvoiceStatus
from apps.ledger import services as ledger_services
from apps.ledger.models import LedgerTransaction
from apps.messaging.models import DomainEvent, OutboxMessage
from apps.workflows import cycle_close
from tests.builders import customers, plans, subscriptions
from tests.builders.subscriptions import START

pytestmark = pytest.mark.django_db


class Crash(BaseException):
    """A process that dies: no `except Exception` may keep it alive."""


@pytest.fixture
def draft(tenant) -> Invoice:
    """A draft over 10.00."""
    plans.published_plan(code="flat", base_fee="10.00", charges=[])
    customer = customers.customer(external_id="acme")
    subscription = subscriptions.subscription(customer=customer, plan_code="flat")
    entity = cycle_close.invoice_selectors.billing_entity_default()
    period = subscription.periods.get()
    built = cycle_close.drafting.draft_build(
        subscription=subscription, period=period, following=None, kind="START", entity=entity, at=START
    )
    context = cycle_close._context(subscription, period, "START", entity, finalize_after_at=START)
    return invoice_services.invoice_draft_store(context=context, draft=built, actor=OPERATOR, at=START)


def _counts() -> tuple[int, ...]:
    return LedgerTransaction.objects.count(), DomainEvent.objects.count(), OutboxMessage.objects.count()


@pytest.mark.parametrize("station", ["before the books", "after the books"])
def test_a_crash_leaves_neither_books_nor_news_nor_number(draft, monkeypatch, station):
    """S133: ledger entry and outbox row in the same transaction; a crash leaves neither."""
    before, real = _counts(), ledger_services.transaction_post

    def dying(**arguments):
        if station == "after the books":
            real(**arguments)
        raise Crash

    monkeypatch.setattr(ledger_services, "transaction_post", dying)
    with pytest.raises(Crash), transaction.atomic():
        invoice_services.invoice_finalize(invoice_id=draft.id, actor=OPERATOR, at=START)
    draft.refresh_from_db()
    assert (draft.status, draft.number, _counts()) == (InvoiceStatus.DRAFT, None, before)


def test_without_a_crash_all_of_it_is_there(draft):
    """S133: ... or both."""
    ledger, events, messages = _counts()
    invoice_services.invoice_finalize(invoice_id=draft.id, actor=OPERATOR, at=START)
    assert _counts() == (ledger + 1, events + 1, messages + 2)
