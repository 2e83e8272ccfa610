"""Workers that look for the same work share it by row locks: whoever comes first does it, nobody does it again."""

import pytest

from apps.common.actors import SCHEDULE
from apps.invoices.models import Adjustment
from apps.metering import following
from apps.metering.limit_models import UsageLimit, UsageLimitChange
from apps.metering.models import LateUsage, UsageSource
from apps.workflows import late_settlement, usage_limits
from tests.builders import late_usage as late
from tests.builders.late_usage import FEBRUARY, JANUARY
from tests.races import race

pytestmark = pytest.mark.races

AFTER_GRACE = FEBRUARY.replace(day=2, hour=6)
LATER = FEBRUARY.replace(day=3)
CODES = ("shared-1", "shared-2", "shared-3")
LATE_EACH = 4
WORKERS = 3


def test_workers_share_customers_and_none_is_done_twice(committed_tenant):
    """S068: following, making limits and settling what came late, three workers at once over the same customers."""
    features = {"calls": {"limit": "100", "meter": "", "on_exceed": "reject"}}
    subscriptions = []
    for code in CODES:
        own = {"calls": {**features["calls"], "meter": code}}
        _customer, subscription = late.subscribed(code, features=own)
        late.finalized(subscription, ends_at=FEBRUARY, at=AFTER_GRACE)
        # A source of the test's own tells whether an event was followed twice.
        late.used(
            code, count=LATE_EACH, occurred_at=FEBRUARY.replace(month=1, day=31), at=AFTER_GRACE, source="shared-edge"
        )
        subscriptions.append(subscription)
    people = [subscription.customer_id for subscription in subscriptions]

    made = race(
        committed_tenant,
        [lambda: usage_limits.usage_limits_make(customer_ids=people, actor=SCHEDULE, at=LATER, since=JANUARY)]
        * WORKERS,
    )
    assert all(isinstance(count, int) for count in made), made
    live = UsageLimit.objects.filter(customer_id__in=people, withdrawn_at__isnull=True)
    windows = [(limit.customer_id, limit.starts_at, limit.ends_at) for limit in live]
    assert {customer for customer, _starts, _ends in windows} == set(people)
    assert len(windows) == len(set(windows))
    assert UsageLimitChange.objects.filter(limit__in=live).count() == len(windows)

    race(committed_tenant, [lambda: following.usage_follow(at=LATER)] * WORKERS)
    late.follow(at=LATER)
    assert UsageSource.objects.get(source="shared-edge").event_count == LATE_EACH * len(CODES)
    found = LateUsage.objects.filter(window__customer_id__in=people)
    assert sorted(found.values_list("event_count", flat=True)) == [LATE_EACH] * len(CODES)

    periods = [late.period_of(subscription).id for subscription in subscriptions]
    settled = race(
        committed_tenant,
        [lambda: late_settlement.late_usage_settle_due(at=LATER, period_ids=periods)] * WORKERS,
    )
    assert all(isinstance(count, int) for count in settled), settled
    amounts = Adjustment.objects.filter(subscription__in=subscriptions).values_list("amount_minor", flat=True)
    assert list(amounts) == [LATE_EACH * 10] * len(CODES)
