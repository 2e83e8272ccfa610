"""Anticipated failures of subscriptions."""

from apps.common.errors import Conflict, Invalid, NotFound


class SubscriptionUnknown(NotFound):
    """No subscription has this id or code."""

    code = "subscription_unknown"


class SubscriptionInvalid(Invalid):
    """The subscription cannot be taken as described."""

    code = "subscription_invalid"


class SubscriptionExists(Conflict):
    """The caller's code is taken."""

    code = "subscription_exists"


class PlanCurrencyDiffers(Invalid):
    """The plan is priced in another currency than the customer is billed in."""

    code = "plan_currency_differs"


class MeterChargedTwice(Conflict):
    """Two subscriptions of one customer would bill the same usage."""

    code = "meter_charged_twice"


class PeriodNotClaimed(Conflict):
    """The worker's claim ended and somebody else has the period now."""

    code = "period_not_claimed"


class PeriodNotClosed(Conflict):
    """Only a closed period can be drafted again."""

    code = "period_not_closed"


class PeriodNotParked(Conflict):
    """Only a parked period can be taken up again."""

    code = "period_not_parked"
