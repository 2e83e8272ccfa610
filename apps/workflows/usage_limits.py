"""Make the limits of windows from what says so: the features of plan versions, grants beside them, and caps.

Limits are made ahead of their window by beat, and at once when somebody asks about a customer whose terms have moved
since. Either way they come out the same, and every move of a limit leaves a row that says who, when, from and to.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from django.db.models import Q

from apps.common import locks
from apps.common.actors import SCHEDULE, Actor
from apps.common.db import fetch_all, unit_of_work
from apps.customers.models import Customer
from apps.entitlements.models import AccessTerms, CapKind, Entitlement, UsageCap
from apps.metering import limits as metering_limits
from apps.metering.limit_models import THRESHOLDS_DEFAULT, LimitOrigin, OnExceed
from apps.metering.limits import LimitTerms
from apps.metering.models import Meter
from apps.plans import features as plan_features
from apps.subscriptions import features as subscription_features
from apps.subscriptions.models import BillingPeriod, BillingPeriodKind
from apps.workflows import usage_limits_sql

AHEAD: Final = timedelta(days=2)
CUSTOMERS_BATCH: Final = 200
_JUST_BEFORE: Final = timedelta(microseconds=1)


@dataclass(slots=True)
class _Sources:
    """What says how much these customers may use."""

    periods: list[BillingPeriod]
    meters: Mapping[tuple[UUID, str], Meter] = field(default_factory=dict)
    grants: Mapping[UUID, list[Entitlement]] = field(default_factory=dict)
    caps: Mapping[UUID, list[UsageCap]] = field(default_factory=dict)


@unit_of_work
def usage_limits_make(
    *, customer_ids: Collection[UUID], actor: Actor, at: datetime, since: datetime | None = None
) -> int:
    """
    Make the limits of these customers what their terms say, and return how many were made, moved or withdrawn.

    :param since: an instant of the past in whose window somebody asks, too
    :raises django.db.OperationalError: if a batch that is being taken in does not end within LOCK_WAIT_MS_MAX
    """
    whose = sorted(set(customer_ids))
    fetch_all(usage_limits_sql.TERMS_ENSURE, [whose])
    # Terms are locked first: who makes the same customer's limits meanwhile waits, and then finds them made.
    terms = locks.get_many_for_update(AccessTerms, whose)
    # A customer on a test clock lives at its time.
    clocks = Customer.objects.filter(id__in=whose, test_clock__isnull=False).values_list("id", "test_clock__now_at")
    now_of = dict.fromkeys(whose, at) | dict(clocks)
    held_since = min([*now_of.values(), at if since is None else since])
    sources = _sources_of(whose, held_since)
    wanted = [
        limit
        for period in sources.periods
        for limit in _limits_of(period, sources, now_of[period.subscription.customer_id])
    ]
    count = metering_limits.usage_limits_set(
        customer_ids=whose, wanted=wanted, actor=actor, at=at, held_since=held_since
    )
    for row in terms:
        row.made_version = row.version
        row.made_until_at = _next_edge(sources.grants.get(row.customer_id, []), now_of[row.customer_id])
    AccessTerms.objects.bulk_update(terms, ["made_version", "made_until_at"])
    return count


def limits_missing(*, customer_ids: Collection[UUID], first: datetime, last: datetime, at: datetime) -> list[UUID]:
    """Return which of these customers have terms that moved, or a window in that time that has no limit yet."""
    asked = {"customers": list(customer_ids), "first": first, "last": last, "at": at}
    return [customer_id for (customer_id,) in fetch_all(usage_limits_sql.LIMITS_MISSING, asked)]


def usage_limits_make_due(*, at: datetime) -> int:
    """Make limits of windows that begin soon, and of customers whose terms moved; return how many moved."""
    count, last = 0, UUID(int=0)
    while True:
        asked = {"at": at, "until": at + AHEAD, "after": last, "limit": CUSTOMERS_BATCH}
        due = [customer_id for (customer_id,) in fetch_all(usage_limits_sql.LIMITS_DUE, asked)]
        if not due:
            return count
        count += usage_limits_make(customer_ids=due, actor=SCHEDULE, at=at)
        last = due[-1]


def _sources_of(customer_ids: list[UUID], held_since: datetime) -> _Sources:
    periods = list(
        BillingPeriod.objects.filter(subscription__customer_id__in=customer_ids, ends_at__gt=held_since)
        .exclude(kind=BillingPeriodKind.FROZEN)
        .select_related("subscription", "plan_version")
        .order_by("subscription_id", "sequence")
    )
    versions = {period.plan_version_id: period.plan_version for period in periods}
    meters = {
        (feature.plan_version_id, feature.code): feature.meter
        for version in versions.values()
        for feature in version.features.select_related("meter")
        if feature.meter is not None
    }
    grants: dict[UUID, list[Entitlement]] = {}
    for grant in Entitlement.objects.filter(customer_id__in=customer_ids, extra_units__isnull=False).order_by("id"):
        grants.setdefault(grant.customer_id, []).append(grant)
    caps: dict[UUID, list[UsageCap]] = {}
    # One that is withdrawn by now still holds in the windows that were over before.
    is_held = Q(withdrawn_at__isnull=True) | Q(withdrawn_at__gt=held_since)
    held = UsageCap.objects.filter(is_held, customer_id__in=customer_ids).order_by("id")
    for cap in held.select_related("meter").prefetch_related("agreements"):
        caps.setdefault(cap.subscription_id, []).append(cap)
    return _Sources(periods, meters, grants, caps)


def _limits_of(period: BillingPeriod, sources: _Sources, at: datetime) -> Iterator[LimitTerms]:
    """Yield the limits of one period: of its plan's features with what is granted beside it, and of caps."""
    customer_id = period.subscription.customer_id
    # A window that is over keeps what was granted at its end; one that is to come has what is granted at its begin.
    judged_at = min(max(at, period.starts_at), period.ends_at - _JUST_BEFORE)
    for code, version_grant in plan_features.feature_grants(period.plan_version).items():
        grant = subscription_features.grant_in_period(period=period, grant=version_grant)
        meter = sources.meters.get((period.plan_version_id, code))
        if not grant.is_granted or grant.limit_units is None or meter is None:
            continue
        extra = _extra_units(sources.grants.get(customer_id, []), code, judged_at)
        yield _limit(
            period,
            meter=meter,
            feature_code=code,
            origin=LimitOrigin.PLAN,
            source_id=period.plan_version_id,
            limit_units=grant.limit_units + extra,
            on_exceed=grant.on_exceed,
        )
    for cap in sources.caps.get(period.subscription_id, []):
        is_over_before = cap.withdrawn_at is None or period.ends_at <= cap.withdrawn_at
        if period.ends_at > cap.asked_at and is_over_before:
            yield _limit(
                period,
                meter=cap.meter,
                feature_code=cap.meter.code,
                origin=LimitOrigin.CUSTOMER,
                source_id=cap.id,
                limit_units=cap.cap_units,
                on_exceed=_cap_policy(cap, period),
            )


def _limit(
    period: BillingPeriod,
    *,
    meter: Meter,
    feature_code: str,
    origin: str,
    source_id: UUID,
    limit_units: Decimal,
    on_exceed: str,
) -> LimitTerms:
    return LimitTerms(
        customer_id=period.subscription.customer_id,
        subscription_id=period.subscription_id,
        meter=meter,
        feature_code=feature_code,
        origin=str(origin),
        source_id=source_id,
        limit_units=limit_units,
        on_exceed=str(on_exceed),
        thresholds=THRESHOLDS_DEFAULT,
        starts_at=period.starts_at,
        ends_at=period.ends_at,
    )


def _cap_policy(cap: UsageCap, period: BillingPeriod) -> str:
    if cap.kind == CapKind.ALERT:
        return OnExceed.NOTIFY
    # An agreement holds until the period ends that it was given in, also where that was cut short meanwhile.
    is_agreed = any(a.starts_at == period.starts_at for a in cap.agreements.all())
    return OnExceed.NOTIFY if cap.kind == CapKind.SOFT and is_agreed else OnExceed.REJECT


def _extra_units(grants: list[Entitlement], feature_code: str, judged_at: datetime) -> Decimal:
    return sum(
        (
            grant.extra_units
            for grant in grants
            if grant.extra_units is not None
            and grant.feature_code == feature_code
            and grant.starts_at <= judged_at
            and (grant.ends_at is None or judged_at < grant.ends_at)
            and (grant.revoked_at is None or judged_at < grant.revoked_at)
        ),
        Decimal(0),
    )


def _next_edge(grants: list[Entitlement], at: datetime) -> datetime | None:
    """Return the next instant at which what is granted changes by itself."""
    edges = {edge for grant in grants for edge in (grant.starts_at, grant.ends_at) if edge is not None and edge > at}
    return min(edges, default=None)
