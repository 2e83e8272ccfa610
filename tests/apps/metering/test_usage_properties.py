"""For any events and any instants: what the database says is the pure fold over the raw events, for every meter."""

import itertools
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings

from apps.engine.aggregation import Aggregation
from apps.engine.charge_models import charge_from_document
from apps.engine.charge_models.basis import fold_events
from apps.engine.unit_rounding import quantity_decimal
from apps.metering import selectors
from apps.metering.models import Meter, MeterAggregation
from tests.apps.metering.readings import DAY, Drawn, bounds, drawn_events, expected, meters_of_every_kind
from tests.builders import customers, metering

pytestmark = pytest.mark.django_db


@pytest.fixture
def meters(tenant):
    """Meters of every kind, there before any event is."""
    return meters_of_every_kind()


_numbers = itertools.count(1)
# One transaction for all examples; each has a customer of its own.
drawn = settings(
    max_examples=25,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

MATRIX = {"properties": ["region"], "match": [{"when": {"region": "eu"}, "price": {"unit_rate": "2"}}], "default": {}}
BY_REGION = charge_from_document(
    {"code": "m", "meter": "m", "model": "per_unit", "unit_rate": "1", "prices_by": MATRIX}, currency="USD", path=""
)
PERCENT = charge_from_document(
    {"code": "p", "meter": "p", "model": "percentage", "rate_percent": "2", "free_events": "2", "free_amount": "20"},
    currency="USD",
    path="",
)
DYNAMIC = charge_from_document(
    {"code": "d", "meter": "d", "model": "dynamic", "amount_property": "value"}, currency="USD", path=""
)


def stored(events: list[Drawn], at: datetime, parts: int = 2) -> Any:
    """Send the events of a new customer in some batches, and return the customer."""
    customer = customers.customer(external_id=f"drawn-{next(_numbers)}")
    for part in range(parts):
        batch = events[len(events) * part // parts : len(events) * (part + 1) // parts]
        sent = [metering.event(customer=customer.external_id, **event.document()) for event in batch]
        assert not sent or metering.send(*sent, at=at.replace(second=part)).accepted == len(sent)
    return customer


def scope(meter: Meter, customer: Any, window: tuple[datetime, datetime]) -> dict[str, Any]:
    return {
        "meter": meter,
        "customer_id": customer.id,
        "subscription_id": None,
        "starts_at": window[0],
        "ends_at": window[1],
    }


def inside(events: list[Drawn], window: tuple[datetime, datetime]) -> list[Drawn]:
    """Return a window's events in the order in which they count."""
    within = [event for event in events if window[0] <= event.occurred_at < window[1]]
    return sorted(within, key=lambda event: event.occurred_at)


@drawn
@given(events=drawn_events, window=bounds)
def test_a_quantity_is_the_fold_of_the_raw_events(meters, at, events, window):
    """S063: totals, edges, raw events and the snapshot's reading agree for any half-open window of instants."""
    customer = stored(events, at)
    for meter in meters:
        exact = expected(meter, events, *window)
        asked = scope(meter, customer, window)
        usage = selectors.usage_quantity(**asked)
        assert usage.raw == usage.quantity == quantity_decimal(exact), meter.code
        assert usage.event_count == len(inside(events, window)), meter.code
        again = selectors.usage_quantity_from_events(**asked, snapshot=usage.snapshot)
        assert (again.raw, again.event_count) == (usage.raw, usage.event_count), meter.code
    assert selectors.aggregates_compare(limit=1, customer_id=customer.id) == []


@drawn
@given(events=drawn_events, window=bounds)
def test_each_piece_of_a_series_is_the_fold_of_that_piece(meters, at, events, window):
    customer = stored(events, at)
    assume(window[0] < window[1])
    for meter, group_by in itertools.product(meters, ([], ["region"])):
        buckets = selectors.usage_series(
            meter=meter,
            customer_id=customer.id,
            starts_at=window[0],
            ends_at=window[1],
            granularity="hour",
            group_by=group_by,
        )
        told = {(piece.starts_at, *piece.group.values()): (piece.quantity, piece.event_count) for piece in buckets}
        assert len(told) == len(buckets)
        assert [piece.starts_at for piece in buckets] == sorted(piece.starts_at for piece in buckets)
        assert told == _pieces(meter, events, window, bool(group_by)), (meter.code, group_by)


def _pieces(
    meter: Meter, events: list[Drawn], window: tuple[datetime, datetime], is_grouped: bool
) -> dict[tuple[Any, ...], tuple[Decimal, int]]:
    pieces = {}
    for hour, region in itertools.product(range(24), {event.region for event in events} if is_grouped else [None]):
        of_group = [event for event in events if not is_grouped or event.region == region]
        starts_at = DAY + timedelta(hours=hour)
        ends_at = starts_at + timedelta(hours=1)
        part = max(starts_at, window[0]), min(ends_at, window[1])
        if part[0] >= part[1]:
            continue
        quantity = quantity_decimal(expected(meter, of_group, *part))
        count = len(inside(of_group, part))
        if quantity or count:
            pieces[(starts_at, region) if is_grouped else (starts_at,)] = quantity, count
    return pieces


@drawn
@given(events=drawn_events, window=bounds)
def test_a_cell_is_the_fold_of_its_own_events(meters, at, events, window):
    """The regions of the default cell are folded together: the largest of them, not the sum of two largest ones."""
    customer = stored(events, at)
    for meter in meters:
        europe = [event for event in events if event.region == "eu"]
        others = [event for event in events if event.region != "eu"]
        cells = tuple(quantity_decimal(expected(meter, part, *window)) for part in (europe, others))
        asked = scope(meter, customer, window)
        measure = selectors.usage_measure(**asked, terms=BY_REGION)
        assert measure.basis.units_by_cell == cells, meter.code
        assert measure.usage.quantity == selectors.usage_quantity(**asked).quantity
        for snapshot in (None, measure.usage.snapshot):
            assert selectors.usage_basis(**asked, terms=BY_REGION, snapshot=snapshot) == measure.basis, meter.code


@drawn
@given(events=drawn_events, window=bounds)
def test_values_and_amounts_come_in_order_and_whole(meters, at, events, window):
    """S100: the fold of a percentage is over the events in the order in which they count."""
    customer = stored(events, at)
    values = [event.value for event in inside(events, window)]
    for aggregation in (MeterAggregation.SUM, MeterAggregation.LATEST):
        meter = next(meter for meter in meters if meter.aggregation == aggregation)
        asked = scope(meter, customer, window)
        snapshot = selectors.usage_quantity(**asked).snapshot
        for seen in (None, snapshot):
            percentage = selectors.usage_basis(**asked, terms=PERCENT, snapshot=seen)
            assert percentage == fold_events(PERCENT, values)
            assert selectors.usage_basis(**asked, terms=DYNAMIC, snapshot=seen).amount == sum(values)


@drawn
@given(events=drawn_events, window=bounds)
def test_hand_written_events_are_measured_as_stored_ones(meters, at, events, window):
    customer = stored(events, at, parts=1)
    documents = [event.document() for event in events]
    for meter, terms in itertools.product(meters, (BY_REGION, PERCENT, DYNAMIC)):
        if terms is PERCENT and meter.aggregation == Aggregation.WEIGHTED_SUM:
            continue  # A percentage of a change below zero is refused, stored or not.
        kept = selectors.usage_measure(**scope(meter, customer, window), terms=terms)
        told = selectors.measure_event_documents(
            meter=meter, terms=terms, documents=documents, starts_at=window[0], ends_at=window[1]
        )
        assert told.basis == kept.basis, meter.code
        assert (told.usage.quantity, told.usage.raw, told.usage.event_count) == (
            kept.usage.quantity,
            kept.usage.raw,
            kept.usage.event_count,
        ), meter.code
