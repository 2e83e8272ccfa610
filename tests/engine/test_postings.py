"""Postings: every template balances, and refuses facts that are not its own."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.engine.errors import CurrencyUnknown, InvalidPosting
from apps.engine.postings import (
    CHART,
    InvoiceIssued,
    PaymentReceived,
    PostingTemplate,
    invoice_issued_facts,
    postings_for,
)

whole = st.integers(-(10**12), 10**12)


def sides(template: PostingTemplate, facts: Any) -> list[tuple[str, int]]:
    """Return account codes and amounts."""
    return [(posting.account_code, posting.amount_minor) for posting in postings_for(template=template, facts=facts)]


def test_invoice_issued() -> None:
    """S132: what the customer owes stands against what it is for, to the minor unit."""
    facts = InvoiceIssued(currency="EUR", subscription_minor=9900, usage_minor=53000, tax_minor=11951)
    assert sides(PostingTemplate.INVOICE_ISSUED, facts) == [
        ("1100", 74851),
        ("2200", -11951),
        ("4000", -9900),
        ("4010", -53000),
    ]


def test_zero_postings_are_left_out() -> None:
    assert sides(PostingTemplate.INVOICE_ISSUED, InvoiceIssued(currency="EUR", usage_minor=5)) == [
        ("1100", 5),
        ("4010", -5),
    ]
    assert sides(PostingTemplate.INVOICE_ISSUED, InvoiceIssued(currency="EUR")) == []


def test_payment_received() -> None:
    assert sides(PostingTemplate.PAYMENT_RECEIVED, PaymentReceived(currency="EUR", amount_minor=100)) == [
        ("1050", 100),
        ("1100", -100),
    ]
    overpaid = PaymentReceived(currency="EUR", amount_minor=100, overpaid_minor=30, received_into="1000")
    assert sides(PostingTemplate.PAYMENT_RECEIVED, overpaid) == [("1000", 100), ("1100", -70), ("2300", -30)]


def test_facts_may_be_a_mapping() -> None:
    facts = {"currency": "EUR", "usage_minor": 5}
    assert sides(PostingTemplate.INVOICE_ISSUED, facts) == [("1100", 5), ("4010", -5)]


def test_lines_are_summed_by_the_revenue_they_are() -> None:
    lines = [("base_fee", 9900), ("usage", 5), ("usage", 7), ("commitment", 100), ("fixed_fee", 1)]
    assert invoice_issued_facts(currency="EUR", lines=lines, tax_minor=3) == InvoiceIssued(
        currency="EUR", subscription_minor=10001, usage_minor=12, tax_minor=3
    )
    with pytest.raises(InvalidPosting, match="no revenue account"):
        invoice_issued_facts(currency="EUR", lines=[("gift", 1)], tax_minor=0)


@pytest.mark.parametrize(
    ("template", "facts", "path"),
    [
        (PostingTemplate.INVOICE_ISSUED, {"currency": "EUR", "net_minor": 5}, "net_minor"),
        (PostingTemplate.INVOICE_ISSUED, {"usage_minor": 5}, "currency"),
        (PostingTemplate.INVOICE_ISSUED, {"currency": "EUR", "usage_minor": "5"}, "usage_minor"),
        (PostingTemplate.INVOICE_ISSUED, {"currency": "EUR", "tax_minor": 0.5}, "tax_minor"),
        (PostingTemplate.INVOICE_ISSUED, {"currency": "EUR", "tax_minor": True}, "tax_minor"),
        (PostingTemplate.INVOICE_ISSUED, PaymentReceived(currency="EUR", amount_minor=1), ""),
        (PostingTemplate.PAYMENT_RECEIVED, {"currency": "EUR"}, "amount_minor"),
        (PostingTemplate.PAYMENT_RECEIVED, {"currency": "EUR", "amount_minor": 0}, "amount_minor"),
        (PostingTemplate.PAYMENT_RECEIVED, {"currency": "EUR", "amount_minor": -5}, "amount_minor"),
        (
            PostingTemplate.PAYMENT_RECEIVED,
            {"currency": "EUR", "amount_minor": 5, "overpaid_minor": 6},
            "overpaid_minor",
        ),
        (
            PostingTemplate.PAYMENT_RECEIVED,
            {"currency": "EUR", "amount_minor": 5, "received_into": "4000"},
            "received_into",
        ),
    ],
)
def test_foreign_facts_are_refused(template: PostingTemplate, facts: Any, path: str) -> None:
    with pytest.raises(InvalidPosting) as refusal:
        postings_for(template=template, facts=facts)
    assert refusal.value.path == path


def test_currency_is_required_even_when_nothing_is_booked() -> None:
    """S251: an empty booking still names its currency."""
    with pytest.raises(CurrencyUnknown):
        postings_for(template=PostingTemplate.INVOICE_ISSUED, facts={"currency": ""})


def test_chart_has_each_account_once_and_every_account_that_is_booked() -> None:
    codes = [account.code for account in CHART]
    assert codes == sorted(set(codes))
    booked = {
        code
        for code, _ in sides(
            PostingTemplate.INVOICE_ISSUED,
            InvoiceIssued(currency="EUR", subscription_minor=1, usage_minor=1, tax_minor=1),
        )
    }
    booked |= {
        code
        for account in ("1000", "1050")
        for code, _ in sides(
            PostingTemplate.PAYMENT_RECEIVED,
            PaymentReceived(currency="EUR", amount_minor=2, overpaid_minor=1, received_into=account),
        )
    }
    assert booked == set(codes)


@given(subscription_minor=whole, usage_minor=whole, tax_minor=whole)
def test_every_booking_balances(subscription_minor: int, usage_minor: int, tax_minor: int) -> None:
    """S132: debits and credits of one booking sum to zero, whatever the signs of its parts."""
    facts = InvoiceIssued(
        currency="EUR", subscription_minor=subscription_minor, usage_minor=usage_minor, tax_minor=tax_minor
    )
    postings = postings_for(template=PostingTemplate.INVOICE_ISSUED, facts=facts)
    assert sum(posting.amount_minor for posting in postings) == 0
    assert all(posting.amount_minor for posting in postings)
