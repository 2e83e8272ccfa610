"""
Where usage gets lost between the meter and the document: events that nobody bills, with what they may be worth.

Money is exact where it is known (late usage was rated) and an estimate everywhere else: the average of what this
tenant's usage lines of a hundred days came to per event. It says where to look, not what to book.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from apps.common.db import fetch_report
from apps.engine.exact import Rounding, round_ratio
from apps.metering import alerts
from apps.metering.unmatched import REMEDIES
from apps.metering.watching_models import AlertKind
from apps.workflows import usage_leakage_sql

RATE_SPAN: Final = timedelta(days=100)
LINES_MAX: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """Usage that no document bills: where it is lost, of what, how many events, since when, and what to do."""

    place: str
    subject: str
    events: int
    since: str
    remedy: str
    at_risk: Mapping[str, int] = field(default_factory=dict)
    is_estimated: bool = True


@dataclass(frozen=True, slots=True)
class _Rate:
    """What events come to on average, per currency: the sum of lines over the events behind all of them."""

    minor: Mapping[str, int]
    events: int

    def worth(self, count: int) -> dict[str, int]:
        """Return what so many events come to on average; nothing before there is a document to go by."""
        if not self.events:
            return {}
        return {code: round_ratio(minor * count, self.events, Rounding.HALF_EVEN) for code, minor in self.minor.items()}


def leakage(*, starts_at: datetime, ends_at: datetime, at: datetime) -> list[Leak]:
    """Return what was used between two instants and is on no document, place by place, the most first."""
    rows = fetch_report(usage_leakage_sql.RATE_OF_ALL, {"since": at - RATE_SPAN})
    rate = _Rate({currency: minor for currency, minor, _events in rows}, sum(events or 0 for *_sums, events in rows))
    bounds = {"starts_at": starts_at, "ends_at": ends_at, "limit": LINES_MAX}
    return [
        *_missing(),
        *_quarantined(rate),
        *_unmatched(bounds, rate),
        *_uncharged(bounds, rate),
        *_zero(bounds),
        *_late(),
    ]


def totals_at_risk(*, leaks: list[Leak]) -> dict[str, int]:
    """Return the money of all leaks per currency; currencies are never added."""
    totals: dict[str, int] = {}
    for leak in leaks:
        for currency, minor in leak.at_risk.items():
            totals[currency] = totals.get(currency, 0) + minor
    return totals


def _missing() -> Iterator[Leak]:
    live = alerts.alerts_live().filter(kind__in=[AlertKind.LOSS.value, AlertKind.SILENCE.value]).order_by("kind", "id")
    for alert in live:
        yield Leak(
            place="Never arrived",
            subject=alert.subject,
            events=int(alert.facts.get("missing", alert.facts.get("due", 0))),
            since=alert.opened_at.date().isoformat(),
            remedy="Ask the source to send again what the alert names; what is here already counts once.",
            at_risk=alert.at_risk,
        )


def _quarantined(rate: _Rate) -> Iterator[Leak]:
    for code, count, since in fetch_report(usage_leakage_sql.QUARANTINED):
        yield Leak(
            place="Refused",
            subject=code,
            events=count,
            since=since.date().isoformat(),
            remedy="Repair the cause, then replay the events from quarantine.",
            at_risk=rate.worth(count),
        )


def _unmatched(bounds: Mapping[str, object], rate: _Rate) -> Iterator[Leak]:
    for event_type, reason, count, since in fetch_report(usage_leakage_sql.UNMATCHED, bounds):
        yield Leak(
            place="Counted by no meter",
            subject=f"{event_type} ({reason})",
            events=count,
            since=since.isoformat(),
            remedy=REMEDIES[reason],
            at_risk=rate.worth(count),
        )


def _uncharged(bounds: Mapping[str, object], rate: _Rate) -> Iterator[Leak]:
    for customer, meter, count, since in fetch_report(usage_leakage_sql.UNCHARGED, bounds):
        yield Leak(
            place="Charged by no plan",
            subject=f"{customer}, {meter}",
            events=count,
            since=since.date().isoformat(),
            remedy="The customer had no subscription whose plan charges this meter: subscribe it, or leave it free.",
            at_risk=rate.worth(count),
        )


def _zero(bounds: Mapping[str, object]) -> Iterator[Leak]:
    for code, currency, lines, count, since in fetch_report(usage_leakage_sql.ZERO_PRICED, bounds):
        yield Leak(
            place="Priced at nothing",
            subject=f"{code} in {currency}, {lines} {'line' if lines == 1 else 'lines'}",
            events=count or 0,
            since=since.date().isoformat(),
            remedy="Within what the plan includes this is right; else look at the tiers of the charge.",
        )


def _late() -> Iterator[Leak]:
    for currency, windows, count, minor, since in fetch_report(usage_leakage_sql.LATE):
        yield Leak(
            place="Late and not settled",
            subject=f"{windows} billed windows",
            events=count or 0,
            since=since.date().isoformat(),
            remedy="Settle it in the inbox of late usage.",
            at_risk={currency: minor} if currency and minor else {},
            is_estimated=False,
        )
