"""The books: double entry, append-only, balanced by the database."""

import pgtrigger
from django.db import models
from django.db.models import Q

from apps.common.fields import CurrencyField, MinorUnitsField
from apps.common.models import Entity
from apps.common.triggers import append_only, undeletable

# Runs once per INSERT statement over the rows it brought (a per-row deferred trigger costs twice as much), so all
# postings of a transaction are written in one statement. It also refuses a posting whose currency is not its
# account's, which a plain check cannot see.
_BALANCED = """
    IF EXISTS (
        SELECT 1 FROM fresh GROUP BY ledger_transaction_id, currency HAVING sum(amount_minor) <> 0
    ) THEN
        RAISE EXCEPTION 'The postings of a ledger transaction do not sum to zero'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'posting_balanced';
    END IF;
    IF EXISTS (
        SELECT 1 FROM fresh JOIN ledger_ledgeraccount a ON a.id = fresh.account_id WHERE a.currency <> fresh.currency
    ) THEN
        RAISE EXCEPTION 'A posting is in another currency than its account'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'posting_currency_of_account';
    END IF;
    RETURN NULL;
"""


class AccountKind(models.TextChoices):
    """Which side of the books an account stands on."""

    ASSET = "asset", "Asset: what we own or are owed; grows by debit"
    LIABILITY = "liability", "Liability: what we owe; grows by credit"
    INCOME = "income", "Income: what we earned; grows by credit"
    EXPENSE = "expense", "Expense: what it cost; grows by debit"


class LedgerAccount(Entity):
    """An account of the chart, in one currency."""

    id_prefix = "acc"

    code = models.CharField(max_length=10)
    currency = CurrencyField()
    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=10, choices=AccountKind)

    class Meta:
        ordering = ["code", "currency"]
        constraints = [
            models.UniqueConstraint(fields=["code", "currency"], name="ledger_account_once"),
            models.CheckConstraint(name="ledger_account_kind_known", condition=Q(kind__in=AccountKind.values)),
        ]
        triggers = undeletable(name="ledger_account_kept")

    def __str__(self) -> str:
        return f"{self.code} {self.name} {self.currency}"


class LedgerTransaction(Entity):
    """A balanced group of postings for one business fact, booked once."""

    id_prefix = "ltx"

    template = models.CharField(max_length=40)
    source_type = models.CharField(max_length=60)
    source_id = models.UUIDField()
    customer_id = models.UUIDField(null=True)
    # Counts a customer's entries without a gap, so that a reader notices a missing one.
    customer_sequence = models.BigIntegerField(null=True)
    booked_at = models.DateTimeField()
    memo = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["source_type", "source_id", "template"], name="ledger_transaction_once"),
            models.UniqueConstraint(
                fields=["customer_id", "customer_sequence"], name="ledger_transaction_customer_sequence"
            ),
            models.CheckConstraint(
                name="ledger_transaction_sequence_with_customer",
                condition=Q(customer_id__isnull=True, customer_sequence__isnull=True)
                | Q(customer_id__isnull=False, customer_sequence__gte=1),
            ),
        ]
        indexes = [models.Index(fields=["booked_at"], name="ledger_transaction_booked")]
        triggers = append_only(name="ledger_transaction_append_only")

    def __str__(self) -> str:
        return f"{self.template} {self.source_type}"


class Posting(Entity):
    """One side of a ledger transaction: debit positive, credit negative."""

    id_prefix = "pst"

    ledger_transaction = models.ForeignKey(LedgerTransaction, on_delete=models.PROTECT, related_name="postings")
    account = models.ForeignKey(LedgerAccount, on_delete=models.PROTECT, related_name="postings")
    amount_minor = MinorUnitsField()
    currency = CurrencyField()

    class Meta:
        constraints = [models.CheckConstraint(name="posting_not_zero", condition=~Q(amount_minor=0))]
        triggers = [
            *append_only(name="posting_append_only"),
            pgtrigger.Trigger(
                name="posting_balanced",
                when=pgtrigger.After,
                operation=pgtrigger.Insert,
                level=pgtrigger.Statement,
                referencing=pgtrigger.Referencing(new="fresh"),
                func=_BALANCED,
            ),
        ]

    def __str__(self) -> str:
        return f"{self.account.code} {self.amount_minor} {self.currency}"


class CustomerSequence(models.Model):
    """The counter behind `customer_sequence`; its row lock orders a customer's entries."""

    customer_id = models.UUIDField(primary_key=True)
    last_sequence = models.BigIntegerField()

    class Meta:
        constraints = [models.CheckConstraint(name="customer_sequence_from_one", condition=Q(last_sequence__gte=1))]

    def __str__(self) -> str:
        return f"{self.customer_id} at {self.last_sequence}"
