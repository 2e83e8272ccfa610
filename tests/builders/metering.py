"""Reach meters and usage through the services, never by writing a row."""

import itertools
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from apps.common import ids
from apps.common.actors import OPERATOR
from apps.customers import selectors as customer_selectors
from apps.customers.models import Customer
from apps.metering import services
from apps.metering.inputs import MeterInput
from apps.metering.models import EventMapping, Meter, UsageCancellation, UsageEvent
from apps.metering.usage_counters import COUNTED, CounterWindow
from apps.workflows import clocks, usage_intake
from apps.workflows.intake_results import IntakeResult

START = datetime(2026, 1, 1, tzinfo=UTC)
_numbers = itertools.count(1)


def meter(*, code: str = "api_calls", event_type: str = "api.call", at: datetime = START, **overrides: Any) -> Meter:
    """Define a meter that counts events of a type, unless told otherwise."""
    terms = {"name": code.replace("_", " ").title(), "aggregation": "count", **overrides}
    return services.meter_define(data=MeterInput(code=code, event_type=event_type, **terms), actor=OPERATOR, at=at)


def mapping(*, source: str = "edge", at: datetime = START, **fields: str) -> EventMapping:
    """Say how a source's events are read; names with `__` stand for dots."""
    named = {name.replace("__", "."): path for name, path in fields.items()}
    return services.event_mapping_define(source=source, fields=named, actor=OPERATOR, at=at)


def event(*, customer: str = "acme", **overrides: Any) -> dict[str, Any]:
    """Return one event with an id of its own, as a producer writes it."""
    return {
        "id": f"evt-{next(_numbers)}",
        "source": "test",
        "type": "api.call",
        "customer": customer,
        "occurred_at": "2026-01-10T12:00:00Z",
        **overrides,
    }


def send(*events: dict[str, Any], at: datetime, mapping_source: str = "") -> IntakeResult:
    """Send events as one batch, the way a request does."""
    body = json.dumps({"events": events}).encode()
    return usage_intake.batch_accept(body=body, actor=OPERATOR, at=at, mapping_source=mapping_source)


def events(
    *,
    customer: str,
    event_type: str = "api.call",
    count: int = 1,
    occurred_at: datetime,
    at: datetime,
    prefix: str = "e",
    **overrides: Any,
) -> IntakeResult:
    """
    Send `count` events of one moment with ids of their own at `at`, and require that all are accepted.

    A customer on a test clock lives to see `at` first: events of its future would be refused.
    """
    clock = customer_selectors.customer_by_reference(customer).test_clock
    if clock is not None and clock.now_at < at:
        clocks.test_clock_advance(clock_id=clock.id, to=at, actor=OPERATOR, wall_at=at)
    batch = [
        event(
            id=f"{prefix}-{occurred_at:%Y%m%d%H%M%S}-{number}",
            customer=customer,
            type=event_type,
            occurred_at=occurred_at.isoformat(),
            **overrides,
        )
        for number in range(count)
    ]
    result = send(*batch, at=at)
    assert result.accepted == count, result.to_document()
    return result


def counter_windows(
    meters: Iterable[Meter], customer: Customer, window: tuple[datetime, datetime]
) -> list[CounterWindow]:
    """Return the windows of those meters that a counter can follow."""
    return [
        CounterWindow(
            meter=meter, customer_id=customer.id, subscription_id=None, starts_at=window[0], ends_at=window[1]
        )
        for meter in meters
        if meter.aggregation in COUNTED
    ]


def cancel(stored: Iterable[UsageEvent], at: datetime) -> None:
    """Write the rows that a correction writes for events that are to count no more."""
    UsageCancellation.objects.bulk_create(
        UsageCancellation(
            event_key=event.event_key,
            customer_id=event.customer_id,
            type=event.type,
            occurred_at=event.occurred_at,
            correction_id=ids.new_id(),
            cancelled_at=at,
        )
        for event in stored
    )
