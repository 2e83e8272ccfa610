"""Read the books."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import QuerySet, Sum

from apps.common.db import fetch_all
from apps.ledger.models import LedgerAccount, LedgerTransaction, Posting

# Accounts without postings are listed too: a trial balance shows the whole chart.
_TRIAL_BALANCE = """
SELECT a.code, a.name, a.kind, a.currency,
       coalesce(sum(p.amount_minor) FILTER (WHERE p.amount_minor > 0), 0)::bigint,
       coalesce(-sum(p.amount_minor) FILTER (WHERE p.amount_minor < 0), 0)::bigint
FROM ledger_ledgeraccount a
LEFT JOIN (
    ledger_posting p JOIN ledger_ledgertransaction t
        ON t.id = p.ledger_transaction_id AND (%(as_of)s::timestamptz IS NULL OR t.booked_at <= %(as_of)s)
) ON p.account_id = a.id
GROUP BY a.code, a.name, a.kind, a.currency ORDER BY a.currency, a.code
"""


@dataclass(frozen=True, slots=True)
class TrialBalanceRow:
    """One account's turnover and balance, in minor units of its currency."""

    code: str
    name: str
    kind: str
    currency: str
    debit_minor: int
    credit_minor: int

    @property
    def balance_minor(self) -> int:
        """Return debit minus credit."""
        return self.debit_minor - self.credit_minor


def trial_balance(*, as_of: datetime | None = None) -> list[TrialBalanceRow]:
    """Return every account with its turnover up to and including an instant; without one, of all time."""
    return [TrialBalanceRow(*row) for row in fetch_all(_TRIAL_BALANCE, {"as_of": as_of})]


def trial_balance_totals(*, rows: list[TrialBalanceRow]) -> dict[str, int]:
    """Return debit minus credit per currency, in minor units; zero everywhere when the books are right."""
    totals: dict[str, int] = {}
    for row in rows:
        totals[row.currency] = totals.get(row.currency, 0) + row.balance_minor
    return totals


def account_balance_minor(*, code: str, currency: str, customer_id: UUID | None = None) -> int:
    """Return an account's balance (debit positive), of all customers or of one."""
    postings = Posting.objects.filter(account__code=code, account__currency=currency)
    if customer_id is not None:
        postings = postings.filter(ledger_transaction__customer_id=customer_id)
    return postings.aggregate(balance=Sum("amount_minor"))["balance"] or 0


def accounts() -> QuerySet[LedgerAccount]:
    """Return the chart in order."""
    return LedgerAccount.objects.order_by("currency", "code")


def transactions_of(*, source_type: str, source_id: UUID) -> QuerySet[LedgerTransaction]:
    """Return what was booked for one document, with its postings."""
    return (
        LedgerTransaction.objects.filter(source_type=source_type, source_id=source_id)
        .order_by("id")
        .prefetch_related("postings__account")
    )


def unbalanced_transaction_ids(*, limit: int) -> list[UUID]:
    """Return transactions whose postings do not sum to zero; the trigger keeps this empty, the monitor looks."""
    unbalanced = (
        Posting.objects.values("ledger_transaction_id", "currency")
        .annotate(difference_minor=Sum("amount_minor"))
        .exclude(difference_minor=0)
        .order_by("ledger_transaction_id")
    )
    return [row["ledger_transaction_id"] for row in unbalanced[:limit]]
