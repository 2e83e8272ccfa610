"""Of which customers there is new usage: marked by the follower, taken away by who has looked at it."""

from collections.abc import Mapping
from uuid import UUID

from apps.common.db import unit_of_work
from apps.metering.models import UsageNews


def usage_news(*, limit: int) -> dict[UUID, int]:
    """Return the customers of whom there is news, longest waiting first, each with the number of its news."""
    return dict(UsageNews.objects.order_by("received_at", "customer_id").values_list("customer_id", "number")[:limit])


@unit_of_work
def usage_news_take_away(*, seen: Mapping[UUID, int]) -> None:
    """Forget news that was looked at; what came meanwhile has another number and stays."""
    for customer_id, number in sorted(seen.items()):
        UsageNews.objects.filter(customer_id=customer_id, number=number).delete()
