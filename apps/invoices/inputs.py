"""What the workflows hand to the invoice services."""

from dataclasses import dataclass
from datetime import datetime

from apps.customers.models import Customer
from apps.invoices.models import BillingEntity, InvoiceKind, TaxRegime
from apps.subscriptions.models import BillingPeriod, Subscription


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftContext:
    """Whose draft it is, for what, and until when it may change."""

    entity: BillingEntity
    customer: Customer
    subscription: Subscription
    billing_period: BillingPeriod
    kind: InvoiceKind
    finalize_after_at: datetime


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
