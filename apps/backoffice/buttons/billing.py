"""Buttons of invoices, payments, periods, runs and clocks. At each customer's own time."""

from datetime import datetime

from apps.backoffice.buttons.base import Button, Outcome, Press
from apps.backoffice.buttons.forms import ClockForm, ReasonForm
from apps.common import formatting
from apps.customers import selectors as customer_selectors
from apps.customers.models import Customer, TestClock
from apps.invoices import selectors as invoice_selectors
from apps.invoices import services as invoice_services
from apps.invoices.models import BillingRun, Invoice, InvoiceKind
from apps.payments.models import PaymentAttempt
from apps.subscriptions import services as subscription_services
from apps.subscriptions.models import BillingPeriod
from apps.workflows import clocks, collection, cycle_close

_PAYMENT_WORDS = {
    "SUCCEEDED": "The money was taken.",
    "FAILED": "Nothing was taken",
    "UNKNOWN": "No answer was heard. It will be looked up; it is not charged again.",
    "SUBMITTED": "The processor is still working on it. It will be looked up.",
}


def _time_of(customer: Customer, press: Press) -> datetime:
    return customer_selectors.customer_now(customer=customer, at=press.wall_at)


def _finalize(press: Press) -> Outcome:
    invoice = cycle_close.invoice_refresh_and_finalize(
        invoice_id=press.record.id, actor=press.actor, at=_time_of(press.record.customer, press)
    )
    return Outcome(message=f"Invoice {invoice.number} is final.", record=invoice)


def _refresh(press: Press) -> Outcome:
    hash_before = press.record.draft_hash
    invoice = cycle_close.invoice_refresh(invoice_id=press.record.id, at=_time_of(press.record.customer, press))
    changed = "The draft was built again and changed." if invoice.draft_hash != hash_before else "Nothing has changed."
    return Outcome(message=changed, record=invoice)


def _discard(press: Press) -> Outcome:
    invoice = invoice_services.invoice_discard(
        invoice_id=press.record.id,
        actor=press.actor,
        at=_time_of(press.record.customer, press),
        reason=("discarded_by_staff", press.data["comment"]),
    )
    return Outcome(message="The draft was discarded.", record=invoice)


def _draft_again(press: Press) -> Outcome:
    invoice = cycle_close.period_draft_again(
        period_id=press.record.billing_period_id, actor=press.actor, at=press.wall_at
    )
    if invoice is None:
        return Outcome(message="The plan charges nothing for this period.", record=press.record)
    return Outcome(message="The period has a draft again.", record=invoice)


def _is_missed(invoice: Invoice) -> bool:
    """Return whether a discarded draft left its period without a document."""
    if invoice.status != "DISCARDED" or invoice.kind != InvoiceKind.CYCLE or invoice.billing_period_id is None:
        return False
    return invoice_selectors.invoice_live_of(period_id=invoice.billing_period_id, kind=InvoiceKind.CYCLE) is None


def _collect(press: Press) -> Outcome:
    attempt = collection.invoice_collect(
        invoice_id=press.record.id, actor=press.actor, at=_time_of(press.record.customer, press)
    )
    return Outcome(message=_payment_sentence(attempt), record=press.record)


def _look_up(press: Press) -> Outcome:
    attempt = collection.payment_resolve(
        attempt_id=press.record.id, actor=press.actor, at=_time_of(press.record.invoice.customer, press)
    )
    return Outcome(message=_payment_sentence(attempt), record=attempt)


def _payment_sentence(attempt: PaymentAttempt) -> str:
    words = _PAYMENT_WORDS.get(str(attempt.status), str(attempt.status))
    return f"{words}: {attempt.failure_code}." if attempt.failure_code else words


def _unpark(press: Press) -> Outcome:
    period = subscription_services.period_unpark(
        period_id=press.record.id,
        actor=press.actor,
        at=press.wall_at,
    )
    return Outcome(message="The next billing run tries this period again.", record=period)


def _run_start(press: Press) -> Outcome:
    run = cycle_close.billing_run_start(trigger="staff", actor=press.actor, at=press.wall_at, wall_at=press.wall_at)
    count = run.items.count()
    return Outcome(message=f"The run closed {count} period{'' if count == 1 else 's'}.", record=run)


def _advance(press: Press) -> Outcome:
    clock = clocks.test_clock_advance(
        clock_id=press.record.id, to=press.data["to"], actor=press.actor, wall_at=press.wall_at
    )
    return Outcome(message=f"The clock stands at {formatting.instant_text(clock.now_at)}.", record=clock)


def _invoice_of(invoice: Invoice) -> str:
    return f"{'Invoice ' + invoice.number if invoice.number else 'Draft invoice'} of {invoice.customer}"


def _total(invoice: Invoice) -> str:
    return formatting.money_text(invoice.total_minor, invoice.currency)


def _owed(invoice: Invoice) -> str:
    return formatting.money_text(invoice.due_minor, invoice.currency)


def _is_draft(invoice: Invoice) -> bool:
    return bool(invoice.status == "DRAFT")


BUTTONS = (
    Button(
        name="invoice-finalize",
        title="Finalise",
        effect="Late usage is taken in, then the draft gets the next number, is booked and can never change again. "
        "The customer is told; where a payment method is on file it is charged.",
        permission="invoices.finalize",
        model=Invoice,
        subject=_invoice_of,
        run=_finalize,
        is_offered=_is_draft,
        amount=_total,
    ),
    Button(
        name="invoice-refresh",
        title="Refresh",
        effect="The draft is built again from the usage and terms of now. The same facts change nothing.",
        permission="invoices.run",
        model=Invoice,
        subject=_invoice_of,
        run=_refresh,
        is_offered=_is_draft,
        amount=_total,
    ),
    Button(
        name="invoice-discard",
        title="Discard",
        effect="The draft is dropped and its period stays unbilled until it is drafted again. It never had a number, "
        "so it leaves no gap.",
        permission="invoices.finalize",
        model=Invoice,
        subject=_invoice_of,
        run=_discard,
        is_offered=_is_draft,
        form_class=ReasonForm,
        amount=_total,
        is_grave=True,
    ),
    Button(
        name="invoice-draft-again",
        title="Draft again",
        effect="The period whose draft was discarded gets a new one, from the usage and terms of now.",
        permission="invoices.run",
        model=Invoice,
        subject=_invoice_of,
        run=_draft_again,
        is_offered=_is_missed,
    ),
    Button(
        name="invoice-collect",
        title="Collect",
        effect="The customer's default payment method is charged with all that the invoice owes.",
        permission="payments.collect",
        model=Invoice,
        subject=_invoice_of,
        run=_collect,
        is_offered=lambda invoice: invoice.due_minor > 0,
        amount=_owed,
    ),
    Button(
        name="payment-look-up",
        title="Look up",
        effect="The processor is asked what became of this payment. Nothing is charged.",
        permission="payments.collect",
        model=PaymentAttempt,
        subject=lambda attempt: (
            f"Payment {attempt.sequence} for invoice {attempt.invoice} of {attempt.invoice.customer}"
        ),
        run=_look_up,
        is_offered=lambda attempt: attempt.status in ("UNKNOWN", "SUBMITTED"),
        amount=lambda attempt: formatting.money_text(attempt.amount_minor, attempt.currency),
    ),
    Button(
        name="period-unpark",
        title="Unpark",
        effect="The next billing run tries again to close this period. Repair the cause first.",
        permission="invoices.run",
        model=BillingPeriod,
        run=_unpark,
        is_offered=lambda period: period.parked_at is not None and period.status != "CLOSED",
    ),
    Button(
        name="billing-run-start",
        title="Start a billing run",
        effect="Every period that is due is closed and its invoice drafted, each for itself. What is not due is left.",
        permission="invoices.run",
        model=BillingRun,
        run=_run_start,
        is_on_list=True,
    ),
    Button(
        name="clock-advance",
        title="Advance",
        effect="Everything that falls due for the clock's customers on the way happens, in order: periods close, "
        "invoices become final, payments are taken from sandbox methods.",
        permission="clock.advance",
        model=TestClock,
        run=_advance,
        form_class=ClockForm,
    ),
)
