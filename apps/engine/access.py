"""May a customer use a feature, and so many units of it: everything that was looked at goes in, the answer comes out.

The same question has the same answer for ever, so a stored question can be decided again and must come out alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

FULL_RATE: Final = Decimal(1)


class Policy(StrEnum):
    """What happens to usage above a limit."""

    REJECT = "reject"
    THROTTLE = "throttle"
    NOTIFY = "notify"


class Reason(StrEnum):
    """Why the answer is what it is."""

    GRANTED = "granted"  # a switch that is on, or a limit without end
    WITHIN_LIMIT = "within_limit"
    ABOVE_LIMIT = "above_limit"  # allowed: the limit only notifies
    THROTTLED = "throttled"  # allowed: the caller is asked to slow down
    QUOTA_EXCEEDED = "quota_exceeded"  # refused by a limit of the plan
    CAP_EXCEEDED = "cap_exceeded"  # refused by a cap that the customer set
    NOT_GRANTED = "not_granted"  # no running plan and no grant has the feature
    SWITCHED_OFF = "switched_off"  # a grant takes the feature away


class Standing(StrEnum):
    """How the customer stands with the tenant. Dunning will add the others; nothing else may look at payment."""

    GOOD = "GOOD"


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitState:
    """
    One limit and what is used of it at this moment.

    `is_largest` counts the largest value instead of adding up, so an event only matters if it is larger still.
    """

    limit_id: str
    policy: Policy
    limit_units: Decimal
    used_units: Decimal
    resets_at: datetime | None = None
    is_own_cap: bool = False
    is_largest: bool = False

    @property
    def remaining_units(self) -> Decimal:
        """Return what is left, never below nothing."""
        return max(self.limit_units - self.used_units, Decimal(0))

    def used_with(self, units: Decimal) -> Decimal:
        """Return what would be used with so many units more."""
        return max(self.used_units, units) if self.is_largest else self.used_units + units

    def takes(self, units: Decimal | None) -> bool:
        """Return whether so many units fit below the limit; None asks whether anything at all does."""
        if units is None:
            return self.is_largest or self.used_units < self.limit_units
        # Nothing asked takes nothing, also where a limit was lowered below what is used already.
        return self.used_with(units) <= self.limit_units or self.used_with(units) == self.used_units


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessQuestion:
    """Everything that is looked at; `ceiling_units` is a limit that nothing is counted against, such as seats."""

    is_granted: bool
    is_switched_off: bool = False
    asked_units: Decimal | None = None
    ceiling_units: Decimal | None = None
    limits: Sequence[LimitState] = ()
    throttled_rate: Decimal = FULL_RATE
    standing: Standing = Standing.GOOD


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessDecision:
    """The answer: whether, why, by which limit, and how fast."""

    is_allowed: bool
    reason: Reason
    limit: LimitState | None = None
    limit_units: Decimal | None = None
    used_units: Decimal | None = None
    remaining_units: Decimal | None = None
    resets_at: datetime | None = None
    rate_factor: Decimal = FULL_RATE
    standing: Standing = Standing.GOOD


def decide_access(question: AccessQuestion) -> AccessDecision:
    """Decide: the feature must be there, every limit that refuses must hold, and the tightest limit is named."""
    if question.is_switched_off or not question.is_granted:
        why = Reason.SWITCHED_OFF if question.is_switched_off else Reason.NOT_GRANTED
        return AccessDecision(is_allowed=False, reason=why, standing=question.standing)
    if not question.limits:
        return _decide_unmetered(question)
    return _decide_metered(question)


def _decide_metered(question: AccessQuestion) -> AccessDecision:
    asked = question.asked_units
    broken = [limit for limit in question.limits if limit.policy is Policy.REJECT and not limit.takes(asked)]
    shown = min(broken or question.limits, key=_tightness)
    answer = AccessDecision(
        is_allowed=not broken,
        reason=Reason.WITHIN_LIMIT,
        limit=shown,
        limit_units=shown.limit_units,
        used_units=shown.used_units,
        remaining_units=shown.remaining_units,
        resets_at=shown.resets_at,
        standing=question.standing,
    )
    if broken:
        return replace(answer, reason=Reason.CAP_EXCEEDED if shown.is_own_cap else Reason.QUOTA_EXCEEDED)
    if any(limit.policy is Policy.THROTTLE and limit.used_units > limit.limit_units for limit in question.limits):
        return replace(answer, reason=Reason.THROTTLED, rate_factor=question.throttled_rate)
    if any(not limit.takes(asked) for limit in question.limits):
        return replace(answer, reason=Reason.ABOVE_LIMIT)
    return answer


def _decide_unmetered(question: AccessQuestion) -> AccessDecision:
    ceiling, asked = question.ceiling_units, question.asked_units
    if ceiling is None:
        return AccessDecision(is_allowed=True, reason=Reason.GRANTED, standing=question.standing)
    is_allowed = ceiling > 0 if asked is None else asked <= ceiling
    return AccessDecision(
        is_allowed=is_allowed,
        reason=Reason.WITHIN_LIMIT if is_allowed else Reason.QUOTA_EXCEEDED,
        limit_units=ceiling,
        standing=question.standing,
    )


def _tightness(limit: LimitState) -> tuple[Decimal, bool, str]:
    # A limit that refuses says more than one that tells, where as much is left of both.
    return (limit.limit_units - limit.used_units, limit.policy is not Policy.REJECT, limit.limit_id)


def question_to_document(question: AccessQuestion) -> dict[str, Any]:
    """Return a question as JSON, exactly: numbers are texts."""
    return {
        "is_granted": question.is_granted,
        "is_switched_off": question.is_switched_off,
        "asked_units": _text(question.asked_units),
        "ceiling_units": _text(question.ceiling_units),
        "throttled_rate": str(question.throttled_rate),
        "standing": str(question.standing),
        "limits": [
            {
                "limit_id": limit.limit_id,
                "policy": str(limit.policy),
                "limit_units": str(limit.limit_units),
                "used_units": str(limit.used_units),
                "resets_at": limit.resets_at.isoformat() if limit.resets_at else None,
                "is_own_cap": limit.is_own_cap,
                "is_largest": limit.is_largest,
            }
            for limit in question.limits
        ],
    }


def question_from_document(document: Mapping[str, Any]) -> AccessQuestion:
    """Return the question that a stored document asks."""
    return AccessQuestion(
        is_granted=document["is_granted"],
        is_switched_off=document["is_switched_off"],
        asked_units=_decimal(document["asked_units"]),
        ceiling_units=_decimal(document["ceiling_units"]),
        throttled_rate=Decimal(document["throttled_rate"]),
        standing=Standing(document["standing"]),
        limits=tuple(
            LimitState(
                limit_id=limit["limit_id"],
                policy=Policy(limit["policy"]),
                limit_units=Decimal(limit["limit_units"]),
                used_units=Decimal(limit["used_units"]),
                resets_at=datetime.fromisoformat(limit["resets_at"]) if limit["resets_at"] else None,
                is_own_cap=limit["is_own_cap"],
                is_largest=limit["is_largest"],
            )
            for limit in document["limits"]
        ),
    )


def _text(number: Decimal | None) -> str | None:
    return None if number is None else str(number)


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
