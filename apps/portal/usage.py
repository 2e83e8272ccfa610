"""What a customer uses right now, by meter and by day, ready to be drawn."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from apps.common import formatting
from apps.engine.exact import Rounding, round_ratio
from apps.metering import selectors as metering_selectors
from apps.metering.models import Meter, MeterAggregation
from apps.portal.access import Viewer
from apps.subscriptions import selectors as subscription_selectors
from apps.subscriptions.models import BillingPeriod, Subscription, SubscriptionStatus

# The drawing's own units; the style sheet stretches it.
CHART_HEIGHT = 120
BAR_WIDTH = 16
BAR_STEP = 20
DAYS_SHOWN = 62
# Aggregations of which a day is the sum, or the largest, of its hours.
HOURS_ADD_UP = (MeterAggregation.COUNT, MeterAggregation.SUM, MeterAggregation.MAX)
# Digits behind the point in the daily table: enough to see, exact amounts are on the invoice.
DIGITS_SHOWN = Decimal("0.001")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One day: its place in the drawing and its row in the table."""

    day: str
    quantity: str
    events: str
    x: int
    y: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterUsage:
    """One meter in the running period."""

    name: str
    unit: str
    total: str
    event_count: str
    bars: list[Bar]
    chart_width: int
    chart_height: int
    largest: str
    first_day: str
    last_day: str

    @property
    def is_empty(self) -> bool:
        """Return whether nothing was used yet."""
        return not any(bar.height for bar in self.bars)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionUsage:
    """One subscription's running period with its meters."""

    subscription: Subscription
    plan: str
    period: str
    ends: str
    meters: list[MeterUsage]


def subscriptions_usage(*, viewer: Viewer, at: datetime) -> list[SubscriptionUsage]:
    """Return the running periods of the customer's subscriptions whose usage counts, in trial or not."""
    active = (
        subscription_selectors.subscriptions_queryset()
        .filter(customer=viewer.customer, status__in=[SubscriptionStatus.TRIALING, SubscriptionStatus.ACTIVE])
        .order_by("starts_at", "id")
    )
    usage = []
    for subscription in active:
        period = subscription_selectors.current_period(subscription_id=subscription.id, at=at)
        if period is not None:
            usage.append(_subscription_usage(viewer, subscription, period, at))
    return usage


def _subscription_usage(
    viewer: Viewer, subscription: Subscription, period: BillingPeriod, at: datetime
) -> SubscriptionUsage:
    charges = period.plan_version.charges.select_related("meter").order_by("position")
    # Two charges may read one meter; it is shown once.
    meters = {charge.meter.id: charge.meter for charge in charges if charge.meter is not None}
    zone = subscription.timezone
    return SubscriptionUsage(
        subscription=subscription,
        plan=period.plan_version.plan.name,
        period=formatting.period_text(period.starts_at, period.ends_at, zone, viewer.locale),
        ends=formatting.date_text(period.ends_at.astimezone(ZoneInfo(zone)).date(), viewer.locale),
        meters=[_meter_usage(viewer, meter, subscription, period, at) for meter in meters.values()],
    )


def _meter_usage(
    viewer: Viewer, meter: Meter, subscription: Subscription, period: BillingPeriod, at: datetime
) -> MeterUsage:
    customer_id = viewer.customer.id
    total = metering_selectors.usage_quantity(
        meter=meter,
        customer_id=customer_id,
        subscription_id=subscription.id,
        starts_at=period.starts_at,
        ends_at=period.ends_at,
    )
    zone = ZoneInfo(subscription.timezone)
    days = _days(period.starts_at.astimezone(zone).date(), period.ends_at.astimezone(zone), until=at.astimezone(zone))
    by_day = _used_by_day(meter, subscription, period, days, zone)
    largest = max((quantity for quantity, _ in by_day.values()), default=Decimal(0))
    return MeterUsage(
        name=meter.name,
        unit=meter.unit_name,
        total=formatting.number_text(total.quantity, viewer.locale),
        event_count=formatting.number_text(total.event_count, viewer.locale),
        bars=[_bar(viewer, index, day, by_day.get(day, (Decimal(0), 0)), largest) for index, day in enumerate(days)],
        chart_width=max(len(days), 1) * BAR_STEP,
        chart_height=CHART_HEIGHT,
        largest=_shown(largest, viewer),
        first_day=formatting.date_text(days[0], viewer.locale),
        last_day=formatting.date_text(days[-1], viewer.locale),
    )


def _used_by_day(
    meter: Meter, subscription: Subscription, period: BillingPeriod, days: list[date], zone: ZoneInfo
) -> dict[date, tuple[Decimal, int]]:
    """Return quantity and number of events per local day: days begin at the customer's midnight."""
    if meter.aggregation not in HOURS_ADD_UP:
        return _folded_by_day(meter, subscription, period, days, zone)
    hours = metering_selectors.usage_series(
        meter=meter,
        customer_id=subscription.customer_id,
        subscription_id=subscription.id,
        starts_at=max(period.starts_at, datetime.combine(days[0], time(), tzinfo=zone)),
        ends_at=period.ends_at,
        granularity="hour",
    )
    divisor = _divisor(meter)
    by_day: dict[date, tuple[Decimal, int]] = {}
    for hour in hours:
        day = hour.starts_at.astimezone(zone).date()
        quantity, count = by_day.get(day, (Decimal(0), 0))
        used = hour.quantity / divisor
        quantity = max(quantity, used) if meter.aggregation == MeterAggregation.MAX else quantity + used
        by_day[day] = (quantity, count + hour.event_count)
    return by_day


def _folded_by_day(
    meter: Meter, subscription: Subscription, period: BillingPeriod, days: list[date], zone: ZoneInfo
) -> dict[date, tuple[Decimal, int]]:
    """Return the same of a meter whose hours say nothing about the day: an average of averages is no average."""
    midnights = [datetime.combine(day, time(), tzinfo=zone) for day in (*days, days[-1] + timedelta(days=1))]
    edges = sorted({min(max(midnight, period.starts_at), period.ends_at) for midnight in midnights})
    pieces = metering_selectors.usage_between(
        meter=meter, customer_id=subscription.customer_id, subscription_id=subscription.id, edges=edges
    )
    divisor = _divisor(meter)
    return {piece.starts_at.astimezone(zone).date(): (piece.quantity / divisor, piece.event_count) for piece in pieces}


def _bar(viewer: Viewer, index: int, day: date, used: tuple[Decimal, int], largest: Decimal) -> Bar:
    quantity, events = used
    height = 0
    if largest > 0 and quantity > 0:
        numerator, denominator = (quantity * CHART_HEIGHT / largest).as_integer_ratio()
        # What was used is seen, however little it was beside the largest day.
        height = max(2, min(CHART_HEIGHT, round_ratio(numerator, denominator, Rounding.HALF_UP)))
    return Bar(
        day=formatting.date_text(day, viewer.locale),
        quantity=_shown(quantity, viewer),
        events=formatting.number_text(events, viewer.locale),
        x=index * BAR_STEP,
        y=CHART_HEIGHT - height,
        height=height,
    )


def _days(first: date, ends_at: datetime, *, until: datetime) -> list[date]:
    """Return the local days of a half-open period up to today; of a long period the last ones."""
    last = (ends_at - timedelta(microseconds=1)).date()
    last = max(first, min(last, until.date()))
    first = max(first, last - timedelta(days=DAYS_SHOWN - 1))
    return [first + timedelta(days=offset) for offset in range((last - first).days + 1)]


def _divisor(meter: Meter) -> Decimal:
    # Totals are shown in the unit that is billed (GB), while running totals are in the unit that was sent (bytes).
    rounding: dict[str, Any] = meter.rounding or {}
    return Decimal(rounding.get("divide_by") or 1)


def _shown(quantity: Decimal, viewer: Viewer) -> str:
    shown = quantity.quantize(DIGITS_SHOWN)
    text = formatting.number_text(shown, viewer.locale)
    return text if shown == quantity else f"\N{ALMOST EQUAL TO} {text}"
