"""The cycle close: claims that fence, drafts that wait, documents that freeze."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, transaction

from apps.audit.models import AuditEntry
from apps.common.actors import OPERATOR, SCHEDULE
from apps.engine.hashing import canonical_hash
from apps.invoices import services as invoice_services
from apps.invoices.errors import InvoiceNotDraft, InvoiceNotReady
from apps.invoices.models import BillingEntity, BillingRun, Invoice, InvoiceLine, InvoiceStatus, NumberSeries
from apps.ledger import selectors as ledger_selectors
from apps.messaging import selectors as messaging_selectors
from apps.subscriptions import selectors as subscription_selectors
from apps.subscriptions import services as subscription_services
from apps.subscriptions.errors import PeriodNotClaimed
from apps.subscriptions.models import BillingPeriod, BillingPeriodStatus
from apps.workflows import cycle_close, explanations, invariants
from tests.builders import customers, metering, plans, subscriptions, taxes
from tests.builders.subscriptions import START

pytestmark = pytest.mark.django_db

FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)
MARCH = datetime(2026, 3, 1, tzinfo=UTC)
GRACE_OVER = FEBRUARY + timedelta(hours=1)

CHARGES = [
    {
        "code": "api_calls",
        "meter": "api_calls",
        "model": "graduated",
        "tiers": [{"up_to": "10", "unit_rate": "1.00"}, {"up_to": None, "unit_rate": "0.50"}],
    }
]


@pytest.fixture
def world(tenant):
    """A customer on a test clock, subscribed since 1 January to a fee in advance and graduated calls."""
    metering.meter(code="api_calls", event_type="api.call")
    plans.published_plan(code="growth", base_fee="99.00", charges=CHARGES)
    clock = customers.test_clock(now_at=START)
    customer = customers.customer(external_id="acme", test_clock=clock)
    subscription = subscriptions.subscription(customer=customer, plan_code="growth")
    return clock, customer, subscription


def _use(n: int, *, day: int = 10, prefix: str = "e", at: datetime | None = None) -> None:
    occurred_at = datetime(2026, 1, day, 12, tzinfo=UTC)
    metering.events(
        customer="acme", event_type="api.call", count=n, occurred_at=occurred_at, prefix=prefix, at=at or occurred_at
    )


def _run(at: datetime) -> BillingRun:
    return cycle_close.billing_run_start(trigger="schedule", actor=SCHEDULE, at=at, wall_at=at)


def _period(subscription, sequence=1) -> BillingPeriod:
    return subscription_selectors.periods_of(subscription_id=subscription.id).get(sequence=sequence)


def test_a_month_is_billed_in_arrears_and_the_next_fee_in_advance(world):
    """S153: the scheduled run reads usage, plan and overage and builds invoices; its outcomes are counted."""
    clock, customer, _subscription = world
    _use(25)
    subscriptions.advance(clock, FEBRUARY + timedelta(days=1))
    start, cycle = subscriptions.invoices_of(customer)
    assert (start.kind, start.total_minor) == ("START", 9_900)
    lines = {line.code: line for line in cycle.lines.all()}
    assert lines["api_calls"].net_minor == 10 * 100 + 15 * 50
    assert lines["api_calls"].quantity == Decimal(25)
    assert (lines["base_fee"].net_minor, lines["base_fee"].service_starts_at) == (9_900, FEBRUARY)
    assert (cycle.status, cycle.total_minor) == (InvoiceStatus.OPEN, 9_900 + 1_750)
    run = BillingRun.objects.get()
    assert [item.outcome for item in run.items.all()] == ["INVOICED"]
    assert run.status == "COMPLETED"


def test_usage_inside_the_grace_joins_the_draft(world):
    clock, customer, _subscription = world
    _use(3)
    subscriptions.advance(clock, FEBRUARY + timedelta(minutes=10))
    draft = subscriptions.invoices_of(customer)[-1]
    assert (draft.status, draft.lines.get(code="api_calls").net_minor) == (InvoiceStatus.DRAFT, 300)
    _use(2, day=31, prefix="late", at=FEBRUARY + timedelta(minutes=20))
    subscriptions.advance(clock, GRACE_OVER)
    draft.refresh_from_db()
    assert (draft.status, draft.lines.get(code="api_calls").net_minor) == (InvoiceStatus.OPEN, 500)


def test_closing_a_second_time_finds_nothing_to_do(world):
    """S154: repeats and retries never make a second invoice for a period."""
    clock, customer, _subscription = world
    subscriptions.advance(clock, FEBRUARY + timedelta(hours=2))
    count = Invoice.objects.count()
    for _ in range(3):
        assert _run(FEBRUARY + timedelta(hours=3)).items.count() == 0
    assert Invoice.objects.count() == count


def test_the_database_refuses_a_second_live_invoice_for_a_period(world):
    """S154: unique (period, kind) among live invoices, below every service."""
    clock, customer, _subscription = world
    subscriptions.advance(clock, FEBRUARY + timedelta(minutes=1))
    draft = subscriptions.invoices_of(customer)[-1]
    copy = Invoice(
        **{
            field.attname: getattr(draft, field.attname)
            for field in Invoice._meta.concrete_fields
            if field.name not in ("id", "created_at", "status")
        }
    )
    with pytest.raises(IntegrityError, match="invoice_one_live_per_period"), transaction.atomic():
        copy.save()


def test_a_worker_thought_dead_cannot_close_what_another_took_over(world):
    _clock, _customer, subscription = world
    claimed = subscription_services.periods_claim(limit=10, actor=SCHEDULE, at=START, wall_at=START)
    assert claimed == []
    clock = subscription.customer.test_clock
    clock.now_at = FEBRUARY
    clock.save()
    (first,) = subscription_services.periods_claim(limit=10, actor=SCHEDULE, at=START, wall_at=START)
    after_lease = START + subscription_services.CLAIM_LEASE + timedelta(seconds=1)
    assert subscription_services.periods_claim(limit=10, actor=SCHEDULE, at=START, wall_at=START) == []
    (second,) = subscription_services.periods_claim(limit=10, actor=SCHEDULE, at=START, wall_at=after_lease)
    assert first.id == second.id
    assert first.claim_token != second.claim_token
    with pytest.raises(PeriodNotClaimed):
        cycle_close.period_close(
            run_id=None, period_id=first.id, claim_token=first.claim_token, actor=SCHEDULE, at=FEBRUARY
        )
    assert Invoice.objects.filter(kind="CYCLE").count() == 0
    cycle_close.period_close(
        run_id=None, period_id=second.id, claim_token=second.claim_token, actor=SCHEDULE, at=FEBRUARY
    )
    assert Invoice.objects.filter(kind="CYCLE").count() == 1


def test_a_poisoned_account_is_parked_with_its_reason_and_the_run_goes_on(world, monkeypatch):
    clock, customer, subscription = world
    healthy = customers.customer(external_id="healthy", test_clock=clock)
    subscriptions.subscription(customer=healthy, plan_code="growth")
    real = cycle_close.drafting.draft_build

    def poisoned(*, subscription, **rest):
        if subscription.customer_id == customer.id:
            raise ValueError("this customer's data makes no sense")
        return real(subscription=subscription, **rest)

    monkeypatch.setattr(cycle_close.drafting, "draft_build", poisoned)
    subscriptions.advance(clock, FEBRUARY + timedelta(minutes=1))
    period = _period(subscription)
    assert period.status == BillingPeriodStatus.CLOSING
    assert "makes no sense" in period.park_reason
    outcomes = {
        item.billing_period.subscription.customer.external_id: item.outcome
        for run in BillingRun.objects.all()
        for item in run.items.all()
    }
    assert outcomes == {"acme": "PARKED", "healthy": "INVOICED"}
    monkeypatch.setattr(cycle_close.drafting, "draft_build", real)
    subscription_services.period_unpark(period_id=period.id, actor=OPERATOR, at=FEBRUARY)
    _run(FEBRUARY + timedelta(minutes=2))
    assert _period(subscription).status == BillingPeriodStatus.CLOSED


def test_periods_tile_from_the_anchor_and_the_database_refuses_a_gap(tenant):
    """S065: windows come from the customer's anchor and zone; 31 January, 28 February, 31 March."""
    metering.meter(code="api_calls", event_type="api.call")
    plans.published_plan(code="growth", base_fee="99.00", charges=CHARGES)
    starts_at = datetime(2026, 1, 31, 9, tzinfo=UTC)
    clock = customers.test_clock(now_at=starts_at)
    customer = customers.customer(external_id="acme", test_clock=clock)
    subscription = subscriptions.subscription(customer=customer, plan_code="growth", starts_at=starts_at)
    subscriptions.advance(clock, datetime(2026, 4, 2, tzinfo=UTC))
    periods = list(subscription_selectors.periods_of(subscription_id=subscription.id))
    assert [(p.starts_at.day, p.ends_at.day) for p in periods] == [(31, 28), (28, 31), (31, 30)]
    assert all(a.ends_at == b.starts_at for a, b in zip(periods, periods[1:], strict=False))
    with pytest.raises(IntegrityError, match="billing_period_continues"), transaction.atomic():
        BillingPeriod.objects.create(
            subscription=subscription,
            sequence=9,
            starts_at=periods[-1].ends_at + timedelta(days=1),
            ends_at=periods[-1].ends_at + timedelta(days=2),
            full_starts_at=periods[-1].ends_at,
            full_ends_at=periods[-1].ends_at + timedelta(days=2),
            plan_version=subscription.plan_version,
            timezone="UTC",
        )


def test_numbers_are_given_at_finality_and_leave_no_gap(world):
    clock, customer, _subscription = world
    subscriptions.advance(clock, FEBRUARY + timedelta(minutes=1))
    draft = subscriptions.invoices_of(customer)[-1]
    assert draft.number is None
    invoice_services.invoice_discard(invoice_id=draft.id, actor=OPERATOR, at=FEBRUARY, reason=("duplicate", ""))
    subscriptions.advance(clock, MARCH + timedelta(hours=2))
    numbers = list(Invoice.objects.exclude(number=None).order_by("sequence_number").values_list("number", flat=True))
    assert numbers == [f"ALPHA-2026-{n:06d}" for n in range(1, len(numbers) + 1)]
    assert NumberSeries.objects.get().last_number == len(numbers)


def test_a_rollback_gives_the_number_back(world):
    clock, customer, _subscription = world
    subscriptions.advance(clock, FEBRUARY + timedelta(minutes=1))
    draft = subscriptions.invoices_of(customer)[-1]
    before = NumberSeries.objects.get().last_number
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        invoice_services.invoice_finalize(invoice_id=draft.id, actor=OPERATOR, at=FEBRUARY)
        raise ZeroDivisionError
    assert NumberSeries.objects.get().last_number == before


def test_an_issued_invoice_is_frozen_against_direct_sql(world):
    clock, customer, _subscription = world
    subscriptions.advance(clock, FEBRUARY + timedelta(hours=2))
    invoice = subscriptions.invoices_of(customer)[-1]
    connection.check_constraints()  # foreign keys still pending would stop TRUNCATE before the rule does
    attempts = [
        "UPDATE invoices_invoice SET total_minor = 0, subtotal_minor = 0, tax_minor = 0",
        "UPDATE invoices_invoice SET snapshot = '{}'",
        "DELETE FROM invoices_invoice",
        "UPDATE invoices_invoiceline SET net_minor = 0",
        "DELETE FROM invoices_invoiceline",
        "TRUNCATE invoices_invoiceline",
    ]
    for sql in attempts:
        with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(sql)
    with pytest.raises(IntegrityError, match="issued"), transaction.atomic():
        line = invoice.lines.first()
        line.pk, line.position = None, 99
        line.id = type(line)._meta.pk.get_default()
        line.save(force_insert=True)


def test_a_draft_whose_parts_disagree_cannot_become_final_even_by_sql(world):
    clock, customer, _subscription = world
    subscriptions.advance(clock, FEBRUARY + timedelta(minutes=1))
    draft = subscriptions.invoices_of(customer)[-1]
    InvoiceLine.objects.filter(invoice=draft).update(net_minor=1)
    with pytest.raises(IntegrityError, match="disagree"), transaction.atomic():
        invoice_services.invoice_finalize(invoice_id=draft.id, actor=OPERATOR, at=FEBRUARY)


def test_the_snapshot_is_taken_at_finality_with_its_hash(world):
    """S146: a snapshot at the invoice boundary, with a hash; a later change of address does not reach it."""
    clock, customer, _subscription = world
    subscriptions.advance(clock, FEBRUARY + timedelta(hours=2))
    invoice = subscriptions.invoices_of(customer)[-1]
    assert canonical_hash(invoice.snapshot) == invoice.snapshot_hash
    customers.update(customer, name="Acme Renamed")
    invoice.refresh_from_db()
    assert invoice.snapshot["buyer"]["name"] != "Acme Renamed"
    assert invoice.snapshot["totals"]["total"] == "99.00"


def test_status_is_derived_by_replaying_the_journal(world):
    """S142: state derived by replay: the events of an invoice lead to the status stored on it."""
    clock, customer, _subscription = world
    subscriptions.payment_method(customer=customer)
    subscriptions.advance(clock, FEBRUARY + timedelta(hours=2))
    for invoice in subscriptions.invoices_of(customer):
        events = messaging_selectors.events_of(aggregate_type=Invoice.entity_type(), aggregate_id=invoice.id)
        replayed = None
        for event in events:
            replayed = event.payload["status"]
        assert replayed == invoice.status == InvoiceStatus.PAID
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        assert AuditEntry.objects.filter(entity_id=invoice.id, action="pay").exists()


def test_unknown_tax_stops_the_document_and_a_rate_releases_it(world):
    clock, customer, _subscription = world
    BillingEntity.objects.update(tax_regime="STATIC", country="DE")
    customers.update(customer, country="DE")
    subscriptions.advance(clock, FEBRUARY + timedelta(hours=2))
    draft = subscriptions.invoices_of(customer)[-1]
    assert draft.status == InvoiceStatus.DRAFT
    assert {issue["code"] for issue in draft.issues} == {"tax_not_known"}
    with pytest.raises(InvoiceNotReady) as caught:
        cycle_close.invoice_refresh_and_finalize(invoice_id=draft.id, actor=OPERATOR, at=FEBRUARY)
    assert {problem.code for problem in caught.value.problems} == {"tax_not_known"}
    taxes.tax_rate(country="DE", rate_percent="19", name="VAT")
    invoice = cycle_close.invoice_refresh_and_finalize(invoice_id=draft.id, actor=OPERATOR, at=FEBRUARY)
    assert (invoice.subtotal_minor, invoice.tax_minor, invoice.total_minor) == (9_900, 1_881, 11_781)
    assert ledger_selectors.account_balance_minor(code="2200", currency="USD") == -1_881
    with pytest.raises(InvoiceNotDraft):
        invoice_services.invoice_finalize(invoice_id=draft.id, actor=OPERATOR, at=FEBRUARY)


def test_the_preview_is_the_invoice_and_leaves_nothing(world):
    clock, customer, subscription = world
    _use(12)
    counts = (Invoice.objects.count(), AuditEntry.objects.count(), BillingPeriod.objects.count())
    clock.refresh_from_db()
    preview = cycle_close.invoice_preview(subscription=subscription, actor=OPERATOR, at=clock.now_at)
    assert (Invoice.objects.count(), AuditEntry.objects.count(), BillingPeriod.objects.count()) == counts
    subscriptions.advance(clock, FEBRUARY + timedelta(hours=2))
    invoice = subscriptions.invoices_of(customer)[-1]
    assert preview["totals"] == invoice.snapshot["totals"]
    strip = ("id",)
    assert [{k: v for k, v in line.items() if k not in strip} for line in preview["lines"]] == [
        {k: v for k, v in line.items() if k not in strip} for line in invoice.snapshot["lines"]
    ]


def test_every_line_explains_itself_and_recomputes_equal(world):
    """S144: explain any invoice line by replaying its events."""
    clock, customer, _subscription = world
    _use(25)
    subscriptions.advance(clock, FEBRUARY + timedelta(hours=2))
    invoice = subscriptions.invoices_of(customer)[-1]
    for line in invoice.lines.all():
        explained = explanations.line_explain(line=line)
        assert explained.is_equal
        assert explained.explanation.recomputed_output_hash == line.output_hash
    usage = explanations.line_explain(line=invoice.lines.get(code="api_calls"))
    assert (usage.event_count_stored, usage.event_count_now, len(usage.sample)) == (25, 25, 20)


def test_a_tampered_line_is_shown_as_unequal(world):
    clock, customer, _subscription = world
    _use(25)
    subscriptions.advance(clock, FEBRUARY + timedelta(hours=2))
    line = subscriptions.invoices_of(customer)[-1].lines.get(code="api_calls")
    line.decision["output_hash"] = "0" * 64
    assert not explanations.line_explain(line=line).is_equal


def test_after_a_quarter_every_invariant_holds(world):
    """S106: recomputing gives the same outcome; nothing is left over after three months of billing."""
    clock, customer, _subscription = world
    subscriptions.payment_method(customer=customer)
    _use(40)
    subscriptions.advance(clock, datetime(2026, 4, 2, tzinfo=UTC))
    assert len(subscriptions.invoices_of(customer)) == 4
    assert invariants.invariants_check(at=clock.now_at) == []
