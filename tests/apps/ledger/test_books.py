"""Double entry, held by the database."""

import pytest
from django.db import IntegrityError, connection, transaction

from apps.common import ids
from apps.engine import postings
from apps.ledger import selectors, services
from apps.ledger.errors import AlreadyBooked
from apps.ledger.models import LedgerAccount, LedgerTransaction, Posting

pytestmark = pytest.mark.django_db


def _book(at, *, source_id=None, customer_id=None, net=1_000, tax=190, currency="USD"):
    return services.transaction_post(
        template=postings.PostingTemplate.INVOICE_ISSUED,
        source_type="invoices.invoice",
        source_id=source_id or ids.new_id(),
        customer_id=customer_id or ids.new_id(),
        facts=postings.InvoiceIssued(currency=currency, usage_minor=net, tax_minor=tax),
        booked_at=at,
    )


def test_an_issued_invoice_is_booked_on_both_sides(tenant, at):
    """S132: double entry from usage to invoice; debits equal credits."""
    booked = _book(at)
    sides = dict(booked.postings.values_list("account__code", "amount_minor"))
    assert sides == {"1100": 1_190, "4010": -1_000, "2200": -190}
    rows = {row.code: row for row in selectors.trial_balance() if row.currency == "USD"}
    assert rows["1100"].balance_minor == 1_190
    assert selectors.trial_balance_totals(rows=selectors.trial_balance()) == {"USD": 0}


def test_the_same_fact_is_booked_once(tenant, at):
    """S135: exactly-once ledger updates."""
    source_id = ids.new_id()
    _book(at, source_id=source_id)
    with pytest.raises(AlreadyBooked):
        _book(at, source_id=source_id)
    assert LedgerTransaction.objects.filter(source_id=source_id).count() == 1


def test_a_customer_s_entries_count_without_a_gap(tenant, at):
    """S134: unique (customer, sequence), allocated under a lock."""
    customer_id = ids.new_id()
    booked = [_book(at, customer_id=customer_id) for _ in range(3)]
    assert [entry.customer_sequence for entry in booked] == [1, 2, 3]
    with pytest.raises(IntegrityError, match="ledger_transaction_customer_sequence"), transaction.atomic():
        LedgerTransaction.objects.create(
            template="x",
            source_type="x",
            source_id=ids.new_id(),
            customer_id=customer_id,
            customer_sequence=2,
            booked_at=at,
        )


def test_zero_is_not_booked(tenant, at):
    assert _book(at, net=0, tax=0) is None


def test_a_new_currency_opens_its_accounts(tenant, at):
    _book(at, currency="JPY")
    assert LedgerAccount.objects.filter(currency="JPY").count() == len(postings.CHART)


def test_unbalanced_postings_are_refused_by_the_database(tenant, at):
    booked = LedgerTransaction.objects.create(template="t", source_type="x", source_id=ids.new_id(), booked_at=at)
    account = LedgerAccount.objects.get(code="1100", currency="USD")
    with pytest.raises(IntegrityError, match="do not sum to zero"), transaction.atomic():
        Posting.objects.create(ledger_transaction=booked, account=account, amount_minor=5, currency="USD")


def test_a_posting_in_a_foreign_currency_is_refused(tenant, at):
    booked = LedgerTransaction.objects.create(template="t", source_type="x", source_id=ids.new_id(), booked_at=at)
    account = LedgerAccount.objects.get(code="1100", currency="USD")
    with pytest.raises(IntegrityError, match="another currency than its account"), transaction.atomic():
        Posting.objects.bulk_create(
            Posting(ledger_transaction=booked, account=account, amount_minor=amount, currency="EUR")
            for amount in (5, -5)
        )


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE ledger_posting SET amount_minor = amount_minor * 2",
        "DELETE FROM ledger_posting",
        "UPDATE ledger_ledgertransaction SET memo = 'x'",
        "TRUNCATE ledger_posting",
    ],
)
def test_the_books_only_grow(tenant, at, sql):
    _book(at)
    connection.check_constraints()  # foreign keys still pending would stop TRUNCATE before the rule does
    with pytest.raises(IntegrityError, match="only grows|never emptied"), transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(sql)


def test_the_trial_balance_as_of_a_moment_leaves_out_what_came_later(tenant, at):
    from datetime import timedelta

    _book(at)
    later = at + timedelta(days=1)
    _book(later)
    rows = {row.code: row for row in selectors.trial_balance(as_of=at) if row.currency == "USD"}
    assert rows["1100"].debit_minor == 1_190
