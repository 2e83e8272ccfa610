"""From when on usage is told as wrong: the tenant's limits, and the rules for unusual hours per meter."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.conf import settings

from apps.audit import services as audit_services
from apps.common.actors import Actor
from apps.common.db import unit_of_work
from apps.common.errors import FieldProblem
from apps.common.locks import advisory_lock
from apps.engine.usage_watch import AnomalyTerms
from apps.metering.errors import AnomalyRuleInvalid, MeterUnknown, WatchPolicyInvalid
from apps.metering.models import AnomalyRule, Meter, WatchPolicy
from apps.metering.sources_sql import DELAY_BOUNDS_MS

# Events may come 400 days late, and the month they belong to must be at hand then.
RETENTION_MONTHS_MIN = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchTerms:
    """A tenant's limits: missing events, delay, clocks ahead, and how long raw events are at hand."""

    loss_alert_bps: int
    delay_alert_seconds: int
    clock_alert_seconds: int
    retention_months: int

    @property
    def delay(self) -> timedelta:
        """Return the delay above which events are late."""
        return timedelta(seconds=self.delay_alert_seconds)

    @property
    def clock_ahead(self) -> timedelta:
        """Return how far a clock may run ahead."""
        return timedelta(seconds=self.clock_alert_seconds)


def watch_terms() -> WatchTerms:
    """Return the tenant's limits, or the installation's while it has set none."""
    policy = WatchPolicy.objects.first()
    if policy is None:
        return WatchTerms(
            loss_alert_bps=settings.USAGE_LOSS_ALERT_BPS,
            delay_alert_seconds=settings.USAGE_DELAY_ALERT_SECONDS,
            clock_alert_seconds=settings.USAGE_CLOCK_ALERT_SECONDS,
            retention_months=settings.USAGE_RETENTION_MONTHS,
        )
    return WatchTerms(
        loss_alert_bps=policy.loss_alert_bps,
        delay_alert_seconds=policy.delay_alert_seconds,
        clock_alert_seconds=policy.clock_alert_seconds,
        retention_months=policy.retention_months,
    )


@unit_of_work
def watch_policy_set(*, terms: WatchTerms, actor: Actor, at: datetime) -> WatchPolicy:
    """
    Set the tenant's limits; the same again changes nothing.

    :raises WatchPolicyInvalid: naming each field that cannot hold
    """
    problems = _policy_problems(terms)
    if problems:
        summary = "; ".join(f"{problem.pointer}: {problem.detail}" for problem in problems)
        raise WatchPolicyInvalid(f"The limits cannot hold. {summary}", problems=problems)
    advisory_lock("metering:watch-policy")
    values = {name: getattr(terms, name) for name in WatchTerms.__slots__}
    policy = WatchPolicy.objects.first()
    before = {name: getattr(policy, name) for name in values} if policy is not None else {}
    if policy is None:
        policy = WatchPolicy.objects.create(**values, changed_at=at)
    elif before != values:
        for name, value in {**values, "changed_at": at}.items():
            setattr(policy, name, value)
        policy.save(update_fields=[*values, "changed_at"])
    if before != values:
        audit_services.entry_write(entity=policy, action="set", actor=actor, at=at, before=before, after=values)
    return policy


def _policy_problems(terms: WatchTerms) -> tuple[FieldProblem, ...]:
    problems = []
    if not 1 <= terms.loss_alert_bps <= 10_000:
        problems.append(FieldProblem("/loss_alert_bps", "out_of_range", "must be 1 to 10000; 200 are two percent"))
    bounds = [bound // 1000 for bound in DELAY_BOUNDS_MS]
    if terms.delay_alert_seconds not in bounds:
        # Delays are counted by these bounds and kept no finer.
        words = ", ".join(str(bound) for bound in bounds)
        problems.append(FieldProblem("/delay_alert_seconds", "out_of_range", f"must be one of {words}"))
    if not 1 <= terms.clock_alert_seconds <= 3600:
        problems.append(
            FieldProblem("/clock_alert_seconds", "out_of_range", "must be 1 to 3600; events further ahead are refused")
        )
    if not RETENTION_MONTHS_MIN <= terms.retention_months <= 1200:
        detail = f"must be {RETENTION_MONTHS_MIN} or more: events may come 400 days late"
        problems.append(FieldProblem("/retention_months", "out_of_range", detail))
    return tuple(problems)


def anomaly_terms(*, meter_code: str) -> AnomalyTerms | None:
    """Return the rule of a meter, the default one where none is set, or nothing where it is switched off."""
    return all_anomaly_terms().get(meter_code, AnomalyTerms())


def all_anomaly_terms() -> dict[str, AnomalyTerms | None]:
    """Return the rules that were set, by meter; nothing for those that are switched off."""
    return {
        rule.meter_code: AnomalyTerms(
            high_percent=rule.high_percent, low_percent=rule.low_percent, volume_min=rule.volume_min
        )
        if rule.is_active
        else None
        for rule in AnomalyRule.objects.order_by("meter_code")
    }


@unit_of_work
def anomaly_rule_set(
    *, meter_code: str, terms: AnomalyTerms, is_active: bool, actor: Actor, at: datetime
) -> AnomalyRule:
    """
    Say when an hour of a meter is unusual, for all its versions.

    :raises MeterUnknown: if there is no meter with this code
    :raises AnomalyRuleInvalid: naming each field that cannot hold
    """
    if "\0" in meter_code or not Meter.objects.filter(code=meter_code).exists():
        raise MeterUnknown(f"There is no meter '{meter_code[:60]}'.", facts={"meter": meter_code[:60]})
    problems = []
    if terms.high_percent != 0 and not 100 < terms.high_percent <= 1_000_000:
        detail = "must be above 100, or 0 to look at no rise; 400 is four times the usual hour"
        problems.append(FieldProblem("/high_percent", "out_of_range", detail))
    if not 0 <= terms.low_percent < 100:
        detail = "must be below 100, or 0 to look at no fall; 10 is a tenth of the usual hour"
        problems.append(FieldProblem("/low_percent", "out_of_range", detail))
    if not Decimal(0) <= terms.volume_min < Decimal(10) ** 20:
        problems.append(FieldProblem("/volume_min", "out_of_range", "must be 0 or more, below 10 to the 20"))
    if problems:
        summary = "; ".join(f"{problem.pointer}: {problem.detail}" for problem in problems)
        raise AnomalyRuleInvalid(f"The rule cannot hold. {summary}", problems=tuple(problems))
    advisory_lock(f"metering:anomaly-rule:{meter_code}")
    values = {
        "high_percent": terms.high_percent,
        "low_percent": terms.low_percent,
        "volume_min": terms.volume_min,
        "is_active": is_active,
    }
    rule = AnomalyRule.objects.filter(meter_code=meter_code).first()
    before = {name: str(getattr(rule, name)) for name in values} if rule is not None else {}
    if rule is None:
        rule = AnomalyRule.objects.create(meter_code=meter_code, **values, changed_at=at)
    else:
        for name, value in {**values, "changed_at": at}.items():
            setattr(rule, name, value)
        rule.save(update_fields=[*values, "changed_at"])
    after = {name: str(value) for name, value in values.items()}
    audit_services.entry_write(entity=rule, action="set", actor=actor, at=at, before=before, after=after)
    return rule
