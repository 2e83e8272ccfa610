"""May this customer use that feature, now, and so many units of it: asked before acting, answered in one read.

What a customer's terms come to is remembered for five minutes under their version. Each check reads that version and
the live counters in one statement by primary keys, so an answer is never older than the terms and never behind the
counters. No invoice, no payment and nothing outside is looked at: access does not wait for billing.
"""

import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db.models import Q

from apps.common.actors import SCHEDULE
from apps.common.db import fetch_prepared
from apps.engine.access import AccessDecision, AccessQuestion, LimitState, Policy, decide_access
from apps.engine.aggregation import Aggregation
from apps.entitlements import services as entitlement_services
from apps.entitlements.models import DecisionOccasion, Entitlement
from apps.entitlements.services import DecisionRecord
from apps.metering import limits as metering_limits
from apps.metering.limit_models import LimitOrigin, UsageLimit
from apps.plans.features import FeatureGrant
from apps.subscriptions import features as subscription_features
from apps.subscriptions.models import BillingPeriod
from apps.tenancy import context as tenancy_context
from apps.workflows import usage_limits

TERMS_SECONDS: Final = 300
_TERMS_MAX: Final = 100_000
_SAMPLES_MAX: Final = 100

# One row for each counter, or one without; by primary keys only. `xmin` tells apart a version that was rolled back.
READ_VERSION_AND_COUNTERS: Final = """
SELECT t.version || '.' || t.xmin, c.counter_id, c.used_units
FROM entitlements_accessterms t LEFT JOIN metering_usagecounter c ON c.counter_id = ANY(%s)
WHERE t.customer_id = %s
"""
# Nearly always there is one counter, and an array costs as much as the rest of the parameters.
READ_VERSION_AND_COUNTER: Final = READ_VERSION_AND_COUNTERS.replace("ANY(%s)", "%s")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limit:
    """A limit as it is remembered; unique counts have no counter and are read from the rollups."""

    row: UsageLimit
    state: LimitState
    is_counted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Terms:
    """What a customer may do with one feature, under which version, and from when until when that holds."""

    version: str
    read_at_ns: int
    holds_from: datetime
    holds_until: datetime | None
    is_granted: bool
    is_switched_off: bool
    ceiling_units: Decimal | None
    limits: tuple[_Limit, ...]
    counter_ids: tuple[UUID, ...]
    plan_version_id: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessAnswer:
    """The decision, and what it was made from."""

    feature_code: str
    question: AccessQuestion
    decision: AccessDecision

    def to_document(self) -> dict[str, Any]:
        """Return the answer as the API gives it."""
        decision = self.decision
        return {
            "allowed": decision.is_allowed,
            "reason": str(decision.reason),
            "limit": _number(decision.limit_units),
            "used": _number(decision.used_units),
            "remaining": _number(decision.remaining_units),
            "resets_at": decision.resets_at.isoformat() if decision.resets_at else None,
            "access": {"standing": str(decision.standing), "rate_factor": _number(decision.rate_factor)},
        }


_remembered: OrderedDict[tuple[str, UUID, str], _Terms] = OrderedDict()
_checks: dict[str, int] = {}
_samples: dict[str, list[DecisionRecord]] = {}


def entitlement_check(
    *, customer_id: UUID, feature_code: str, units: Decimal | None = None, at: datetime
) -> AccessAnswer:
    """
    Answer whether a customer may use a feature, and `units` of it, at an instant by the customer's own clock.

    Without units the question is whether anything at all is left. Nothing is reserved: what is admitted in the end is
    decided when the event comes in. Every refusal is recorded before it is answered, and one in
    ACCESS_DECISIONS_SAMPLED of the others.
    """
    name = (tenancy_context.current_schema(), customer_id, feature_code)
    terms = _remembered.get(name)
    read = _read(customer_id, () if terms is None else terms.counter_ids)
    if terms is None or not read or read[0][0] != terms.version or not _holds(terms, at):
        terms = _terms_read(customer_id, feature_code, at)
        _remember(name, terms)
        read = _read(customer_id, terms.counter_ids)
    question = AccessQuestion(
        is_granted=terms.is_granted,
        is_switched_off=terms.is_switched_off,
        asked_units=units,
        ceiling_units=terms.ceiling_units,
        limits=tuple([replace(limit.state, used_units=_used(limit, read)) for limit in terms.limits]),
        throttled_rate=Decimal(settings.THROTTLED_RATE_PERCENT).scaleb(-2),
    )
    answer = AccessAnswer(feature_code=feature_code, question=question, decision=decide_access(question))
    _record(name[0], customer_id, answer, terms, at)
    return answer


def samples_flush() -> None:
    """Write the sampled decisions of this tenant that wait in the process; refusals never wait."""
    waiting = _samples.pop(tenancy_context.current_schema(), [])
    if waiting:
        entitlement_services.decisions_record(records=waiting)


def customer_features(*, customer_id: UUID, at: datetime) -> list[str]:
    """Return the codes of all features that the customer's running plans, grants and limits name."""
    codes = {
        code
        for period in _periods(customer_id, at)
        for code in period.plan_version.features.exclude(code="*").values_list("code", flat=True)
    }
    codes |= {grant.feature_code for grant in _grants(customer_id, at)}
    return sorted(codes)


def _read(customer_id: UUID, counter_ids: Sequence[UUID]) -> list[tuple[Any, ...]]:
    if len(counter_ids) == 1:
        return fetch_prepared(READ_VERSION_AND_COUNTER, (counter_ids[0], customer_id))
    return fetch_prepared(READ_VERSION_AND_COUNTERS, (list(counter_ids), customer_id))


def _holds(terms: _Terms, at: datetime) -> bool:
    age_seconds = (time.monotonic_ns() - terms.read_at_ns) // 10**9
    return (
        age_seconds < TERMS_SECONDS and terms.holds_from <= at and (terms.holds_until is None or at < terms.holds_until)
    )


def _remember(name: tuple[str, UUID, str], terms: _Terms) -> None:
    _remembered[name] = terms
    _remembered.move_to_end(name)
    if len(_remembered) > _TERMS_MAX:
        _remembered.popitem(last=False)


def _terms_read(customer_id: UUID, feature_code: str, at: datetime) -> _Terms:
    """Read what the customer's terms come to for a feature, making the limits that are not there yet."""
    if usage_limits.limits_missing(customer_ids=[customer_id], first=at, last=at, at=at) or not _read(customer_id, ()):
        usage_limits.usage_limits_make(customer_ids=[customer_id], actor=SCHEDULE, at=at, since=at)
    # The version first: what moves between the statements makes the terms look older than they are.
    ((version, *_rest),) = _read(customer_id, ())
    periods = _periods(customer_id, at)
    granted = [(period, _granted(period, feature_code, at)) for period in periods]
    granted = [(period, grant) for period, grant in granted if grant.is_granted]
    grants = [grant for grant in _grants(customer_id, at) if grant.feature_code == feature_code]
    limits = _limits(customer_id, feature_code, granted, at)
    edges = _edges(customer_id, periods, at)
    return _Terms(
        version=version,
        read_at_ns=time.monotonic_ns(),
        holds_from=at,
        holds_until=min(edges, default=None),
        is_granted=bool(granted) or any(grant.is_granted for grant in grants),
        is_switched_off=any(not grant.is_granted for grant in grants),
        ceiling_units=_ceiling(granted, grants),
        limits=limits,
        counter_ids=tuple(sorted({limit.row.counter_id for limit in limits if limit.is_counted})),
        plan_version_id=granted[0][0].plan_version_id if granted else None,
    )


def _granted(period: BillingPeriod, feature_code: str, at: datetime) -> FeatureGrant:
    return subscription_features.feature_granted(subscription=period.subscription, feature_code=feature_code, at=at)


def _ceiling(granted: Sequence[tuple[BillingPeriod, FeatureGrant]], grants: Sequence[Entitlement]) -> Decimal | None:
    """Return the limit that nothing is counted against: of all plans and grants together; None where one has no end."""
    static = [grant for _period, grant in granted if not grant.meter_code]
    if any(grant.limit_units is None for grant in static) or any(
        g.is_granted and g.extra_units is None for g in grants
    ):
        return None
    units = [grant.limit_units for grant in static if grant.limit_units is not None]
    units += [grant.extra_units for grant in grants if grant.extra_units is not None]
    return sum(units, Decimal(0)) if units else None


def _limits(
    customer_id: UUID, feature_code: str, granted: Sequence[tuple[BillingPeriod, FeatureGrant]], at: datetime
) -> tuple[_Limit, ...]:
    """Return the running limits of the feature, and the caps on its meters."""
    meters = {grant.meter_code for _period, grant in granted if grant.meter_code}
    mine = Q(origin=LimitOrigin.PLAN, feature_code=feature_code)
    mine |= Q(origin=LimitOrigin.CUSTOMER, meter__code__in=meters)
    rows = UsageLimit.objects.filter(
        mine, customer_id=customer_id, withdrawn_at__isnull=True, starts_at__lte=at, ends_at__gt=at
    )
    return tuple(
        _Limit(row=row, state=_state(row), is_counted=row.meter.aggregation != Aggregation.UNIQUE_COUNT)
        for row in rows.select_related("meter").order_by("id")
    )


def _state(row: UsageLimit) -> LimitState:
    """Return a limit of which nothing is used yet."""
    return LimitState(
        limit_id=str(row.id),
        policy=Policy(row.on_exceed),
        limit_units=row.limit_units,
        used_units=Decimal(0),
        resets_at=row.ends_at,
        is_own_cap=row.origin == LimitOrigin.CUSTOMER,
        is_largest=row.meter.aggregation == Aggregation.MAX,
    )


def _used(limit: _Limit, read: Sequence[tuple[Any, ...]]) -> Decimal:
    """Return what is used of a limit: of a counter as it was read, of a unique count from the rollups."""
    if not limit.is_counted:
        return metering_limits.units_used(limit=limit.row)
    return next(Decimal(used) for _version, counter_id, used in read if counter_id == limit.row.counter_id)


def _periods(customer_id: UUID, at: datetime) -> list[BillingPeriod]:
    return list(
        BillingPeriod.objects.filter(subscription__customer_id=customer_id, starts_at__lte=at, ends_at__gt=at)
        .select_related("subscription", "plan_version")
        .order_by("subscription_id")
    )


def _grants(customer_id: UUID, at: datetime) -> list[Entitlement]:
    return list(
        Entitlement.objects.filter(
            Q(ends_at__isnull=True) | Q(ends_at__gt=at),
            Q(revoked_at__isnull=True) | Q(revoked_at__gt=at),
            customer_id=customer_id,
            starts_at__lte=at,
        ).order_by("id")
    )


def _edges(customer_id: UUID, periods: Sequence[BillingPeriod], at: datetime) -> set[datetime]:
    """Return the instants to come at which the terms change by themselves."""
    edges = {period.ends_at for period in periods}
    coming = BillingPeriod.objects.filter(subscription__customer_id=customer_id, starts_at__gt=at)
    edges |= set(coming.order_by("starts_at").values_list("starts_at", flat=True)[:1])
    for starts_at, ends_at in Entitlement.objects.filter(customer_id=customer_id, revoked_at__isnull=True).values_list(
        "starts_at", "ends_at"
    ):
        edges |= {edge for edge in (starts_at, ends_at) if edge is not None and edge > at}
    return edges


def _record(schema_name: str, customer_id: UUID, answer: AccessAnswer, terms: _Terms, at: datetime) -> None:
    """Write a refusal at once; keep one of many others in the process until there are enough of them to write."""
    number = _checks[schema_name] = _checks.get(schema_name, 0) + 1
    if answer.decision.is_allowed and number % settings.ACCESS_DECISIONS_SAMPLED:
        return
    waiting = _samples.setdefault(schema_name, [])
    waiting.append(_decision_record(customer_id, answer, terms, at))
    if not answer.decision.is_allowed or len(waiting) >= _SAMPLES_MAX:
        samples_flush()


def _decision_record(customer_id: UUID, answer: AccessAnswer, terms: _Terms, at: datetime) -> DecisionRecord:
    deciding = answer.decision.limit
    row = next((limit.row for limit in terms.limits if deciding and str(limit.row.id) == deciding.limit_id), None)
    return DecisionRecord(
        decided_at=at,
        occasion=DecisionOccasion.CHECK,
        customer_id=customer_id,
        feature_code=answer.feature_code,
        question=answer.question,
        decision=answer.decision,
        facts={
            "plan_version_id": terms.plan_version_id,
            "limit_id": row.id if row is not None else None,
            "counter_id": row.counter_id if row is not None else None,
        },
    )


def _number(number: Decimal | None) -> str | None:
    return None if number is None else f"{number.normalize():f}"
