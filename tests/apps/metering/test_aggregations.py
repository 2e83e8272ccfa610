"""Each aggregation by example: what it counts, what the door refuses for it, what it carries over."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction

from apps.engine.charge_models import charge_from_document
from apps.engine.errors import UnitsOutOfRange
from apps.metering import selectors
from apps.metering.errors import EventAmountInvalid, EventDocumentsInvalid, UsageQueryInvalid
from apps.metering.inputs import MeterInput
from apps.metering.models import Meter
from tests.builders import customers, metering

pytestmark = pytest.mark.django_db

START, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 31, tzinfo=UTC)
SEATS = {"aggregation": "unique_count", "value_property": "user", "operation_property": "op"}
STORAGE = {"aggregation": "weighted_sum", "value_property": "delta"}


@pytest.fixture
def customer(tenant):
    return customers.customer(external_id="acme")


def send(at, *told, **overrides):
    """Send events of (days after the start, properties), and require that all are accepted."""
    batch = [
        metering.event(occurred_at=(START + timedelta(days=days)).isoformat(), properties=properties, **overrides)
        for days, properties in told
    ]
    result = metering.send(*batch, at=at)
    assert result.accepted == len(batch), result.to_document()


def used(meter, customer, starts_at=START, ends_at=END):
    return selectors.usage_quantity(
        meter=meter, customer_id=customer.id, subscription_id=None, starts_at=starts_at, ends_at=ends_at
    )


def refusal(at, **properties):
    """Return the code with which one event is refused, or nothing."""
    result = metering.send(metering.event(properties=properties), at=at)
    return result.results[0].code if result.results else ""


def test_one_stream_of_events_is_measured_in_several_ways(customer, at):
    """S055: one meter per billing dimension: how many, how much, the most, the least, the last, on average, of whom."""
    meters = {
        name: metering.meter(code=name, aggregation=name, value_property="" if name == "count" else "v")
        for name in ("count", "sum", "max", "min", "latest", "average", "unique_count")
    }
    send(at, (9, {"v": "5"}), (3, {"v": "2"}), (8, {"v": "1"}), (9, {"v": "2"}))
    quantities = {name: used(meter, customer).quantity for name, meter in meters.items()}
    assert quantities == {
        "count": 4,
        "sum": 10,
        "max": 5,
        "min": 1,
        "latest": 2,
        "average": Decimal("2.5"),
        "unique_count": 3,
    }
    assert {used(meter, customer, END, END + timedelta(1)).quantity for meter in meters.values()} == {0}


def test_a_level_is_weighted_by_the_time_it_lasted_and_carried_over(customer, at):
    """S100: units managed: +10 at the start and -4 after 15 of 30 days are 8; the next period begins with 6."""
    plain = metering.meter(code="storage", **STORAGE)
    kept = metering.meter(code="storage-kept", has_carry_over=True, **STORAGE)
    at = at + timedelta(days=60)
    send(at, (0, {"delta": "10"}), (15, {"delta": "-4"}), (45, {"delta": "3"}))
    following = END, END + timedelta(days=30)
    assert [used(meter, customer).quantity for meter in (plain, kept)] == [8, 8]
    assert [used(meter, customer, *following).quantity for meter in (plain, kept)] == [Decimal("1.5"), Decimal("7.5")]
    assert used(kept, customer, *following).event_count == 1
    noon = END + timedelta(hours=12, microseconds=1)
    assert used(kept, customer, noon, noon + timedelta(hours=1)).raw == 6


def test_seats_that_are_added_and_removed_count_while_they_are_there(customer, at):
    kept = metering.meter(code="seats", has_carry_over=True, **SEATS)
    plain = metering.meter(code="new_seats", **SEATS)
    operations = [(1, "a", "add"), (1, "a", "add"), (2, "b", "add"), (3, "b", "remove"), (3, "c", "remove")]
    send(at, *((day, {"user": user, "op": operation}) for day, user, operation in operations))
    send(at, (10, {"user": "d", "op": "remove"}), (10, {"user": "d", "op": "add"}))
    day_of = [START + timedelta(days=day) for day in (0, 2, 3, 5, 11)]
    assert [used(kept, customer, START, end).quantity for end in (*day_of[1:], END)] == [1, 2, 1, 2, 2]
    assert used(kept, customer, day_of[3], END).quantity == 2
    assert used(plain, customer, day_of[3], END).quantity == 1
    assert used(kept, customer, day_of[4], day_of[4]).quantity == 2


def test_events_of_one_instant_count_in_the_order_of_their_batch(customer, at):
    """The key of an event is a hash; the order in which it came is what its producer meant."""
    latest = metering.meter(code="level", aggregation="latest", value_property="v")
    for number in range(8):
        send(at + timedelta(seconds=number), *((number, {"v": str(value)}) for value in (3, 1, 2)))
        assert used(latest, customer, START + timedelta(days=number), END).quantity == 2
    send(at - timedelta(seconds=1), (7, {"v": "9"}))
    assert used(latest, customer).quantity == 2


def test_changes_below_zero_leave_the_totals_of_others_alone(customer, at):
    storage = metering.meter(code="storage", **STORAGE)
    largest = metering.meter(code="largest", aggregation="max", value_property="size")
    send(at, (1, {"delta": "-4", "size": "7"}), (1, {"delta": "-5.5", "size": "3"}))
    assert used(largest, customer).quantity == 7
    assert used(storage, customer, START, START + timedelta(days=2)).raw == Decimal("-4.75")
    assert selectors.aggregates_compare(limit=5) == []


@pytest.mark.parametrize(
    ("terms", "properties", "code"),
    [
        (SEATS, {"op": "add"}, "missing_property"),
        (SEATS, {"user": None, "op": "add"}, "missing_property"),
        (SEATS, {"user": "", "op": "add"}, "invalid_value"),
        (SEATS, {"user": "x" * 256, "op": "add"}, "invalid_value"),
        (SEATS, {"user": ["x"], "op": "add"}, "invalid_value"),
        (SEATS, {"user": {"id": "x"}, "op": "add"}, "invalid_value"),
        (SEATS, {"user": "x"}, "invalid_operation"),
        (SEATS, {"user": "x", "op": "Add"}, "invalid_operation"),
        (SEATS, {"user": "x", "op": ["add"]}, "invalid_operation"),
        (SEATS, {"user": "x" * 255, "op": "remove"}, ""),
        (SEATS, {"user": True, "op": "add"}, ""),
        (SEATS, {"user": 1.5, "op": "add"}, ""),
        (STORAGE, {"delta": "-1.25"}, ""),
        (STORAGE, {"delta": "-1e5"}, "invalid_quantity"),
        (STORAGE, {}, "missing_property"),
        ({**STORAGE, "rules": {"min": "-5"}}, {"delta": "-5.1"}, "rule_min"),
        ({**STORAGE, "rules": {"min": "-5", "max": "5"}}, {"delta": "5.1"}, "rule_max"),
        ({**STORAGE, "rules": {"min": "-5"}}, {"delta": "-5"}, ""),
        ({"aggregation": "latest", "value_property": "v"}, {"v": "-1"}, "rule_min"),
        ({"aggregation": "average", "value_property": "v"}, {"v": "much"}, "invalid_quantity"),
    ],
)
def test_the_door_and_the_database_agree_on_what_can_be_counted(customer, at, terms, properties, code):
    """An event that is accepted is counted, and one that cannot be counted is refused with a code and a remedy."""
    meter = metering.meter(code="m", **terms)
    assert refusal(at, **properties) == code
    assert used(meter, customer).event_count == (0 if code else 1)
    metering.meter(code="m", at=at)
    assert refusal(at, **properties) == "", "a retired version makes no demands"
    # A rule is a demand of the current version; what the retired one can count it goes on counting.
    counted = {"": 2, "rule_min": meter.aggregation == "weighted_sum", "rule_max": 1}.get(code, 0)
    assert used(meter, customer).event_count == counted


def test_a_label_is_its_text(customer, at):
    meter = metering.meter(code="users", aggregation="unique_count", value_property="user")
    send(at, *((1, {"user": user}) for user in ("1", 1, 1.0, "a", "A", True, "true", 0.5, "0.5")))
    assert (used(meter, customer).quantity, used(meter, customer).event_count) == (5, 9)


@pytest.mark.parametrize(
    "wrong",
    [
        {"aggregation": "sum", "operation_property": "op"},
        {"aggregation": "sum", "has_carry_over": True},
        {"aggregation": "unique_count", "has_carry_over": True},
        {"aggregation": "median"},
    ],
)
def test_the_database_refuses_what_no_meter_can_be(tenant, at, wrong):
    terms = {"code": "m", "name": "M", "event_type": "t", "value_property": "v", "defined_at": at, **wrong}
    with pytest.raises(IntegrityError, match="meter_"), transaction.atomic():
        Meter.objects.create(**terms)


def charge(**fields):
    return charge_from_document({"code": "c", "meter": "m", **fields}, currency="USD", path="")


DYNAMIC = charge(model="dynamic", amount_property="price")
PERCENT = charge(model="percentage", rate_percent="2")
BY_REGION = charge(
    model="per_unit",
    unit_rate="1",
    prices_by={"property": "region", "match": {"eu": {"unit_rate": "2"}}, "default": {}},
)


def asked(meter, customer):
    return {
        "meter": meter,
        "customer_id": customer.id,
        "subscription_id": None,
        "starts_at": START,
        "ends_at": END,
    }


@pytest.mark.parametrize("price", [None, "abc", "-1", "1e3", ["1"], True])
def test_an_event_without_an_amount_is_named_to_whoever_rates_it(customer, at, price):
    """Metering does not know charges, so the event was taken in; its period waits until somebody has looked at it."""
    meter = metering.meter(code="m")
    send(at, (1, {"price": "1.25"}), (2, {"price": 3}))
    assert selectors.usage_basis(**asked(meter, customer), terms=DYNAMIC).amount == Decimal("4.25")
    metering.send(metering.event(id="no-price", properties={"price": price}), at=at)
    with pytest.raises(EventAmountInvalid, match="event 'no-price' of source 'test' carries") as caught:
        selectors.usage_basis(**asked(meter, customer), terms=DYNAMIC)
    assert caught.value.facts == {"event": "event 'no-price' of source 'test'", "property": "price"}


def test_a_price_matrix_needs_the_meters_grouping(customer):
    meter = metering.meter(code="m")
    with pytest.raises(UsageQueryInvalid, match="not grouped by it"):
        selectors.usage_basis(**asked(meter, customer), terms=BY_REGION)


def test_the_units_of_each_cell_are_rounded_like_a_whole(customer, at):
    rounding = {"mode": "ceil", "divide_by": "10"}
    meter = metering.meter(code="m", aggregation="sum", value_property="v", group_by=["region"], rounding=rounding)
    send(at, (1, {"v": "11", "region": "eu"}), (1, {"v": "4", "region": "us"}), (1, {"v": "4", "region": None}))
    measure = selectors.usage_measure(**asked(meter, customer), terms=BY_REGION)
    assert measure.basis.units_by_cell == (2, 1)
    assert (measure.usage.quantity, measure.usage.raw, measure.usage.event_count) == (2, 19, 3)


def test_a_long_stream_is_folded_in_order(customer, at):
    """More events than are fetched at once; the allowance goes to the earliest ones, whenever they came."""
    meter = metering.meter(code="m", aggregation="sum", value_property="v")
    count = 2_100
    batch = [
        metering.event(occurred_at=(START + timedelta(seconds=second)).isoformat(), properties={"v": str(second)})
        for second in reversed(range(count))
    ]
    metering.send(*batch, at=at)
    basis = selectors.usage_basis(
        **asked(meter, customer), terms=charge(model="percentage", rate_percent="1", free_events="2000")
    )
    assert (basis.events.free_events, basis.events.free_value) == (2000, sum(range(2000)))
    assert (basis.events.charged_events, basis.events.charged_value) == (100, sum(range(2000, count)))


def test_a_level_below_zero_has_no_percentage(customer, at):
    meter = metering.meter(code="m", **STORAGE)
    send(at, (1, {"delta": "-1"}))
    with pytest.raises(UnitsOutOfRange, match="percentage"):
        selectors.usage_basis(**asked(meter, customer), terms=PERCENT)


DEFINITION = MeterInput(
    code="m", name="M", event_type="api.call", aggregation="sum", value_property="v", filters={"live": True}
)


def documents(*told):
    return {
        "meter": DEFINITION,
        "terms": PERCENT,
        "documents": [{"occurred_at": "2026-01-05T00:00:00Z", **document} for document in told],
        "starts_at": START,
        "ends_at": END,
    }


def test_hand_written_events_pass_the_same_filters(tenant):
    measure = selectors.measure_event_documents(
        **documents(
            {"properties": {"live": True, "v": "5"}},
            {"properties": {"live": True}, "quantity": "7", "type": "api.call"},
            {"properties": {"live": 1, "v": "1000"}},
            {"properties": {"live": True, "v": "1000"}, "type": "other"},
            {"properties": {"live": True, "v": "1000"}, "occurred_at": "2026-01-31T00:00:00Z"},
        )
    )
    assert (measure.usage.quantity, measure.usage.event_count, measure.basis.events.charged_events) == (12, 2, 2)


def test_hand_written_events_that_the_door_would_refuse_are_named(tenant):
    with pytest.raises(EventDocumentsInvalid) as caught:
        selectors.measure_event_documents(
            **documents(
                {"properties": {"live": True, "v": "5"}},
                {"properties": {"live": True}},
                {"occurred_at": "yesterday"},
                {"properties": {"live": True, "v": "-5"}},
                {"colour": "red"},
                {"properties": ["v"]},
            )
        )
    assert [(problem.pointer, problem.code) for problem in caught.value.problems] == [
        ("/1", "missing_property"),
        ("/2", "invalid_time"),
        ("/3", "rule_min"),
        ("/4", "unknown_field"),
        ("/5", "invalid_type"),
    ]


def test_pieces_between_any_edges_are_folded_each_by_itself(customer, at):
    """Days of a zone of its own: an average of hours is no average of the day."""
    meter = metering.meter(code="m", aggregation="average", value_property="v")
    edges = [datetime(2026, 1, day, 23, tzinfo=UTC) for day in (4, 5, 6, 7)]
    moments = [edges[0], edges[0] + timedelta(hours=1), edges[1] - timedelta(microseconds=1), edges[2], edges[3]]
    batch = [
        metering.event(occurred_at=moment.isoformat(), properties={"v": str(value)})
        for moment, value in zip(moments, (1, 2, 6, 5, 100), strict=True)
    ]
    assert metering.send(*batch, at=at).accepted == 5
    window = {"meter": meter, "customer_id": customer.id, "subscription_id": None}
    pieces = selectors.usage_between(**window, edges=edges)
    assert [(piece.starts_at, piece.quantity, piece.event_count) for piece in pieces] == [
        (edges[0], 3, 3),
        (edges[2], 5, 1),
    ]
    assert selectors.usage_between(**window, edges=edges[:1]) == []
