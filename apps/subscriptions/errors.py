"""Anticipated failures of subscriptions."""

from apps.common.errors import Conflict, Forbidden, Invalid, NotFound


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


class ChangeUnknown(NotFound):
    """No change has this id."""

    code = "change_unknown"


class ChangeInvalid(Invalid):
    """The change cannot be made as described."""

    code = "change_invalid"


class ChangeRefused(Conflict):
    """The subscription's status does not allow the change."""

    code = "change_refused"


class ChangeOutsideRunningPeriod(Conflict):
    """The change's instant does not lie inside the running period."""

    code = "change_outside_running_period"


class ChangeAlreadyScheduled(Conflict):
    """Another change is agreed for the same instant."""

    code = "change_already_scheduled"


class ChangeNotScheduled(Conflict):
    """Only a change that waits for its instant can be withdrawn."""

    code = "change_not_scheduled"


class TooManyPeriods(Conflict):
    """More periods would be opened at once than one call may open."""

    code = "too_many_periods"


class DiscountUnknown(NotFound):
    """The customer has no such discount."""

    code = "discount_unknown"


class DiscountInvalid(Invalid):
    """The coupon cannot be redeemed for this customer or subscription."""

    code = "discount_invalid"


class DiscountExists(Conflict):
    """The customer or the subscription has this coupon already."""

    code = "discount_exists"


class DiscountEnded(Conflict):
    """A discount ends once."""

    code = "discount_ended"


class OverrideUnknown(NotFound):
    """No price of this id was asked for."""

    code = "override_unknown"


class OverrideInvalid(Invalid):
    """What was asked for changes more than a price, or cannot be priced."""

    code = "override_invalid"


class OverrideDecided(Conflict):
    """A price that was asked for is decided once, and an approved one ends once."""

    code = "override_decided"


class OverrideNeedsAnother(Forbidden):
    """Whoever asked for a price does not decide it."""

    code = "override_needs_another"
