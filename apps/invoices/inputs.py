"""What the workflows hand to the invoice services."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from apps.customers.models import Customer
from apps.invoices.adjustment_models import AdjustmentReason
from apps.invoices.models import BillingEntity, InvoiceKind, TaxRegime
from apps.plans.models import PlanVersion
from apps.subscriptions.models import BillingPeriod, Subscription


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftContext:
    """Whose draft it is, for what, and until when it may change."""

    entity: BillingEntity
    customer: Customer
    subscription: Subscription | None
    billing_period: BillingPeriod | None
    kind: InvoiceKind
    finalize_after_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AdjustmentInput:
    """Whose difference it is, for what, and why; the lines say how much."""

    customer: Customer
    subscription: Subscription | None
    billing_period: BillingPeriod | None
    currency: str
    reason: AdjustmentReason
    lines: tuple["AdjustmentLineInput", ...]
    comment: str = ""
    is_alone: bool = False
    plan_version: PlanVersion | None = None  # when it is rated by other terms than those agreed then


@dataclass(frozen=True, slots=True, kw_only=True)
class AdjustmentLineInput:
    """One charge's difference, after discounts and before tax, in minor units, with both sides of it."""

    code: str
    kind: str
    description: str
    quantity: Decimal
    unit_name: str
    service_starts_at: datetime
    service_ends_at: datetime
    amount_minor: int
    tax: Mapping[str, Any] | None
    before: Mapping[str, Any]
    after: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityProfile:
    """What the issuing entity prints, and how it taxes."""

    legal_name: str
    address: str
    country: str
    tax_id: str
    tax_regime: TaxRegime
    timezone: str
    grace_hours: int | None
    footer: str
