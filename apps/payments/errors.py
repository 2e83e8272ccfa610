"""Anticipated failures of collecting."""

from apps.common.errors import Conflict, Invalid, NotFound


class PaymentUnknown(NotFound):
    """No payment has this id."""

    code = "payment_unknown"


class NothingToCollect(Conflict):
    """Nothing is owed on the invoice."""

    code = "nothing_to_collect"


class AttemptInProgress(Conflict):
    """One attempt at a time: an open one must have its outcome first."""

    code = "attempt_in_progress"


class PaymentMethodMissing(Conflict):
    """The customer has no method that may be charged."""

    code = "payment_method_missing"


class AttemptNotResolvable(Conflict):
    """Only an attempt whose outcome is not known can be looked up."""

    code = "attempt_not_resolvable"


class GatewayUnknown(Invalid):
    """No gateway has this name."""

    code = "gateway_unknown"
