"""What a change gives back: fees that were billed in advance for time that is not served on their terms.

A credit is computed from the line that billed the fee, so it never exceeds what was billed, carries the same tax, and
names the document that it takes back from. Only final documents count: a draft of the earlier period is refreshed with
the bounds of now before it becomes final, and then bills no more than what was served.
"""

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

from apps.engine import invoice_draft, periods
from apps.engine.charge_models import ChargeTerms
from apps.engine.exact import Rounding
from apps.engine.money import minor_to_text
from apps.engine.proration import ProrationMode as EngineProration
from apps.engine.proration import proration_factor
from apps.engine.tax import tax_decision_from_document
from apps.invoices import selectors as invoice_selectors
from apps.invoices.models import InvoiceKind, InvoiceLine
from apps.subscriptions.models import BillingPeriod, ProrationMode


def credit_inputs(*, period: BillingPeriod) -> Iterator[invoice_draft.ChargeInput]:
    """Yield a credit for each fee billed in advance that reaches past a cut period's end; amounts as billed."""
    if not period.is_credit_due or period.cut_from_at is None:
        return
    source = period.prepaid_by or period
    unused = periods.Period(period.ends_at, period.cut_from_at)
    for line in invoice_selectors.fixed_lines_billed(
        subscription_id=period.subscription_id, service_starts_at=source.starts_at
    ):
        if line.service_ends_at > source.ends_at and line.taxable_minor > 0:
            yield _credit(line, unused, _part_of(line, unused, period))


def fees_served_minor(*, period: BillingPeriod) -> int:
    """
    Return what was billed in advance for the time of a period, before tax, in minor units without parts.

    Of a fee that reaches past the period's end, only the period's part is counted: the rest is given back, or is for
    the time after a pause. What the period's own document bills is not billed in advance, though that may be final when
    the period is rated again.
    """
    source = period.prepaid_by or period
    served = periods.Period(period.starts_at, period.ends_at)
    total_minor = 0
    for line in invoice_selectors.fixed_lines_billed(
        subscription_id=period.subscription_id, service_starts_at=source.starts_at
    ):
        if line.invoice.billing_period_id == period.id and line.invoice.kind == InvoiceKind.CYCLE:
            continue
        part = _part_of(line, served, period)
        total_minor += line.net_minor * part.numerator // part.denominator
    return total_minor


def _credit(line: InvoiceLine, unused: periods.Period, part: Fraction) -> invoice_draft.ChargeInput:
    currency = line.invoice.currency
    decision = line.decision
    tax = decision.get("tax")
    return invoice_draft.ChargeInput(
        terms=ChargeTerms(
            code=line.code,
            model="flat",
            # What a discount took was never billed, so it is not given back either.
            amount=Decimal(minor_to_text(line.taxable_minor, currency)),
            prorate=True,
            description=f"Unused time: {line.description}"[:200],
            tax_category=decision["terms"].get("tax_category"),
        ),
        usage={"credit_of_line": line.public_id, "credit_of_invoice": line.invoice.number or ""},
        tax=None if tax is None else tax_decision_from_document(tax),
        factor=part,
        service_period=unused,
        effect="credit",
        rounding=Rounding(decision["rounding"]),
        plan=decision["plan"],
    )


def _part_of(line: InvoiceLine, stretch: periods.Period, period: BillingPeriod) -> Fraction:
    """Return which part of the time that a line billed a stretch is, counted as the period's parts are."""
    billed = periods.Period(line.service_starts_at, line.service_ends_at)
    is_inside = billed.starts_at <= stretch.starts_at and stretch.ends_at <= billed.ends_at
    zone = ZoneInfo(period.timezone)
    has_days = billed.starts_at.astimezone(zone).date() < billed.ends_at.astimezone(zone).date()
    if period.proration_mode == ProrationMode.BY_DAY and is_inside and has_days:
        return proration_factor(served=stretch, full=billed, mode=EngineProration.BY_DAY, timezone=period.timezone)
    # A pause moves the rest of a period, whose length is what it was; and what lies within a day has no days to count.
    return min(Fraction(1), Fraction(stretch.microseconds, billed.microseconds))
