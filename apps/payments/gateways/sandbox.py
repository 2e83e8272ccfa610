"""A processor for trying things out: it keeps its own book and misbehaves on request.

The outcome is chosen by the payment method's token:

    tok_approve          takes the money
    tok_decline_soft     declines: insufficient_funds
    tok_decline_hard     declines: stolen_card
    tok_timeout_before   no answer, and nothing was taken
    tok_timeout_after    no answer, although the money was taken
    tok_delayed          accepted, decided an hour later

Like real processors it answers a repeated key from its book and refuses a key that comes with another request.
"""

import hashlib
from datetime import datetime, timedelta

from django.db import transaction

from apps.common.db import require_no_transaction
from apps.payments.gateways.base import ChargeOutcome, ChargeRequest, OutcomeKind
from apps.payments.models import SandboxCharge

DELAY = timedelta(hours=1)

_DECLINES = {"tok_decline_soft": "insufficient_funds", "tok_decline_hard": "stolen_card"}
_CAPTURES = ("tok_approve", "tok_timeout_after", "tok_delayed")


class IdempotencyKeyReused(RuntimeError):
    """The key was used for another request before: a bug on our side, refused as a real processor would."""


class SandboxGateway:
    """The sandbox processor."""

    def charge(self, request: ChargeRequest, *, at: datetime) -> ChargeOutcome:
        """
        Take the amount, or do what the token asks for.

        :raises IdempotencyKeyReused: if the key was used for another request
        """
        require_no_transaction()
        if request.token == "tok_timeout_before":
            return ChargeOutcome(kind=OutcomeKind.UNKNOWN)
        charge = self._book(request, at)
        if request.token == "tok_timeout_after":
            return ChargeOutcome(kind=OutcomeKind.UNKNOWN)
        return _outcome(charge, at=at)

    def look_up(self, idempotency_key: str, *, at: datetime) -> ChargeOutcome:
        """Return what the book says about a key."""
        require_no_transaction()
        charge = SandboxCharge.objects.filter(idempotency_key=idempotency_key).first()
        return _outcome(charge, at=at) if charge else ChargeOutcome(kind=OutcomeKind.ABSENT)

    @staticmethod
    def _book(request: ChargeRequest, at: datetime) -> SandboxCharge:
        request_hash = hashlib.sha256(
            f"{request.token}\n{request.amount_minor}\n{request.currency}".encode()
        ).hexdigest()
        failure_code = _DECLINES.get(request.token, "" if request.token in _CAPTURES else "method_not_supported")
        # The processor's own transaction: its book survives whatever happens on our side.
        with transaction.atomic():
            charge, _ = SandboxCharge.objects.get_or_create(
                idempotency_key=request.idempotency_key,
                defaults={
                    "request_hash": request_hash,
                    "token": request.token,
                    "amount_minor": request.amount_minor,
                    "currency": request.currency,
                    "outcome": "declined" if failure_code else "captured",
                    "failure_code": failure_code,
                    "reference": f"sbx_{hashlib.sha256(request.idempotency_key.encode()).hexdigest()[:24]}",
                    "received_at": at,
                    "settles_at": at + DELAY if request.token == "tok_delayed" else None,
                },
            )
        if charge.request_hash != request_hash:
            raise IdempotencyKeyReused(f"The key {request.idempotency_key} was used for another request.")
        return charge


def _outcome(charge: SandboxCharge, *, at: datetime) -> ChargeOutcome:
    if charge.settles_at is not None and at < charge.settles_at:
        return ChargeOutcome(kind=OutcomeKind.PENDING, reference=charge.reference)
    if charge.outcome == "declined":
        return ChargeOutcome(kind=OutcomeKind.DECLINED, reference=charge.reference, failure_code=charge.failure_code)
    return ChargeOutcome(kind=OutcomeKind.SUCCEEDED, reference=charge.reference)
