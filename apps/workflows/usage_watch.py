"""
Watch the metering: what is missing, late, silent or unusual becomes an alert, with the money at risk.

It reads what the follower keeps of sources, never the firehose; once a minute for sources, every quarter of an hour for
unusual usage.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final

from apps.common import formatting
from apps.common.actors import Actor
from apps.common.db import fetch_all, unit_of_work
from apps.engine import usage_watch as rules
from apps.engine.exact import Rounding, round_ratio
from apps.metering import alerts, anomalies, sources, watching
from apps.metering.alerts import AlertFinding
from apps.metering.models import UsageFollower
from apps.metering.sources import SourceWindows
from apps.metering.watching import WatchTerms
from apps.metering.watching_models import AlertKind, UsageAlert
from apps.workflows import usage_watch_sql

RECENT_SPAN: Final = timedelta(minutes=15)
# From this share of a source's recent events on, they are late as a rule and not by exception.
LATE_SHARE_BPS: Final = 500
RATE_SPAN: Final = timedelta(days=100)
_RATE_EVENTS_MAX: Final = 10_000
_SOURCE_KINDS: Final = (AlertKind.LOSS, AlertKind.SILENCE, AlertKind.DELAY, AlertKind.CLOCK, AlertKind.BACKLOG)


@unit_of_work
def sources_watch(*, actor: Actor, at: datetime) -> list[UsageAlert]:
    """Look at every source once, bring their alerts in line, and return those that are newly open."""
    terms = watching.watch_terms()
    sources.heartbeats_count(at=at)
    findings = [*_losses(terms, at), *_silences(at), *_delays(terms, at), *_clocks(terms, at), *_backlog(terms, at)]
    opened = alerts.alerts_settle(kinds=_SOURCE_KINDS, findings=findings, actor=actor, at=at)
    sources.sequences_judge_next(at=at)
    return opened


@unit_of_work
def unusual_usage_watch(*, actor: Actor, at: datetime) -> list[UsageAlert]:
    """Compare each customer's last whole hour of each meter with its usual one, and bring the alerts in line."""
    findings = []
    for unusual in anomalies.unusual_hours(hour_at=anomalies.hour_judged(at=at)):
        anomaly = unusual.anomaly
        share = "" if anomaly.percent is None else f", {anomaly.percent} % of it"
        value, usual = formatting.number_text(anomaly.value), formatting.number_text(anomaly.usual)
        findings.append(
            AlertFinding(
                kind=AlertKind.ANOMALY,
                subject=unusual.subject,
                sentence=f"{value} {unusual.unit_name} in the hour from {formatting.instant_text(unusual.hour_at)}; "
                f"usual at this hour are {usual}{share}.",
                facts={"hour": unusual.hour_at.isoformat(), "value": str(anomaly.value), "usual": str(anomaly.usual)},
            )
        )
    return alerts.alerts_settle(kinds=[AlertKind.ANOMALY], findings=findings, actor=actor, at=at)


def money_at_risk(*, source: str, events: int, at: datetime) -> dict[str, int]:
    """
    Estimate what missing events of a source are worth, in minor units per currency.

    The average of what the usage lines of the last hundred days came to per event, of the customers that the source's
    latest hour speaks of. Tiers, minimums and included units are in that average as they were; a first document is
    needed before there is one.
    """
    since = at - RATE_SPAN
    asked = {"source": source, "since": since, "events_max": _RATE_EVENTS_MAX}
    rows = fetch_all(usage_watch_sql.RATE_OF_SOURCE, asked)
    counted = sum(count or 0 for _currency, _minor, count in rows)
    if not counted:
        return {}
    return {currency: round_ratio(minor * events, counted, Rounding.HALF_EVEN) for currency, minor, _count in rows}


def _losses(terms: WatchTerms, at: datetime) -> Iterator[AlertFinding]:
    worst: dict[str, tuple[SourceWindows, rules.Loss]] = {}
    for counted in sources.counted_windows(at=at):
        loss = rules.find_loss(counted.windows, limit_bps=terms.loss_alert_bps)
        # A source may number its events and send heartbeats, too; what says more is missing is told.
        if loss is not None and (counted.source not in worst or loss.missing > worst[counted.source][1].missing):
            worst[counted.source] = (counted, loss)
    for source, (counted, loss) in worst.items():
        risk = money_at_risk(source=source, events=loss.missing, at=at)
        yield AlertFinding(
            kind=AlertKind.LOSS,
            subject=source,
            sentence=f"{formatting.number_text(loss.missing)} of {formatting.number_text(loss.expected)} events are "
            f"missing ({_percent(loss.missing_bps)} %), by the source's own "
            f"{'numbers' if counted.counted_by == 'sequence' else 'heartbeats'} of the last seven days. Worst: "
            f"{formatting.number_text(loss.worst.missing)} of {formatting.number_text(loss.worst.expected)} in the "
            f"window from {formatting.instant_text(loss.worst.starts_at)}.{_risk_words(risk)}",
            facts={
                "counted_by": counted.counted_by,
                "expected": loss.expected,
                "missing": loss.missing,
                "missing_bps": loss.missing_bps,
                "missing_ranges": [list(pair) for pair in counted.missing_ranges],
                "limit_bps": terms.loss_alert_bps,
            },
            at_risk=risk,
        )


def _silences(at: datetime) -> Iterator[AlertFinding]:
    for rhythm in sources.rhythms_of_the_quiet(at=at, quiet=rules.SILENT_SPAN_MIN):
        quiet = at - rhythm.last_received_at
        # A day of silence says all that can be said; the weeks before it are then its rhythm no more.
        since = max(rhythm.last_received_at, at - timedelta(days=1))
        due = rules.events_due(since=since, at=at, counts=rhythm.counts)
        if rules.is_silent(quiet=quiet, due=due):
            risk = money_at_risk(source=rhythm.source, events=due, at=at)
            yield AlertFinding(
                kind=AlertKind.SILENCE,
                subject=rhythm.source,
                sentence=f"Nothing for {formatting.age_text(rhythm.last_received_at, at)}; by the same hours of the "
                f"week before, {formatting.number_text(due)} events should have come.{_risk_words(risk)}",
                facts={"last_received_at": rhythm.last_received_at.isoformat(), "due": due},
                at_risk=risk,
            )


def _delays(terms: WatchTerms, at: datetime) -> Iterator[AlertFinding]:
    for delays in sources.delays_recent(since=at - RECENT_SPAN):
        late = delays.count_above(bound_ms=terms.delay_alert_seconds * 1000)
        if late and late * 10_000 >= LATE_SHARE_BPS * delays.timed_count:
            largest = timedelta(milliseconds=delays.delay_ms_max)
            yield AlertFinding(
                kind=AlertKind.DELAY,
                subject=delays.source,
                sentence=f"{formatting.number_text(late)} of the last {formatting.number_text(delays.timed_count)} "
                f"events came more than {terms.delay_alert_seconds} s after they occurred, the latest after "
                f"{formatting.age_text(at - largest, at)}.",
                facts={"late": late, "timed": delays.timed_count, "delay_ms_max": delays.delay_ms_max},
            )


def _clocks(terms: WatchTerms, at: datetime) -> Iterator[AlertFinding]:
    for source, ahead_ms in sources.clocks_ahead(since=at - timedelta(days=1), limit=terms.clock_ahead):
        yield AlertFinding(
            kind=AlertKind.CLOCK,
            subject=source,
            sentence=f"Its clock runs at least {formatting.number_text(ahead_ms // 1000)} s ahead of ours: events "
            "arrive before they occurred, and near a boundary they fall into the next period.",
            facts={"ahead_ms": ahead_ms},
        )


def _backlog(terms: WatchTerms, at: datetime) -> Iterator[AlertFinding]:
    """Tell when the follower, which moves on every few seconds whether events come or not, stands still."""
    moved_at = UsageFollower.objects.values_list("moved_at", flat=True).first()
    if moved_at is not None and at - moved_at > terms.delay:
        yield AlertFinding(
            kind=AlertKind.BACKLOG,
            subject="follower",
            sentence=f"The follower has not moved on for {formatting.age_text(moved_at, at)}: late usage is not found, "
            "and sources look silent. A transaction that was left open holds it up, or the worker stands still.",
            facts={"moved_at": moved_at.isoformat()},
        )


def _percent(bps: int) -> str:
    return f"{bps // 100}.{bps % 100:02d}"


def _risk_words(risk: Mapping[str, int]) -> str:
    if not risk:
        return ""
    amounts = ", ".join(formatting.money_text(minor, currency) for currency, minor in sorted(risk.items()))
    return f" At risk, by the average of these customers' usage lines: about {amounts}."
