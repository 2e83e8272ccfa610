"""Drawn events and the meters that read all of them: what the property tests fold twice."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from apps.engine.aggregation import Aggregation, Operation, Reading, fold_readings
from apps.metering.models import Meter
from tests.builders import metering

DAY = datetime(2026, 1, 10, tzinfo=UTC)
TYPE = "drawn.call"
HALF_MINUTES = 12 * 60 * 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One drawn event, as its producer sees it."""

    half_minute: int
    is_late_by_a_microsecond: bool
    value: Decimal
    delta: Decimal
    label: Any
    operation: str
    region: str | None

    @property
    def occurred_at(self) -> datetime:
        """Return when it happened."""
        moment = DAY + timedelta(seconds=30 * self.half_minute)
        return moment + timedelta(microseconds=1) if self.is_late_by_a_microsecond else moment

    def document(self) -> dict[str, Any]:
        """Return the event without its customer and identity."""
        properties = {"value": str(self.value), "delta": str(self.delta), "user": self.label, "op": self.operation}
        if self.region is not None:
            properties["region"] = self.region
        return {"type": TYPE, "occurred_at": self.occurred_at.isoformat(), "properties": properties}


def thousandths(low: int, high: int) -> st.SearchStrategy[Decimal]:
    """Draw decimals with three digits behind the point."""
    return st.integers(low, high).map(lambda scaled: Decimal(scaled) / 1000)


# Few instants, labels and regions, so that ties, repeats and shared cells are common.
drawn_events = st.lists(
    st.builds(
        Drawn,
        half_minute=st.one_of(st.integers(0, HALF_MINUTES), st.sampled_from([0, 119, 120, 240, 300, 700, 900])),
        is_late_by_a_microsecond=st.booleans(),
        value=thousandths(0, 20_000),
        delta=thousandths(-20_000, 20_000),
        label=st.sampled_from(["a", "b", "c", 1, "1", True]),
        operation=st.sampled_from(["add", "remove"]),
        region=st.sampled_from([None, "eu", "us", "mars"]),
    ),
    min_size=2,
    max_size=14,
)
# Bounds lie on hours and on the instants of events as often as beside them; most windows hold some hours.
bounds = st.tuples(
    st.integers(0, 6 * 120), st.integers(0, 12 * 120), st.sampled_from([0, 1, 2]), st.sampled_from([0, 1, 30_000_000])
).map(
    lambda drawn: (
        DAY + timedelta(seconds=30 * drawn[0], microseconds=drawn[2]),
        DAY + timedelta(seconds=30 * (drawn[0] + drawn[1]), microseconds=drawn[2] + drawn[3]),
    )
)


def meters_of_every_kind() -> list[Meter]:
    """Define a meter for each aggregation, and for each way in which it can carry over."""
    return list(_meters())


def _meters() -> Iterator[Meter]:
    numbers = {"value_property": "value"}
    operations = {"value_property": "user", "operation_property": "op"}
    for code, terms in (
        ("count", {}),
        ("sum", numbers),
        ("max", numbers),
        ("min", numbers),
        ("latest", numbers),
        ("average", numbers),
        ("weighted_sum", {"value_property": "delta"}),
        ("weighted_sum-kept", {"value_property": "delta", "has_carry_over": True}),
        ("unique_count", {"value_property": "user"}),
        ("unique_count-ops", operations),
        ("unique_count-kept", {**operations, "has_carry_over": True}),
    ):
        aggregation = code.partition("-")[0]
        yield metering.meter(code=code, event_type=TYPE, aggregation=aggregation, group_by=["region"], **terms)


def expected(meter: Meter, events: list[Drawn], starts_at: datetime, ends_at: datetime) -> Any:
    """Return the exact aggregate by the pure fold over readings that this test makes itself; order is arrival."""
    return fold_readings(
        aggregation=Aggregation(meter.aggregation),
        readings=[_reading(meter, event) for event in events],
        starts_at=starts_at,
        ends_at=ends_at,
        carries_over=meter.has_carry_over,
    )


def _reading(meter: Meter, event: Drawn) -> Reading:
    label = {True: "true"}.get(event.label, str(event.label)) if isinstance(event.label, bool) else str(event.label)
    return Reading(
        event.occurred_at,
        event.delta if meter.value_property == "delta" else event.value,
        label,
        Operation(event.operation) if meter.operation_property else Operation.ADD,
    )
