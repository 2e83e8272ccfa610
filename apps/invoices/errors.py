"""Anticipated failures of invoicing."""

from apps.common.errors import Conflict, DomainError, NotFound


class InvoiceUnknown(NotFound):
    """No invoice has this id or number."""

    code = "invoice_unknown"


class InvoiceNotDraft(Conflict):
    """Only a draft may still change."""

    code = "invoice_not_draft"


class InvoiceNotOpen(Conflict):
    """Only an open invoice can be paid."""

    code = "invoice_not_open"


class InvoiceNotReady(DomainError):
    """Something on the draft is unknown; every reason is named with its remedy."""

    code = "invoice_not_ready"


class PaymentExceedsInvoice(Conflict):
    """More would be recorded than is owed."""

    code = "payment_exceeds_invoice"


class BillingEntityMissing(DomainError):
    """The tenant has no entity that could issue a document."""

    code = "billing_entity_missing"


class AdjustmentUnknown(NotFound):
    """No adjustment has this id."""

    code = "adjustment_unknown"


class AdjustmentInvalid(DomainError):
    """An adjustment needs a difference and a reason."""

    code = "adjustment_invalid"


class AdjustmentDecided(Conflict):
    """It was approved, rejected or canceled before."""

    code = "adjustment_decided"


class AdjustmentNeedsAnother(Conflict):
    """Who made an adjustment cannot decide it."""

    code = "adjustment_needs_another"


class DiscountUsedUp(Conflict):
    """Another document took the last use of a discount; drafted again, this one is made without it."""

    code = "discount_used_up"
