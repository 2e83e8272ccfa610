"""How far a running period has come towards what its customer committed to spend (I33).

The figures are those of the document that closing the period right now would make, so the true-up shown on the last
instant of a period is the one that is billed.
"""

from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

from apps.common.db import rolled_back
from apps.customers import selectors as customer_selectors
from apps.engine import periods
from apps.engine.commitments import SHORTFALL_CODE
from apps.engine.proration import ProrationMode, proration_factor
from apps.invoices import selectors as invoice_selectors
from apps.invoices.models import InvoiceKind
from apps.plans import terms as plan_terms
from apps.subscriptions import selectors as subscription_selectors
from apps.subscriptions.models import BillingPeriod, Subscription
from apps.workflows import drafting
from apps.workflows.errors import CommitmentMissing


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentStatus:
    """
    A commitment in its running period; amounts in minor units of `currency`.

    `accrued_minor` is what has built up of the true-up so far, if the commitment is spread evenly over the period; when
    the period ends it is the true-up itself.
    """

    starts_at: datetime
    ends_at: datetime
    currency: str
    committed_minor: int
    drawn_minor: int
    true_up_minor: int
    accrued_minor: int

    @property
    def remaining_minor(self) -> int:
        """Return what is left to spend before nothing is trued up."""
        return self.committed_minor - self.drawn_minor


def commitment_status(*, subscription: Subscription, at: datetime) -> CommitmentStatus:
    """
    Return what is drawn of a commitment or a minimum, and what would be trued up if the period ended now.

    :raises CommitmentMissing: if the plan has neither, or no period runs
    """
    now_at = customer_selectors.customer_now(customer=subscription.customer, at=at)
    period = subscription_selectors.period_running(subscription_id=subscription.id, at=now_at)
    if period is None or not _has_commitment(period):
        raise CommitmentMissing(f"Subscription {subscription.public_id} has no commitment in a running period.")
    with rolled_back():
        draft = drafting.draft_build(
            subscription=subscription,
            period=period,
            following=None,
            kind=InvoiceKind.CYCLE,
            entity=invoice_selectors.billing_entity_default(),
            at=now_at,
        )
    committed_minor = drafting.committed_minor(period)
    shortfalls = [line for line in draft.lines if line.code == SHORTFALL_CODE] if draft is not None else []
    true_up_minor = sum(line.net_minor for line in shortfalls)
    drawn_minor = committed_minor - true_up_minor
    due_by_now = committed_minor * _elapsed(period, now_at)
    return CommitmentStatus(
        starts_at=period.starts_at,
        ends_at=period.ends_at,
        currency=period.plan_version.currency,
        committed_minor=committed_minor,
        drawn_minor=drawn_minor,
        true_up_minor=true_up_minor,
        accrued_minor=max(0, due_by_now.numerator // due_by_now.denominator - drawn_minor),
    )


def _has_commitment(period: BillingPeriod) -> bool:
    version = period.plan_version
    return plan_terms.minimum_commitment_minor(version) is not None or plan_terms.commitment_of(version) is not None


def _elapsed(period: BillingPeriod, at: datetime) -> Fraction:
    """Return which part of the period is over."""
    if at <= period.starts_at:
        return Fraction(0)
    if at >= period.ends_at:
        return Fraction(1)
    return proration_factor(
        served=periods.Period(period.starts_at, at),
        full=periods.Period(period.starts_at, period.ends_at),
        mode=ProrationMode.BY_SECOND,
        timezone=period.subscription.timezone,
    )
