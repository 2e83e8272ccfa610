"""Gather the facts of one period and let the engine make a draft of them: the only way an invoice comes to be.

Cycle close, refresh and preview all pass through here, so an estimate cannot disagree with the invoice.
"""

from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

from apps.engine import invoice_draft, periods
from apps.engine.exact import Rounding, decimal_text
from apps.engine.proration import ProrationMode, proration_factor
from apps.engine.tax import TaxDecision
from apps.invoices.models import BillingEntity, InvoiceKind
from apps.metering import selectors as metering_selectors
from apps.plans import selectors as plan_selectors
from apps.plans.models import Charge
from apps.subscriptions.models import BillingPeriod, Subscription
from apps.taxes import selectors as tax_selectors

_WHOLE = Fraction(1)


def draft_build(
    *,
    subscription: Subscription,
    period: BillingPeriod,
    following: BillingPeriod | None,
    kind: InvoiceKind,
    entity: BillingEntity,
    at: datetime,
) -> invoice_draft.InvoiceDraft | None:
    """
    Return the draft of a period, or nothing when the plan charges nothing for it; amounts in minor units.

    A cycle draft bills what the period used, in arrears, and the fees of the following period, in advance; a start
    draft bills only the first period's fees in advance.

    :param at: the moment that decides tax rates
    """
    version = subscription.plan_version
    arrears, advance = _charges_by_timing(subscription)
    inputs: list[invoice_draft.ChargeInput] = []
    if kind == InvoiceKind.CYCLE:
        inputs += [_charge_input(charge, subscription, period, entity, at) for charge in arrears]
        if following is not None:
            inputs += [_charge_input(charge, subscription, following, entity, at) for charge in advance]
    else:
        inputs += [_charge_input(charge, subscription, period, entity, at) for charge in advance]
    if not inputs:
        return None
    return invoice_draft.build_invoice_draft(
        facts=invoice_draft.DraftFacts(
            currency=version.currency,
            rounding=Rounding(version.rounding),
            period=_engine_period(period),
            charges=tuple(inputs),
            plan_code=version.plan.code,
            plan_version=version.version,
        )
    )


def _charges_by_timing(subscription: Subscription) -> tuple[list[Charge], list[Charge]]:
    charges = plan_selectors.charges_of(subscription.plan_version)
    return [c for c in charges if c.timing == "arrears"], [c for c in charges if c.timing == "advance"]


def _charge_input(
    charge: Charge, subscription: Subscription, period: BillingPeriod, entity: BillingEntity, at: datetime
) -> invoice_draft.ChargeInput:
    terms = plan_selectors.engine_terms(charge)
    tax = _tax(terms.tax_category, subscription, entity, at)
    factor = _factor(subscription, period)
    service_period = _engine_period(period)
    if charge.meter is None:
        return invoice_draft.ChargeInput(
            terms=terms, quantity=Decimal(1), tax=tax, factor=factor, service_period=service_period
        )
    usage = metering_selectors.usage_quantity(
        meter=charge.meter,
        customer_id=subscription.customer_id,
        subscription_id=subscription.id,
        starts_at=period.starts_at,
        ends_at=period.ends_at,
    )
    return invoice_draft.ChargeInput(
        terms=terms,
        quantity=usage.quantity,
        meter_version=charge.meter.version,
        usage={
            "meter": charge.meter.public_id,
            "event_count": usage.event_count,
            "raw_quantity": decimal_text(usage.raw),
            "unit_rounding": charge.meter.rounding,
            "snapshot": usage.snapshot,
        },
        tax=tax,
        factor=factor,
        service_period=service_period,
    )


def _engine_period(period: BillingPeriod) -> periods.Period:
    return periods.Period(period.starts_at, period.ends_at)


def _factor(subscription: Subscription, period: BillingPeriod) -> Fraction:
    full = periods.Period(period.full_starts_at, period.full_ends_at)
    served = _engine_period(period)
    if served == full:
        return _WHOLE
    return proration_factor(served=served, full=full, mode=ProrationMode.BY_SECOND, timezone=subscription.timezone)


def _tax(category: str | None, subscription: Subscription, entity: BillingEntity, at: datetime) -> TaxDecision | None:
    customer = subscription.customer
    return tax_selectors.tax_decide(
        regime=entity.tax_regime,
        seller_country=entity.country,
        buyer_country=customer.country,
        buyer_region=customer.region,
        category=category,
        on_date=at.astimezone(ZoneInfo(entity.timezone)).date(),
    )
