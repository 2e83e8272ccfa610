"""Until when the document of a period waits for usage: its tenant's and its meters' policies, and the watermark."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.conf import settings

from apps.engine.late_usage import Closing, Policy, may_be_final
from apps.invoices.models import BillingEntity, Invoice, InvoiceKind
from apps.metering import late_usage
from apps.metering.late_usage import LatePolicyInput
from apps.metering.models import LateUsagePolicy, Meter
from apps.plans import selectors as plan_selectors
from apps.subscriptions.models import BillingPeriod

_NO_TOLERANCE = timedelta(0)


def closing_of(*, period: BillingPeriod, entity: BillingEntity) -> Closing:
    """
    Return until when a period's document waits for usage.

    The meter that waits longest decides for all: a document is final in one moment. Without meters nothing is on its
    way, and only the seller's grace counts.
    """
    meters = meters_of(period)
    policies = late_usage.policies_of(meters=meters) if meters else [late_usage.policy_of_tenant()]
    is_held = any(policy.policy == Policy.HOLD for policy in policies)
    closing = Closing(
        ends_at=period.ends_at,
        grace=timedelta(hours=max(_grace_hours(policy, entity) for policy in policies)),
        policy=Policy.HOLD if is_held and meters else Policy.NEXT_INVOICE,
        hold_max=timedelta(hours=max(policy.hold_hours_max for policy in policies)),
    )
    return (
        closing
        if meters
        else Closing(
            ends_at=closing.ends_at,
            grace=closing.grace,
            policy=closing.policy,
            hold_max=closing.hold_max,
            tolerance=_NO_TOLERANCE,
        )
    )


def meters_of(period: BillingPeriod) -> list[Meter]:
    """Return the meters that a period is billed by, each once."""
    charges = plan_selectors.charges_of(period.plan_version)
    return list({charge.meter.id: charge.meter for charge in charges if charge.meter is not None}.values())


def is_held(*, invoice: Invoice, at: datetime) -> bool:
    """Return whether a draft whose grace is over still waits for its sources."""
    period = invoice.billing_period
    if period is None or invoice.kind != InvoiceKind.CYCLE:
        return False
    closing = closing_of(period=period, entity=invoice.entity)
    if closing.policy != Policy.HOLD:
        return False
    return not may_be_final(closing=closing, watermark=late_usage.watermark_at(now_at=at), now=at)


def is_alone(policies: Iterable[LateUsagePolicy | LatePolicyInput]) -> bool:
    """Return whether one of the meters asks for a document of its own."""
    return any(policy.policy == Policy.OWN_DOCUMENT for policy in policies)


def _grace_hours(policy: LateUsagePolicy | LatePolicyInput, entity: BillingEntity) -> int:
    if policy.grace_hours is not None:
        return policy.grace_hours
    return settings.INVOICE_GRACE_HOURS if entity.grace_hours is None else entity.grace_hours
