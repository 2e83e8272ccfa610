"""What a correction changes on documents that are final: their periods rated again, before and after it is made."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from apps.invoices import selectors as invoice_selectors
from apps.invoices.models import Invoice, InvoiceKind, InvoiceStatus
from apps.metering.correction_effects import Touched
from apps.metering.models import Meter
from apps.subscriptions.models import BillingPeriod
from apps.workflows import rerating
from apps.workflows.errors import ReratingRefused

# Rating a period reads its whole usage; a correction that touches more of them says that it was not measured.
PERIODS_MEASURED_MAX: Final = 24
_FINAL: Final = (InvoiceStatus.OPEN, InvoiceStatus.PAID, InvoiceStatus.UNCOLLECTIBLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class BilledPeriod:
    """A period that a correction touches, and its final document."""

    period: BillingPeriod
    invoice: Invoice


def periods_touched(*, touched: Iterable[Touched]) -> list[BilledPeriod]:
    """Return the periods with a final document that hold usage which a correction takes away or brings."""
    places = list(touched)
    # What is carried over is in the quantity of every later period, too.
    meters = Meter.objects.filter(event_type__in={place.type for place in places}, has_carry_over=True)
    carried = set(meters.values_list("event_type", flat=True))
    instants: dict[UUID, list[Any]] = {}
    carried_from: dict[UUID, datetime] = {}
    for place in places:
        instants.setdefault(place.customer_id, []).append(place.occurred_at)
        if place.type in carried:
            first = carried_from.get(place.customer_id, place.occurred_at)
            carried_from[place.customer_id] = min(first, place.occurred_at)
    if not instants:
        return []
    periods = BillingPeriod.objects.filter(
        subscription__customer_id__in=instants,
        ends_at__gt=min(min(moments) for moments in instants.values()),
        status="CLOSED",
    ).select_related("subscription__customer", "plan_version")
    found = []
    for period in periods.order_by("id"):
        moments = instants[period.subscription.customer_id]
        carried_at = carried_from.get(period.subscription.customer_id, period.ends_at)
        if carried_at < period.ends_at or any(period.starts_at <= moment < period.ends_at for moment in moments):
            invoice = invoice_selectors.invoice_live_of(period_id=period.id, kind=InvoiceKind.CYCLE)
            if invoice is not None and invoice.status in _FINAL:
                found.append(BilledPeriod(period=period, invoice=invoice))
    return found


def periods_measure(*, billed: Sequence[BilledPeriod]) -> dict[UUID, int]:
    """Return by how much each period's usage of now differs from what was billed; left out where that is not known."""
    if len(billed) > PERIODS_MEASURED_MAX:
        return {}
    amounts = {}
    for each in billed:
        try:
            amounts[each.period.id] = rerating.period_rerate(period=each.period).amount_minor
        except ReratingRefused:
            continue
    return amounts


def document_effect(*, billed: Sequence[BilledPeriod], before: Mapping[UUID, int]) -> dict[str, Any]:
    """
    Return as JSON what a correction, written and not yet committed, changes on final documents, before tax.

    :param before: what the periods differed by already, for usage that came late and is not settled yet
    """
    after = periods_measure(billed=billed)
    measured = [each for each in billed if each.period.id in before and each.period.id in after]
    return {
        "is_whole": len(measured) == len(billed),
        "documents": [
            {
                "invoice": each.invoice.public_id,
                "number": each.invoice.number,
                "period": each.period.public_id,
                "customer": each.period.subscription.customer.public_id,
                "currency": each.invoice.currency,
                "amount_minor": after[each.period.id] - before[each.period.id],
            }
            for each in measured
        ],
    }
