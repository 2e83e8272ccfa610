"""The port to whoever moves money. Gateways are reached through it and chosen by name in the settings."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from django.conf import settings
from django.utils.module_loading import import_string

from apps.payments.errors import GatewayUnknown


class OutcomeKind(StrEnum):
    """What a gateway told us."""

    SUCCEEDED = "succeeded"  # the money was taken
    PENDING = "pending"  # accepted, not decided yet; look it up later
    DECLINED = "declined"  # nothing was taken, for sure
    ABSENT = "absent"  # a look-up found no such charge: nothing happened, for sure
    UNKNOWN = "unknown"  # no answer was heard; something may have happened


class FailureKind(StrEnum):
    """Whether another try can make sense."""

    SOFT = "soft"  # e.g. no funds today
    HARD = "hard"  # never again with this method


# Every code a gateway may report is in here; an unlisted one is a bug report, not a guess.
FAILURE_KINDS: dict[str, FailureKind] = {
    "insufficient_funds": FailureKind.SOFT,
    "processing_error": FailureKind.SOFT,
    "request_never_arrived": FailureKind.SOFT,
    "stolen_card": FailureKind.HARD,
    "expired_card": FailureKind.HARD,
    "method_not_supported": FailureKind.HARD,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeRequest:
    """What we ask a gateway to take. The key is derived from the attempt: the same try is the same request."""

    idempotency_key: str
    token: str
    amount_minor: int
    currency: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeOutcome:
    """What came of it."""

    kind: OutcomeKind
    reference: str = ""
    failure_code: str = ""


class Gateway(Protocol):
    """Whoever can take money."""

    def charge(self, request: ChargeRequest, *, at: datetime) -> ChargeOutcome:
        """Take the amount; the same key and request get the first answer again. A timeout is UNKNOWN, not raised."""
        ...

    def look_up(self, idempotency_key: str, *, at: datetime) -> ChargeOutcome:
        """Return what became of a charge; ABSENT when the gateway never saw it."""
        ...


def gateway_named(name: str) -> Gateway:
    """
    Return the gateway of this name.

    :raises GatewayUnknown: if the settings know none
    """
    if name not in settings.PAYMENT_GATEWAYS:
        raise GatewayUnknown(f"There is no gateway '{name}'; known: {', '.join(sorted(settings.PAYMENT_GATEWAYS))}.")
    gateway: Gateway = import_string(settings.PAYMENT_GATEWAYS[name])()
    return gateway
