"""Who bills usage event by event looks at those of whom there is something new, and at nobody else."""

from datetime import timedelta

import pytest

from apps.common.actors import SCHEDULE
from apps.invoices.models import Invoice, InvoiceKind
from apps.metering.models import UsageNews
from apps.workflows import advance_usage
from tests.builders import late_usage as late
from tests.builders.late_usage import JANUARY

pytestmark = pytest.mark.races

AT = JANUARY + timedelta(days=9)


def _looked_at(monkeypatch) -> list[str]:
    looked: list[str] = []
    real = advance_usage.usage_bill

    def noted(*, subscription_id, actor, at):
        looked.append(str(subscription_id))
        return real(subscription_id=subscription_id, actor=actor, at=at)

    monkeypatch.setattr(advance_usage, "usage_bill", noted)
    return looked


def test_only_customers_with_news_are_looked_at_and_each_mark_goes_once_it_is_billed(committed_tenant, monkeypatch):
    late.follow(at=AT)
    UsageNews.objects.all().delete()
    charge = {"timing": "advance"}
    _busy, busy = late.subscribed("n-busy", charges=[late.per_call("n-busy", **charge)])
    _quiet, quiet = late.subscribed("n-quiet", charges=[late.per_call("n-quiet", **charge)])
    late.used("n-busy", count=3, occurred_at=AT)
    late.follow(at=AT)
    looked = _looked_at(monkeypatch)
    assert advance_usage.usage_bill_due(actor=SCHEDULE, at=AT + timedelta(minutes=2)) == 1
    assert (looked, UsageNews.objects.count()) == ([str(busy.id)], 0)
    assert Invoice.objects.get(subscription=busy, kind=InvoiceKind.USAGE).total_minor == 30
    assert advance_usage.usage_bill_due(actor=SCHEDULE, at=AT + timedelta(minutes=3)) == 0
    assert (len(looked), str(quiet.id) in looked) == (1, False)


def test_a_mark_stays_when_billing_fails_and_when_more_came_meanwhile(committed_tenant, monkeypatch):
    late.follow(at=AT)
    UsageNews.objects.all().delete()
    customer, subscription = late.subscribed("n-fail", charges=[late.per_call("n-fail", timing="advance")])
    late.used("n-fail", count=1, occurred_at=AT)
    late.follow(at=AT)
    real = advance_usage.usage_bill

    def failing(**asked):
        raise RuntimeError("a bug")

    monkeypatch.setattr(advance_usage, "usage_bill", failing)
    assert advance_usage.usage_bill_due(actor=SCHEDULE, at=AT + timedelta(minutes=2)) == 0
    assert list(UsageNews.objects.values_list("customer_id", flat=True)) == [customer.id]

    def slow(**asked):
        invoice = real(**asked)
        late.used("n-fail", count=1, occurred_at=AT + timedelta(minutes=3))
        late.follow(at=AT + timedelta(minutes=4))
        return invoice

    monkeypatch.setattr(advance_usage, "usage_bill", slow)
    assert advance_usage.usage_bill_due(actor=SCHEDULE, at=AT + timedelta(minutes=4)) == 1
    assert list(UsageNews.objects.values_list("customer_id", flat=True)) == [customer.id]
    monkeypatch.setattr(advance_usage, "usage_bill", real)
    assert advance_usage.usage_bill_due(actor=SCHEDULE, at=AT + timedelta(minutes=5)) == 1
    assert (UsageNews.objects.count(), Invoice.objects.filter(subscription=subscription).count()) == (0, 2)
