"""Two and more at once: one effect, whoever wins."""

from datetime import UTC, datetime, timedelta

import pytest

from apps.common import ids
from apps.common.actors import OPERATOR, SCHEDULE
from apps.invoices.errors import InvoiceNotDraft
from apps.invoices.models import Invoice, InvoiceStatus, NumberSeries
from apps.ledger.models import LedgerTransaction
from apps.messaging.models import DomainEvent, OutboxMessage
from apps.payments.errors import AttemptInProgress, NothingToCollect
from apps.payments.models import PaymentAttempt, SandboxCharge
from apps.workflows import collection, cycle_close, relay
from tests import races
from tests.builders import customers, plans, subscriptions
from tests.builders.subscriptions import START

pytestmark = pytest.mark.races

FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)


@pytest.fixture
def code(committed_tenant) -> str:
    """A code of this test's own: what is committed in this tenant stays."""
    return f"race-{str(ids.new_id())[-8:]}"


def _subscribed(code: str, count: int, *, fee: str = "10.00", timing: str = "arrears"):
    plans.published_plan(code=code, base_fee=fee, base_fee_timing=timing, charges=[])
    clock = customers.test_clock(now_at=START, name=code)
    people = [customers.customer(external_id=f"{code}-{n}", test_clock=clock) for n in range(count)]
    for person in people:
        subscriptions.subscription(customer=person, plan_code=code)
    return clock, people


def test_many_runs_at_once_bill_each_period_once(committed_tenant, code):
    """S049, S068: several beats and workers share the customers, one effect each."""
    clock, people = _subscribed(code, 12)
    ids_of_people = [person.id for person in people]
    clock.now_at = FEBRUARY
    clock.save()

    def run():
        return cycle_close.billing_run_start(
            trigger="schedule", actor=SCHEDULE, at=FEBRUARY, wall_at=FEBRUARY, customer_ids=ids_of_people
        )

    runs = races.race(committed_tenant, [run] * 4)
    assert sum(run.items.count() for run in runs) == len(people)
    invoices = Invoice.objects.filter(customer_id__in=ids_of_people)
    assert sorted(invoices.values_list("customer_id", flat=True)) == sorted(ids_of_people)


def test_finalising_at_once_numbers_without_gap_or_twin(committed_tenant, code):
    clock, people = _subscribed(code, 10)
    subscriptions.advance(clock, FEBRUARY + timedelta(minutes=1))
    drafts = list(Invoice.objects.filter(customer__in=people, status=InvoiceStatus.DRAFT))
    assert len(drafts) == len(people)

    def finalize(invoice_id):
        return lambda: cycle_close.invoice_refresh_and_finalize(invoice_id=invoice_id, actor=OPERATOR, at=FEBRUARY)

    # Every draft twice: one of each pair has to lose.
    results = races.race(committed_tenant, [finalize(draft.id) for draft in drafts for _ in range(2)])
    assert sum(isinstance(result, Invoice) for result in results) == len(drafts)
    assert sum(isinstance(result, InvoiceNotDraft) for result in results) == len(drafts)
    for series in NumberSeries.objects.all():
        numbers = list(
            Invoice.objects.filter(series=series).order_by("sequence_number").values_list("sequence_number", flat=True)
        )
        assert numbers == list(range(1, series.last_number + 1))
    for draft in drafts:
        assert LedgerTransaction.objects.filter(source_id=draft.id).count() == 1


def test_collecting_at_once_charges_once(committed_tenant, code):
    """S246: one open attempt at a time, whoever asks, and the processor sees one charge."""
    _clock, (person,) = _subscribed(code, 1, timing="advance")
    relay.outbox_relay(wall_at=START)
    invoice = Invoice.objects.get(customer=person)
    assert invoice.status == InvoiceStatus.OPEN
    subscriptions.payment_method(customer=person)

    def collect():
        return collection.invoice_collect(invoice_id=invoice.id, actor=OPERATOR, at=START)

    results = races.race(committed_tenant, [collect] * 8)
    assert sum(isinstance(result, PaymentAttempt) for result in results) == 1
    assert all(isinstance(r, PaymentAttempt | AttemptInProgress | NothingToCollect) for r in results)
    assert SandboxCharge.objects.filter(idempotency_key__startswith=invoice.public_id).count() == 1
    invoice.refresh_from_db()
    assert (invoice.status, invoice.paid_minor) == (InvoiceStatus.PAID, invoice.total_minor)


def test_relays_at_once_handle_each_message_once(committed_tenant, code):
    """S197: workers skip what another holds."""
    _clock, people = _subscribed(code, 8, timing="advance")
    results = races.race(committed_tenant, [lambda: relay.outbox_relay(wall_at=START)] * 4)
    assert all(isinstance(result, int) for result in results)
    assert Invoice.objects.filter(customer__in=people).count() == len(people)
    pending = OutboxMessage.objects.filter(status="PENDING", event__in=DomainEvent.objects.filter(at=START))
    assert pending.count() == 0
