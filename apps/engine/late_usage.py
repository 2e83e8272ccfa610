"""
What becomes of usage by when it comes, and when a document stops waiting for it.

Rules: usage belongs to the period in which it occurred, for ever. While that period runs or its document is a draft, it
is billed there like any other. Once the document is final, a difference follows by policy; a document that is final is
never opened. A document does not become final before its window is closed (some minutes after the end, for what is on
its way), before its grace is over, and under `hold` before its sources have told of the whole period, but then not for
ever: the longest hold ends it. So every event has exactly one place, whatever its two times are.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from apps.engine.errors import InvalidTerms
from apps.engine.periods import Period

# Most systems deliver within this time; a window that closed earlier would call on-time usage late.
CLOSE_TOLERANCE: Final = timedelta(minutes=10)


class Policy(StrEnum):
    """What becomes of a difference that comes after the document was final."""

    NEXT_INVOICE = "next_invoice"
    OWN_DOCUMENT = "own_document"
    HOLD = "hold"


class DocumentState(StrEnum):
    """What there is of the document of a period."""

    NONE_YET = "none_yet"  # the period runs, or waits for its close
    DRAFT = "draft"
    FINAL = "final"
    NOT_BILLED = "not_billed"  # the period bills no usage: a trial, a pause


class Place(StrEnum):
    """Where usage is billed."""

    OUTSIDE = "outside"  # it occurred in another period
    OWN_PERIOD = "own_period"  # on the document that its period will have
    DRAFT = "draft"  # on the draft that there is, when it is refreshed
    SEEN = "seen"  # on the final document, which had seen it
    ADJUSTMENT = "adjustment"  # as the difference on the customer's next document
    OWN_DOCUMENT = "own_document"  # as the difference on a document of its own, at once
    NOTHING_DUE = "nothing_due"  # nowhere: its period bills no usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """Until when a document waits for usage; all instants are of the customer's clock."""

    ends_at: datetime
    grace: timedelta
    policy: Policy
    hold_max: timedelta
    tolerance: timedelta = CLOSE_TOLERANCE

    def __post_init__(self) -> None:
        if min(self.grace, self.hold_max, self.tolerance) < timedelta(0):
            raise InvalidTerms("must not be below zero; give a length of time", path="grace")

    @property
    def window_closes_at(self) -> datetime:
        """From when on what comes is late, though the draft still takes it in."""
        return self.ends_at + self.tolerance

    @property
    def final_from_at(self) -> datetime:
        """The earliest moment at which the document may be final."""
        return max(self.window_closes_at, self.ends_at + self.grace)

    @property
    def final_until_at(self) -> datetime:
        """The moment from which on nothing holds the document any more."""
        if self.policy is not Policy.HOLD:
            return self.final_from_at
        return max(self.final_from_at, self.ends_at + self.hold_max)


def may_be_final(*, closing: Closing, watermark: datetime | None, now: datetime) -> bool:
    """
    Tell whether a document may become final.

    :param watermark: up to when all sources have told of their usage; None when no source is known to be waited for
    """
    if now < closing.final_from_at:
        return False
    if closing.policy is not Policy.HOLD or now >= closing.final_until_at:
        return True
    return watermark is None or watermark >= closing.ends_at


def place_usage(
    *, occurred_at: datetime, period: Period, document: DocumentState, is_seen: bool, policy: Policy
) -> Place:
    """
    Return where usage is billed as things stand.

    When it was received does not matter: what matters is whether the final document had seen it.

    :param is_seen: whether the snapshot that the final document was rated under shows it
    """
    if not period.contains(occurred_at):
        return Place.OUTSIDE
    return place_in_period(document=document, is_seen=is_seen, policy=policy)


def place_in_period(*, document: DocumentState, is_seen: bool, policy: Policy) -> Place:
    """Return where usage that belongs to a period is billed as things stand."""
    if document is DocumentState.NONE_YET:
        return Place.OWN_PERIOD
    if document is DocumentState.DRAFT:
        return Place.DRAFT
    if document is DocumentState.NOT_BILLED:
        return Place.NOTHING_DUE
    if is_seen:
        return Place.SEEN
    # What was held for and came later still is late like any other.
    return Place.OWN_DOCUMENT if policy is Policy.OWN_DOCUMENT else Place.ADJUSTMENT


def is_approved_by_rule(*, amount_minor: int, bound_minor: int) -> bool:
    """Tell whether a difference, in minor units, is small enough to be billed or given back without a person."""
    return abs(amount_minor) <= bound_minor
