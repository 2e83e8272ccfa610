"""The books in the back office."""

from typing import Any

from django.utils.html import format_html, format_html_join
from unfold.decorators import display

from apps.common import formatting
from apps.common.admin import EMPTY, RecordAdmin, money_column, record_link, url_of, words_before_colon
from apps.ledger.models import LedgerAccount, LedgerTransaction, Posting


class LedgerAccountAdmin(RecordAdmin):
    """The chart."""

    purpose = "The chart of accounts. Balances are on the trial balance page."
    list_display = ("code", "name", "kind_text", "currency")
    list_filter = ("currency", "kind")
    search_fields = ("code", "name")
    fact_fields = ("code", "name", "kind", "currency")

    @display(description="Kind", ordering="kind")
    def kind_text(self, account: LedgerAccount) -> str:
        """Return the short name of the kind."""
        return words_before_colon(account, "kind")


class LedgerTransactionAdmin(RecordAdmin):
    """One booked fact."""

    purpose = "Business facts as they were booked: each balanced, booked once, never changed."
    list_display = ("booked_at", "template", "source", "memo")
    list_filter = ("template",)
    search_fields = ("memo", "template")
    ordering = ("-id",)
    fact_fields = ("template", "source", "booked_at", "customer", "customer_sequence", "memo", "postings_list")

    @display(description="Source")
    def source(self, entry: LedgerTransaction) -> str:
        """Return the document that was booked, linked."""
        return _reference(entry.source_type, entry.source_id)

    @display(description="Postings")
    def postings_list(self, entry: LedgerTransaction) -> str:
        """Return both sides, debits first."""
        postings = sorted(entry.postings.select_related("account"), key=lambda posting: -posting.amount_minor)
        rows = (
            (
                "debit" if posting.amount_minor > 0 else "credit",
                record_link(posting.account),
                formatting.money_text(abs(posting.amount_minor), posting.currency),
            )
            for posting in postings
        )
        return format_html(
            '<table class="ch-table ch-table--inline"><tbody>{}</tbody></table>',
            format_html_join("", '<tr><th scope="row">{}</th><td>{}</td><td class="ch-number">{}</td></tr>', rows),
        )

    @display(description="Customer")
    def customer(self, entry: LedgerTransaction) -> str:
        """Return the customer whose entry this is, linked."""
        return _reference("customers.customer", entry.customer_id)


class PostingAdmin(RecordAdmin):
    """One side of a booked fact."""

    purpose = "Debits positive, credits negative; those of one transaction sum to zero."
    list_display = ("account", "amount_money", "booked_at", "ledger_transaction")
    list_filter = ("account__code", "currency")
    list_select_related = ("account", "ledger_transaction")
    ordering = ("-id",)
    fact_fields = ("account", "amount_money", "booked_at", "ledger_transaction")

    amount_money = money_column("amount_minor", "Amount")

    @display(description="Booked")
    def booked_at(self, posting: Posting) -> Any:
        """Return when the fact took effect in the books."""
        return posting.ledger_transaction.booked_at


def _reference(label: str, pk: object) -> str:
    if pk is None:
        return EMPTY
    name = label.rpartition(".")[2]
    url = url_of(label=label, pk=pk)
    return format_html('<a href="{}">{}</a>', url, name) if url else name


RECORDS = (
    (LedgerAccount, LedgerAccountAdmin),
    (LedgerTransaction, LedgerTransactionAdmin),
    (Posting, PostingAdmin),
)
