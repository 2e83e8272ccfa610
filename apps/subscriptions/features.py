"""What a subscription may use in the period that runs: the terms of that period, and its part of a limit."""

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from apps.engine import periods
from apps.engine.exact import Rounding, round_ratio, scaled_text
from apps.engine.proration import ProrationMode as EngineProration
from apps.engine.proration import proration_factor
from apps.plans import features as plan_features
from apps.plans.features import NOT_GRANTED, FeatureGrant
from apps.subscriptions import selectors
from apps.subscriptions.models import BillingPeriod, BillingPeriodKind, ProrationMode, Subscription

# What a QuantityField keeps behind the point.
_LIMIT_DIGITS = 12


def served_factor(*, period: BillingPeriod, served: periods.Period) -> Fraction:
    """Return which part of its whole a stretch of a period is, counted as the period's terms say."""
    full = periods.Period(period.full_starts_at, period.full_ends_at)
    if served == full:
        return Fraction(1)
    mode = EngineProration.BY_DAY if period.proration_mode == ProrationMode.BY_DAY else EngineProration.BY_SECOND
    return proration_factor(served=served, full=full, mode=mode, timezone=period.timezone)


def feature_granted(*, subscription: Subscription, feature_code: str, at: datetime) -> FeatureGrant:
    """
    Return what a subscription grants for a feature at an instant; nothing without a period that runs.

    A limit that is prorated has the same part as the period's fees: half a month has half of it. It is rounded down to
    what a quantity can hold.
    """
    period = selectors.current_period(subscription_id=subscription.id, at=at)
    if period is None or period.kind == BillingPeriodKind.FROZEN:
        return NOT_GRANTED
    grant = plan_features.feature_grant(plan_version=period.plan_version, feature_code=feature_code)
    return grant_in_period(period=period, grant=grant)


def grant_in_period(*, period: BillingPeriod, grant: FeatureGrant) -> FeatureGrant:
    """Return what of a version's grant is there in a period: its part of a limit that is prorated, else all of it."""
    if grant.limit_units is None or not grant.is_prorated:
        return grant
    factor = served_factor(period=period, served=periods.Period(period.starts_at, period.ends_at))
    numerator, denominator = grant.limit_units.as_integer_ratio()
    part = round_ratio(
        numerator * factor.numerator * 10**_LIMIT_DIGITS, denominator * factor.denominator, Rounding.FLOOR
    )
    return replace(grant, limit_units=Decimal(scaled_text(part, _LIMIT_DIGITS)))
