"""Book business facts; nothing else writes to the books."""

from datetime import datetime
from uuid import UUID

from apps.common.db import fetch_all, unit_of_work
from apps.engine import postings
from apps.ledger.errors import AlreadyBooked
from apps.ledger.models import LedgerAccount, LedgerTransaction, Posting

# One statement that counts up and locks the customer's counter until the unit of work ends.
_NEXT_SEQUENCE = """
INSERT INTO ledger_customersequence AS s (customer_id, last_sequence) VALUES (%s, 1)
ON CONFLICT (customer_id) DO UPDATE SET last_sequence = s.last_sequence + 1 RETURNING last_sequence
"""


@unit_of_work
def chart_seed(*, currency: str) -> None:
    """Open the accounts of the chart in one currency; those that exist are left alone."""
    LedgerAccount.objects.bulk_create(
        (
            LedgerAccount(code=account.code, name=account.name, kind=account.kind, currency=currency)
            for account in postings.CHART
        ),
        ignore_conflicts=True,
    )


@unit_of_work
def transaction_post(
    *,
    template: postings.PostingTemplate,
    source_type: str,
    source_id: UUID,
    customer_id: UUID,
    facts: postings.PostingFacts,
    booked_at: datetime,
    memo: str = "",
) -> LedgerTransaction | None:
    """
    Book one fact by its template, once; return nothing when all its amounts are zero.

    :raises AlreadyBooked: if this source was booked by this template before
    """
    drafts = postings.postings_for(template=template, facts=facts)
    if not drafts:
        return None
    if LedgerTransaction.objects.filter(source_type=source_type, source_id=source_id, template=template).exists():
        raise AlreadyBooked(f"{source_type} {source_id} is booked as {template} already.")
    accounts = _accounts(currency=facts.currency)
    booked = LedgerTransaction.objects.create(
        template=template.value,
        source_type=source_type,
        source_id=source_id,
        customer_id=customer_id,
        customer_sequence=fetch_all(_NEXT_SEQUENCE, [customer_id])[0][0],
        booked_at=booked_at,
        memo=memo,
    )
    # All postings in one statement: the balance trigger judges a statement as a whole.
    Posting.objects.bulk_create(
        Posting(
            ledger_transaction=booked,
            account=accounts[draft.account_code],
            amount_minor=draft.amount_minor,
            currency=draft.currency,
        )
        for draft in drafts
    )
    return booked


def _accounts(*, currency: str) -> dict[str, LedgerAccount]:
    accounts = {account.code: account for account in LedgerAccount.objects.filter(currency=currency)}
    if not accounts:
        # The first document in a currency opens its accounts.
        chart_seed(currency=currency)
        accounts = {account.code: account for account in LedgerAccount.objects.filter(currency=currency)}
    return accounts
