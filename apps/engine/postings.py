"""
From a business fact to balanced postings.

Rules: a template is a named recipe; debits are positive and credits negative, in minor units of one currency; the
postings of a template always sum to zero and a posting of zero is left out. Which revenue account a line belongs to
follows its kind. Corrections are further postings, never other amounts in the same ones.
Source: double-entry bookkeeping; the account numbers follow the usual order of a chart: assets, debts, income.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Final, Literal

from apps.engine import currencies
from apps.engine.errors import InvalidPosting

AccountKind = Literal["asset", "liability", "income", "expense"]

BANK: Final = "1000"
GATEWAY_CLEARING: Final = "1050"
RECEIVABLE: Final = "1100"
TAX_PAYABLE: Final = "2200"
CUSTOMER_CREDIT: Final = "2300"
REVENUE_SUBSCRIPTION: Final = "4000"
REVENUE_USAGE: Final = "4010"


class PostingTemplate(StrEnum):
    """The recipes, by the business fact that they book."""

    INVOICE_ISSUED = "invoice_issued"  # the customer owes: receivable against revenue and tax
    PAYMENT_RECEIVED = "payment_received"  # the customer paid: clearing or bank against receivable
    CREDIT_APPLIED = "credit_applied"  # account credit settles a document, or a document below zero becomes credit


@dataclass(frozen=True, slots=True)
class AccountSpec:
    """One account of the chart that every tenant starts with."""

    code: str
    name: str
    kind: AccountKind


CHART: Final[tuple[AccountSpec, ...]] = (
    AccountSpec(BANK, "Bank", "asset"),
    AccountSpec(GATEWAY_CLEARING, "Payment gateway clearing", "asset"),
    AccountSpec(RECEIVABLE, "Accounts receivable", "asset"),
    AccountSpec(TAX_PAYABLE, "Tax payable", "liability"),
    AccountSpec(CUSTOMER_CREDIT, "Customer credit", "liability"),
    AccountSpec(REVENUE_SUBSCRIPTION, "Subscription revenue", "income"),
    AccountSpec(REVENUE_USAGE, "Usage revenue", "income"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceIssued:
    """Net amounts of an issued invoice by the revenue they are, and its tax; minor units."""

    currency: str
    subscription_minor: int = 0
    usage_minor: int = 0
    tax_minor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentReceived:
    """An amount received and how much of it settles the receivable; the rest becomes customer credit; minor units."""

    currency: str
    amount_minor: int
    overpaid_minor: int = 0
    received_into: str = GATEWAY_CLEARING


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditApplied:
    """Account credit used on a document, in minor units; below zero where the document gives the customer credit."""

    currency: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class PostingDraft:
    """One side of a booking: debit positive, credit negative, in minor units."""

    account_code: str
    amount_minor: int
    currency: str


PostingFacts = InvoiceIssued | PaymentReceived | CreditApplied
_REVENUE_OF_KIND: Final[Mapping[str, str]] = {
    "base_fee": "subscription_minor",
    "fixed_fee": "subscription_minor",
    "credit": "subscription_minor",
    "commitment": "subscription_minor",
    "usage": "usage_minor",
}
_FACTS: Final[Mapping[PostingTemplate, type[PostingFacts]]] = {
    PostingTemplate.INVOICE_ISSUED: InvoiceIssued,
    PostingTemplate.PAYMENT_RECEIVED: PaymentReceived,
    PostingTemplate.CREDIT_APPLIED: CreditApplied,
}


def postings_for(*, template: PostingTemplate, facts: PostingFacts | Mapping[str, Any]) -> tuple[PostingDraft, ...]:
    """
    Return the balanced postings that book a fact, in chart order; none when all its amounts are zero.

    The facts are the dataclass of the template, or a mapping with its fields.

    :raises InvalidPosting: if the facts belong to another template, miss a field, or have an amount that is not a
        whole number of minor units
    :raises CurrencyUnknown: if the currency is missing or not on the ISO list
    """
    known = _facts_of(PostingTemplate(template), facts)
    currencies.exponent(known.currency)
    sides = _sides(known)
    postings = tuple(
        PostingDraft(account_code=code, amount_minor=amount_minor, currency=known.currency)
        for code, amount_minor in sorted(sides)
        if amount_minor
    )
    difference_minor = sum(posting.amount_minor for posting in postings)
    if difference_minor:
        raise InvalidPosting(f"{template} is out of balance by {difference_minor}; this is a bug of the recipe")
    return postings


def invoice_issued_facts(*, currency: str, lines: Iterable[tuple[str, int]], tax_minor: int) -> InvoiceIssued:
    """
    Sum (line kind, net amount in minor units) pairs into the facts that an issued invoice is booked from.

    Usage is usage revenue; base and fixed fees and the top-up to a commitment are subscription revenue. An adjustment
    comes with the kind of the line that it adjusts.

    :raises InvalidPosting: if a kind has no revenue account
    """
    sums = {"subscription_minor": 0, "usage_minor": 0}
    for kind, net_minor in lines:
        if kind not in _REVENUE_OF_KIND:
            raise InvalidPosting(f"{kind!r} has no revenue account; use {', '.join(_REVENUE_OF_KIND)}", path="kind")
        sums[_REVENUE_OF_KIND[kind]] += net_minor
    return InvoiceIssued(currency=currency, tax_minor=tax_minor, **sums)


def _sides(facts: PostingFacts) -> list[tuple[str, int]]:
    if isinstance(facts, InvoiceIssued):
        return _invoice_issued(facts)
    if isinstance(facts, PaymentReceived):
        return _payment_received(facts)
    return [(RECEIVABLE, -facts.amount_minor), (CUSTOMER_CREDIT, facts.amount_minor)]


def _invoice_issued(facts: InvoiceIssued) -> list[tuple[str, int]]:
    return [
        (RECEIVABLE, facts.subscription_minor + facts.usage_minor + facts.tax_minor),
        (REVENUE_SUBSCRIPTION, -facts.subscription_minor),
        (REVENUE_USAGE, -facts.usage_minor),
        (TAX_PAYABLE, -facts.tax_minor),
    ]


def _payment_received(facts: PaymentReceived) -> list[tuple[str, int]]:
    if facts.amount_minor <= 0:
        raise InvalidPosting("must be above zero; money going back is a refund", path="amount_minor")
    if not 0 <= facts.overpaid_minor <= facts.amount_minor:
        raise InvalidPosting("must lie from zero to the amount received", path="overpaid_minor")
    if facts.received_into not in (BANK, GATEWAY_CLEARING):
        raise InvalidPosting(f"must be {BANK} (bank) or {GATEWAY_CLEARING} (gateway)", path="received_into")
    return [
        (facts.received_into, facts.amount_minor),
        (RECEIVABLE, facts.overpaid_minor - facts.amount_minor),
        (CUSTOMER_CREDIT, -facts.overpaid_minor),
    ]


def _facts_of(template: PostingTemplate, facts: PostingFacts | Mapping[str, Any]) -> PostingFacts:
    expected = _FACTS[template]
    if isinstance(facts, Mapping):
        names = [item.name for item in fields(expected)]
        for key in facts:
            if key not in names:
                raise InvalidPosting(f"is not a fact of {template}; use {', '.join(names)}", path=str(key))
        for name in ("currency", "amount_minor"):
            if name in names and name not in facts:
                raise InvalidPosting(f"is required by {template}", path=name)
        facts = expected(**facts)
    if not isinstance(facts, expected):
        raise InvalidPosting(f"{template} is booked from {expected.__name__}, not from {type(facts).__name__}")
    for item in fields(facts):
        value = getattr(facts, item.name)
        if item.name.endswith("_minor") and type(value) is not int:
            raise InvalidPosting(f"must be a whole number of minor units, not {value!r}", path=item.name)
    return facts
