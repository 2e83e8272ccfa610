"""Bill usage when it happens, for charges that say so: what one more event costs, document after document.

Each document bills from where the one before it ended, so however the events of a period fall into documents, the
documents sum to the price of the period. What is left at the period's end is on the document of its close.
"""

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

import structlog
from celery.exceptions import SoftTimeLimitExceeded

from apps.common import locks
from apps.common.actors import Actor
from apps.common.db import unit_of_work
from apps.common.errors import DomainError
from apps.customers import selectors as customer_selectors
from apps.engine.errors import EngineError
from apps.invoices import selectors as invoice_selectors
from apps.invoices import services as invoice_services
from apps.invoices.inputs import DraftContext
from apps.invoices.models import Invoice, InvoiceKind
from apps.metering import usage_news
from apps.subscriptions import selectors as subscription_selectors
from apps.subscriptions.models import BillingPeriod, BillingPeriodStatus, Subscription
from apps.workflows import drafting

log = structlog.get_logger(__name__)

_PAGE = 500
# Customers looked at in one tick; the rest keep their marks for the next.
_NEWS_MAX = 20_000


@unit_of_work
def usage_bill(*, subscription_id: UUID, actor: Actor, at: datetime) -> Invoice | None:
    """
    Bill what was used since the last document on charges that are billed event by event, final at once.

    Nothing is returned when nothing was used since. A document that cannot become final yet (its tax is not known)
    waits as the period's only draft of this kind and takes in what comes until it can.
    """
    subscription = locks.get_for_update(Subscription, subscription_id)
    period = subscription_selectors.current_period(subscription_id=subscription_id, at=at)
    # Locked, so that no run claims it meanwhile: a document of the close would bill the same usage.
    if period is None or locks.get_for_update(BillingPeriod, period.id).status != BillingPeriodStatus.OPEN:
        return None
    entity = invoice_selectors.billing_entity_default()
    draft = drafting.draft_build(
        subscription=subscription, period=period, following=None, kind=InvoiceKind.USAGE, entity=entity, at=at
    )
    if draft is None:
        return None
    waiting = invoice_selectors.usage_drafts_of(period_id=period.id).first()
    if waiting is not None:
        invoice = invoice_services.invoice_draft_replace(invoice_id=waiting.id, draft=draft)
    else:
        context = DraftContext(
            entity=entity,
            customer=subscription.customer,
            subscription=subscription,
            billing_period=period,
            kind=InvoiceKind.USAGE,
            finalize_after_at=at,
        )
        invoice = invoice_services.invoice_draft_store(context=context, draft=draft, actor=actor, at=at)
    if invoice.issues:
        return invoice
    return invoice_services.invoice_finalize(invoice_id=invoice.id, actor=actor, at=at)


def usage_bill_due(*, actor: Actor, at: datetime, customer_ids: list[UUID] | None = None) -> int:
    """
    Bill running subscriptions that have such charges, each in a transaction of its own; return how many were billed.

    Whoever has nothing new is not looked at: the follower marks customers with new usage, and a mark stays until all
    of it is billed. A document that waits for its tax is tried again at each tick.

    :param customer_ids: look at these customers instead, as a test clock does, whether or not there is news
    """
    if customer_ids is not None:
        return _bill(customer_ids, actor=actor, at=at)[0]
    news = usage_news.usage_news(limit=_NEWS_MAX)
    waiting = invoice_selectors.customers_with_usage_drafts()
    count, failed = _bill([*{*news, *waiting}], actor=actor, at=at)
    usage_news.usage_news_take_away(seen={id_: number for id_, number in news.items() if id_ not in failed})
    return count


def _bill(customer_ids: list[UUID], *, actor: Actor, at: datetime) -> tuple[int, set[UUID]]:
    """Return how many subscriptions of these customers were billed, and the customers of whom one could not be."""
    count, failed = 0, set()
    for subscription in _billed_per_event(customer_ids):
        customer_now = customer_selectors.customer_now(customer=subscription.customer, at=at)
        try:
            count += usage_bill(subscription_id=subscription.id, actor=actor, at=customer_now) is not None
        except SoftTimeLimitExceeded:
            raise
        except (DomainError, EngineError) as error:
            # It is tried again at the next tick, and the close of its period parks it with the reason.
            log.warning("usage not billed", subscription=subscription.public_id, detail=str(error))
            failed.add(subscription.customer_id)
        except Exception:  # noqa: BLE001  one bad account must not hold up the others; the bug is logged in full
            log.exception("usage not billed", subscription=subscription.public_id)
            failed.add(subscription.customer_id)
    return count, failed


def _billed_per_event(customer_ids: list[UUID]) -> Iterator[Subscription]:
    rows = subscription_selectors.subscriptions_billed_per_event().select_related("customer__test_clock")
    for start in range(0, len(customer_ids), _PAGE):
        yield from rows.filter(customer_id__in=customer_ids[start : start + _PAGE])
