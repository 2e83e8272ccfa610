"""A status is read again without taking its protection off, whatever other threads do meanwhile."""

import pytest

from apps.common.actors import OPERATOR
from apps.subscriptions import services
from apps.subscriptions.models import Subscription, SubscriptionStatus
from tests.builders import customers, plans, subscriptions
from tests.races import race


def test_many_refresh_at_once_and_none_is_refused(committed_tenant):
    """The package's own refresh opens the field for the whole process; two at once made one of them fail."""
    plans.published_plan(code="refreshed", base_fee="1.00", charges=[])
    rows = [
        subscriptions.subscription(
            customer=customers.customer(external_id=f"refreshed-{number}"), plan_code="refreshed"
        )
        for number in range(8)
    ]

    def refresh(subscription: Subscription) -> str:
        for _turn in range(60):
            subscription.refresh_from_db()
        return str(subscription.status)

    answers = race(committed_tenant, [lambda row=row: refresh(row) for row in rows])
    assert answers == [SubscriptionStatus.ACTIVE] * 8
    with pytest.raises(AttributeError, match="not allowed"):
        rows[0].status = SubscriptionStatus.ENDED


@pytest.mark.django_db
def test_a_refresh_sees_the_row_and_a_failed_one_changes_nothing(tenant):
    plans.published_plan(code="small", base_fee="1.00", charges=[])
    customer = customers.customer(external_id="acme")
    one = subscriptions.subscription(customer=customer, plan_code="small")
    other = Subscription.objects.get(id=one.id)
    services.subscription_end(subscription_id=one.id, actor=OPERATOR, at=one.starts_at, reason=("", ""))
    other.refresh_from_db(fields=["quantity"])
    other.refresh_from_db()
    assert other.status == SubscriptionStatus.ENDED
    gone = Subscription(id=one.id)
    gone.id = customer.id
    with pytest.raises(Subscription.DoesNotExist):
        gone.refresh_from_db()
    assert gone.status == SubscriptionStatus.PENDING
