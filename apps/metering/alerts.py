"""Alerts about usage: opened when a cause is found, closed by themselves when it is gone, taken up by a person."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from django.db.models import QuerySet

from apps.audit import services as audit_services
from apps.common import locks
from apps.common.actors import Actor
from apps.common.db import unit_of_work
from apps.lifecycle.services import transition_apply
from apps.messaging import services as messaging_services
from apps.metering.models import UsageAlert
from apps.metering.watching_models import AlertKind, AlertStatus

log = structlog.get_logger(__name__)

SUBJECT_LENGTH_MAX = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertFinding:
    """A cause that is there now: of which kind, about what, in a sentence, with its numbers and the money at risk."""

    kind: AlertKind
    subject: str
    sentence: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    at_risk: Mapping[str, int] = field(default_factory=dict)


@unit_of_work
def alerts_settle(
    *, kinds: Collection[AlertKind], findings: Sequence[AlertFinding], actor: Actor, at: datetime
) -> list[UsageAlert]:
    """
    Bring the alerts of these kinds in line with what was found, and return those that are newly open.

    A cause that was known is seen again, one that is new opens an alert, and one that is gone closes its own. The same
    findings again change nothing but the time they were seen.
    """
    locks.advisory_lock("metering:alerts")
    live = {
        (alert.kind, alert.subject): alert
        for alert in UsageAlert.objects.filter(kind__in=[kind.value for kind in kinds])
        .exclude(status=AlertStatus.CLOSED)
        .select_for_update()
        .order_by("id")
    }
    opened = []
    for finding in findings:
        subject = finding.subject[:SUBJECT_LENGTH_MAX]
        known = live.pop((finding.kind.value, subject), None)
        if known is None:
            opened.append(_open(finding, subject, actor=actor, at=at))
        else:
            known.sentence, known.facts, known.at_risk = finding.sentence, dict(finding.facts), dict(finding.at_risk)
            known.last_seen_at = at
            known.save(update_fields=["sentence", "facts", "at_risk", "last_seen_at"])
    for gone in live.values():
        transition_apply(
            instance=gone,
            action="close",
            actor=actor,
            at=at,
            topic="metering.usage_alert.closed",
            payload={"kind": gone.kind, "subject": gone.subject},
        )
        log.info("usage alert closed", kind=gone.kind, subject=gone.subject)
    return opened


def _open(finding: AlertFinding, subject: str, *, actor: Actor, at: datetime) -> UsageAlert:
    alert = UsageAlert.objects.create(
        kind=finding.kind.value,
        subject=subject,
        sentence=finding.sentence,
        facts=dict(finding.facts),
        at_risk=dict(finding.at_risk),
        opened_at=at,
        last_seen_at=at,
    )
    facts = {
        "kind": alert.kind,
        "subject": alert.subject,
        "sentence": alert.sentence,
        "at_risk": [{"currency": code, "amount_minor": minor} for code, minor in sorted(alert.at_risk.items())],
    }
    audit_services.entry_write(entity=alert, action="open", actor=actor, at=at, before={}, after=facts)
    messaging_services.event_publish(
        topic="metering.usage_alert.opened",
        aggregate_type=alert.entity_type(),
        aggregate_id=alert.id,
        payload={"id": alert.public_id, "status": str(alert.status), **facts},
        actor=actor,
        at=at,
    )
    log.warning("usage alert opened", kind=alert.kind, subject=alert.subject, sentence=alert.sentence)
    return alert


@unit_of_work
def alert_acknowledge(*, alert_id: UUID, comment: str, actor: Actor, at: datetime) -> UsageAlert:
    """
    Say that somebody looks after an alert, and what was found out so far.

    :raises NotFound: if there is none with this id
    :raises TransitionRefused: if it is closed, or somebody looks after it already
    """
    alert = locks.get_for_update(UsageAlert, alert_id)
    alert.acknowledged_by, alert.comment = actor.label[:200], comment
    transition_apply(
        instance=alert,
        action="acknowledge",
        actor=actor,
        at=at,
        topic="metering.usage_alert.acknowledged",
        payload={"kind": alert.kind, "subject": alert.subject, "comment": comment},
        save_fields=("acknowledged_by", "comment"),
        reason=("", comment),
    )
    return alert


def alerts_queryset() -> QuerySet[UsageAlert]:
    """Return all alerts, newest first."""
    return UsageAlert.objects.order_by("-id")


def alerts_live() -> QuerySet[UsageAlert]:
    """Return the alerts whose cause is there, newest first."""
    return alerts_queryset().exclude(status=AlertStatus.CLOSED)
