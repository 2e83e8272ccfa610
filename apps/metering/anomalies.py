"""Unusual hours: each customer's last whole hour of each meter against the same hour of the weeks before."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import groupby
from operator import itemgetter
from typing import Final
from uuid import UUID

from apps.common import ids
from apps.common.db import fetch_all
from apps.engine import usage_watch
from apps.engine.usage_watch import Anomaly, AnomalyTerms
from apps.metering import anomalies_sql, watching

DAYS_READ: Final = 28
# An hour is judged when the events of its last minutes had time to arrive.
SETTLE_SPAN: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnusualHour:
    """A customer's hour of one meter that is unusual, and in which way."""

    customer_id: UUID
    customer_name: str
    meter_code: str
    unit_name: str
    hour_at: datetime
    anomaly: Anomaly

    @property
    def subject(self) -> str:
        """Return what an alert about it is about: the customer and the meter, whatever the hour."""
        return f"{self.customer_name} ({ids.to_public(prefix='cus', value=self.customer_id)}), {self.meter_code}"


def hour_judged(*, at: datetime) -> datetime:
    """Return the beginning of the last hour that is over and had time to settle."""
    return (at - SETTLE_SPAN).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)


def unusual_hours(*, hour_at: datetime) -> Iterator[UnusualHour]:
    """Yield the unusual ones among all customers' hours of all current meters; whose time is a test clock's are not."""
    rules = watching.all_anomaly_terms()
    least = min((rule.volume_min for rule in rules.values() if rule is not None), default=AnomalyTerms().volume_min)
    hours = [hour_at - timedelta(days=days) for days in range(DAYS_READ + 1)]
    bounds = {"hours": hours, "volume_min": min(least, AnomalyTerms().volume_min)}
    for key, rows in groupby(fetch_all(anomalies_sql.SAME_HOURS, bounds), key=itemgetter(0, 1, 2, 3)):
        customer_id, customer_name, meter_code, unit_name = key
        terms = rules.get(meter_code, AnomalyTerms())
        if terms is None:
            continue
        values: dict[int, Decimal] = {(hour_at - row[4]).days: row[5] for row in rows}
        anomaly = usage_watch.find_anomaly(value=values.pop(0, Decimal(0)), history=values, terms=terms)
        if anomaly is not None:
            yield UnusualHour(
                customer_id=customer_id,
                customer_name=customer_name,
                meter_code=meter_code,
                unit_name=unit_name,
                hour_at=hour_at,
                anomaly=anomaly,
            )
