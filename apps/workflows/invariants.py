"""What must always hold, as named checks that run in production and at the end of every fault test.

Each returns the rows that break it, with a leeway where seconds of delay are by design and its reason beside it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from apps.audit import selectors as audit_selectors
from apps.common.db import fetch_all
from apps.engine.hashing import canonical_hash
from apps.invoices import selectors as invoice_selectors
from apps.invoices.models import Invoice
from apps.ledger import selectors as ledger_selectors
from apps.messaging import selectors as messaging_selectors
from apps.metering import late_usage, proofs
from apps.metering import selectors as metering_selectors

log = structlog.get_logger(__name__)

ROWS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """An invariant that does not hold, and the first rows that break it."""

    name: str
    rows: list[str]


# Lines of issued documents, summed, against the totals printed on them.
_TOTALS_DIFFER = """
SELECT i.number FROM invoices_invoice i LEFT JOIN LATERAL (
    SELECT coalesce(sum(net_minor), 0) AS net, coalesce(sum(discount_minor), 0) AS discount,
           coalesce(sum(tax_minor), 0) AS tax
    FROM invoices_invoiceline l WHERE l.invoice_id = i.id
) parts ON true LEFT JOIN LATERAL (
    SELECT coalesce(sum(amount_minor), 0) AS minor FROM invoices_invoicediscount d WHERE d.invoice_id = i.id
) named ON true
WHERE i.number IS NOT NULL AND (
    parts.net - parts.discount <> i.subtotal_minor OR parts.tax <> i.tax_minor
    OR parts.discount <> i.discount_minor OR named.minor <> i.discount_minor
)
"""

# What the books say is receivable from a customer, against what that customer's documents still owe.
_RECEIVABLE_DIFFERS = """
WITH owed AS (
    SELECT customer_id, currency, sum(total_minor - credit_minor - paid_minor) AS minor FROM invoices_invoice
    WHERE status IN ('OPEN', 'UNCOLLECTIBLE', 'PAID') GROUP BY 1, 2
), booked AS (
    SELECT t.customer_id, p.currency, sum(p.amount_minor) AS minor
    FROM ledger_posting p JOIN ledger_ledgertransaction t ON t.id = p.ledger_transaction_id
    JOIN ledger_ledgeraccount a ON a.id = p.account_id WHERE a.code = '1100' GROUP BY 1, 2
)
SELECT coalesce(owed.customer_id, booked.customer_id)::text FROM owed FULL JOIN booked USING (customer_id, currency)
WHERE coalesce(owed.minor, 0) <> coalesce(booked.minor, 0)
"""

# Money captured by attempts, against what invoices count as paid.
_CAPTURED_DIFFERS = """
SELECT i.number FROM invoices_invoice i LEFT JOIN LATERAL (
    SELECT coalesce(sum(amount_minor), 0) AS minor FROM payments_paymentattempt a
    WHERE a.invoice_id = i.id AND a.status = 'SUCCEEDED'
) captured ON true WHERE captured.minor <> i.paid_minor
"""

# A subscription that is served always has a period that is not closed: else it is never billed again.
_NOT_BILLED_ANY_MORE = """
SELECT s.id::text FROM subscriptions_subscription s
WHERE (s.status IN ('TRIALING', 'ACTIVE') OR (s.status = 'PAUSED' AND s.pause_mode = 'keep_fixed')) AND NOT EXISTS (
    SELECT 1 FROM subscriptions_billingperiod p WHERE p.subscription_id = s.id AND p.status <> 'CLOSED'
)
"""

# A claim outlives its lease only for as long as the next tick takes.
_STUCK_CLAIMS = """
SELECT id::text FROM subscriptions_billingperiod
WHERE status = 'CLOSING' AND parked_at IS NULL AND claimed_until < %s
"""


# A closed period whose draft was discarded and not drafted again: its usage and the next fee would be given away.
_CLOSED_WITHOUT_DOCUMENT = """
SELECT p.id::text FROM subscriptions_billingperiod p
WHERE p.status = 'CLOSED'
  AND EXISTS (SELECT 1 FROM invoices_invoice i WHERE i.billing_period_id = p.id AND i.kind = 'CYCLE')
  AND NOT EXISTS (
    SELECT 1 FROM invoices_invoice i
    WHERE i.billing_period_id = p.id AND i.kind = 'CYCLE' AND i.status NOT IN ('DISCARDED', 'VOID')
  )
"""

# A final document that billed usage without saying so to metering: nothing that comes later would be found late.
_DOCUMENT_WITHOUT_WINDOW = """
SELECT i.number || ' ' || l.code
FROM invoices_invoice i JOIN invoices_invoiceline l ON l.invoice_id = i.id AND l.kind = 'usage'
WHERE i.kind = 'CYCLE' AND i.status IN ('OPEN', 'PAID', 'UNCOLLECTIBLE') AND NOT EXISTS (
    SELECT FROM metering_usagewindow w
    WHERE w.subscription_id = i.subscription_id AND w.starts_at = l.service_starts_at AND w.ends_at = l.service_ends_at
) ORDER BY 1 LIMIT 20
"""

# What was agreed for an instant that is an hour past: its period waits for it and is not billed.
_CHANGES_OVERDUE = """
SELECT h.id::text FROM subscriptions_subscriptionchange h
JOIN subscriptions_subscription s ON s.id = h.subscription_id AND s.status <> 'ENDED'
JOIN customers_customer c ON c.id = s.customer_id LEFT JOIN customers_testclock k ON k.id = c.test_clock_id
WHERE h.applied_at IS NULL AND h.withdrawn_at IS NULL
  AND h.effective_at < coalesce(k.now_at, %s) - interval '1 hour' LIMIT 20
"""

# An applied correction whose events go on counting.
_CORRECTION_NOT_WRITTEN = """
SELECT e.source || ' ' || e.event_id
FROM metering_correctedevent e JOIN metering_usagecorrection u ON u.id = e.correction_id AND u.status = 'APPLIED'
WHERE e.event_key IS NOT NULL AND NOT EXISTS (
    SELECT FROM metering_usagecancellation c WHERE c.event_key = e.event_key AND c.correction_id = u.id
) LIMIT 20
"""

# A gateway said something else than what was recorded for good: money may have moved that no document knows of.
_CONTRADICTED = "SELECT payload ->> 'invoice' FROM messaging_domainevent WHERE topic = 'payments.attempt.contradicted'"


def _unbalanced(at: datetime) -> list[str]:
    return [str(id_) for id_ in ledger_selectors.unbalanced_transaction_ids(limit=ROWS_SHOWN)]


def _trial_balance(at: datetime) -> list[str]:
    totals = ledger_selectors.trial_balance_totals(rows=ledger_selectors.trial_balance())
    return [f"{currency}: {minor}" for currency, minor in totals.items() if minor]


def _audit_chain(at: datetime) -> list[str]:
    report = audit_selectors.chain_verify()
    return [] if report.is_intact else [report.detail]


def _number_gaps(at: datetime) -> list[str]:
    return [f"{prefix} counts {last}, holds {documents}" for prefix, last, documents in invoice_selectors.number_gaps()]


def _snapshots(at: datetime) -> list[str]:
    issued = Invoice.objects.filter(snapshot__isnull=False).only("number", "snapshot", "snapshot_hash")
    return [
        str(invoice.number)
        for invoice in issued.order_by("id").iterator(chunk_size=500)
        if canonical_hash(invoice.snapshot) != invoice.snapshot_hash
    ]


def _aggregates(at: datetime) -> list[str]:
    # Every hour two days, so that the hourly run stays small; older days have proofs, made anew when they change.
    recent = metering_selectors.aggregates_compare(limit=ROWS_SHOWN, since=at - timedelta(days=2))
    return [str(difference) for difference in recent]


def _usage_without_outcome(at: datetime) -> list[str]:
    return late_usage.windows_unaccounted(limit=ROWS_SHOWN)


def _proofs(at: datetime) -> list[str]:
    return [f"{day}: {count} differences" for day, count, _first in proofs.proofs_with_differences()][:ROWS_SHOWN]


def _dead_messages(at: datetime) -> list[str]:
    return [str(message) for message in messaging_selectors.dead_messages()[:ROWS_SHOWN]]


def _sql(statement: str) -> Callable[[datetime], list[str]]:
    return lambda at: [str(row[0]) for row in fetch_all(statement)[:ROWS_SHOWN]]


REGISTRY: dict[str, Callable[[datetime], list[str]]] = {
    "postings of a transaction sum to zero": _unbalanced,
    "the trial balance is zero": _trial_balance,
    "the audit chain is intact": _audit_chain,
    "invoice numbers have no gap": _number_gaps,
    "issued documents are as they were issued": _snapshots,
    "lines, taxes and totals of documents agree": _sql(_TOTALS_DIFFER),
    "the receivable account equals what documents owe": _sql(_RECEIVABLE_DIFFERS),
    "captured money equals what invoices count as paid": _sql(_CAPTURED_DIFFERS),
    "active subscriptions have a period to bill": _sql(_NOT_BILLED_ANY_MORE),
    # Leeway of an hour: the claim is taken up again by the next tick after its lease.
    "no claim is stuck": lambda at: [str(r[0]) for r in fetch_all(_STUCK_CLAIMS, [at - timedelta(hours=1)])],
    "agreed changes took effect": lambda at: [str(r[0]) for r in fetch_all(_CHANGES_OVERDUE, [at])],
    "running totals equal the raw events": _aggregates,
    # All days before, by their latest proof.
    "proofs of usage found no difference": _proofs,
    "no message is dead": _dead_messages,
    "closed periods have a document": _sql(_CLOSED_WITHOUT_DOCUMENT),
    "all usage is billed, adjusted, waived or waits in the inbox": _usage_without_outcome,
    "final documents closed the windows that they billed": _sql(_DOCUMENT_WITHOUT_WINDOW),
    "applied corrections of usage count as they say": _sql(_CORRECTION_NOT_WRITTEN),
    "no gateway contradicts what was recorded": _sql(_CONTRADICTED),
}


def invariants_check(*, at: datetime) -> list[Finding]:
    """Run every check and return those that do not hold; each is logged as an error with its rows."""
    findings = []
    for name, check in REGISTRY.items():
        rows = check(at)
        if rows:
            log.error("invariant does not hold", invariant=name, rows=rows)
            findings.append(Finding(name=name, rows=rows))
    return findings
