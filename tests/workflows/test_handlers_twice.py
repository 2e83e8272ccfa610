"""At least once is the baseline: every handler gets every message again, and nothing is there twice."""

import pytest
from django.apps import apps
from django.db.models import Sum

from apps.common.actors import SCHEDULE
from apps.invoices.models import Invoice
from apps.messaging.models import DomainEvent
from apps.metering.services import usage_thresholds_tell
from apps.notifications.models import Mail
from apps.payments.models import PaymentAttempt
from apps.workflows import relay, subscribers, usage_limits
from tests.builders import customers, limits, metering, plans, subscriptions
from tests.builders.subscriptions import START

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(tenant, at):
    """One customer whose card works, one whose card is declined, one near a limit: every kind of news is there."""
    plans.published_plan(code="flat", base_fee="99.00", charges=[])
    for code, token in (("pays", "tok_approve"), ("declined", "tok_decline_soft")):
        customer = customers.customer(external_id=code, email=f"{code}@house.example")
        subscriptions.payment_method(customer=customer, token=token)
        subscriptions.subscription(customer=customer, plan_code="flat")
    subscription = limits.limited(code="near", limit="10", on_exceed="notify")
    type(subscription.customer).objects.filter(id=subscription.customer_id).update(email="near@house.example")
    metering.send(*(metering.event(customer="near") for _ in range(9)), at=at)
    usage_limits.usage_limits_make_due(at=at)
    usage_thresholds_tell(actor=SCHEDULE, at=at)
    while relay.outbox_relay(wall_at=max(START, at)):
        continue
    return at


def _rows() -> dict[str, int]:
    """Return how many rows every table of the tenant has."""
    models = [model for model in apps.get_models() if model.__module__.startswith("apps.")]
    return {model._meta.label: model.objects.count() for model in models if model._meta.app_label != "tenancy"}


def _money() -> tuple:
    paid = Invoice.objects.aggregate(total=Sum("total_minor"), paid=Sum("paid_minor"))
    attempts = sorted(PaymentAttempt.objects.values_list("invoice_id", "sequence", "status"))
    return paid, attempts, sorted(Mail.objects.values_list("kind", "recipient"))


def test_every_handler_is_harmless_to_repeat(world):
    """S049, S050: each handler gets each of its messages two more times: no row, no money, no mail more."""
    rows, money = _rows(), _money()
    repeated = set()
    for topic, handlers in subscribers.SUBSCRIBERS.items():
        for event in DomainEvent.objects.filter(topic=topic).order_by("id"):
            for name, handler in handlers.items():
                for _again in range(2):
                    handler(event=event, wall_at=max(START, world))
                repeated.add((topic, name))
    everything = {(topic, name) for topic, handlers in subscribers.SUBSCRIBERS.items() for name in handlers}
    assert repeated == everything, f"no message reached {everything - repeated}: make the world bring one"
    assert {label: count for label, count in _rows().items() if count != rows[label]} == {}
    assert _money() == money
