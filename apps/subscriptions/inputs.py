"""What callers say about a change, as values."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum


class Timing(StrEnum):
    """When a change is to take effect."""

    NOW = "now"  # at the instant of the request, or at the one that a preview named
    PERIOD_END = "period_end"  # when the running period is over
    AT = "at"  # at a named instant to come


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """The instant of a change and how it divides the fixed fees; `proration` None: as the plan says."""

    timing: Timing = Timing.NOW
    effective_at: datetime | None = None  # with NOW: the instant of a preview; with AT: the one that is agreed
    proration: str | None = None
    reason_code: str = ""
    comment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TermsChange:
    """Another plan, another version of it, another quantity, or several of these."""

    plan_code: str | None = None
    plan_version: int | None = None
    quantity: Decimal | None = None
