"""Meters, usage and quarantine over HTTP."""

import pytest

from apps.metering.models import Meter, QuarantinedEvent, UsageEvent
from tests.builders import customers, metering, plans, subscriptions

pytestmark = pytest.mark.django_db

METER = {
    "code": "traffic",
    "name": "Traffic",
    "event_type": "api.call",
    "aggregation": "sum",
    "value_property": "bytes",
}
JANUARY = "from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00Z"


@pytest.fixture
def world(api):
    api.post("meters", {**METER, "group_by": ["region"], "rounding": {"mode": "ceil", "divide_by": "1000"}})
    customers.customer(external_id="acme")
    for day, size, region in ((10, "1500", "eu"), (10, "700", "us"), (12, "0.5", "eu")):
        event = metering.event(occurred_at=f"2026-01-{day}T10:00:00Z", properties={"bytes": size, "region": region})
        assert api.post("events", event).status_code == 200
    return api


def test_meters_are_defined_listed_and_found(api):
    made = api.post("meters", METER)
    assert made.status_code == 201
    document = made.json()
    assert {name: document[name] for name in METER} == METER
    assert (document["version"], document["retired_at"], document["id"][:4]) == (1, None, "mtr_")
    assert api.post("meters", METER).json() == document
    second = api.post("meters", {**METER, "filters": {"region": "eu"}}).json()
    assert second["version"] == 2
    assert [meter["version"] for meter in api.get("meters").json()["data"]] == [2, 1]
    assert api.get("meters/traffic").json() == second
    assert api.get(f"meters/{document['id']}").json()["retired_at"] is not None
    page = api.get("meters?limit=1").json()
    assert api.get(f"meters?limit=1&cursor={page['next_cursor']}").json()["data"][0]["version"] == 1
    assert api.get("meters/nothing").status_code == 404


def test_a_meter_that_cannot_be_is_refused_with_every_reason(api):
    response = api.post("meters", {**METER, "code": "Has Spaces", "rounding": {"mode": "nearest"}, "rules": {"x": 1}})
    assert (response.status_code, response["Content-Type"]) == (422, "application/problem+json")
    assert [error["pointer"] for error in response.json()["errors"]] == ["/code", "/rounding", "/rules/x"]
    unknown = api.post("meters", {**METER, "colour": "red"})
    assert unknown.json()["errors"][0]["code"] == "unknown_field"
    assert Meter.objects.count() == 0


def test_a_meter_that_carries_a_level_over_is_defined_and_told(api):
    """S100: a level is billed by the time it lasted; each piece begins with the level before it."""
    terms = {**METER, "aggregation": "weighted_sum", "value_property": "delta", "has_carry_over": True}
    assert api.post("meters", terms).json()["has_carry_over"] is True
    customers.customer(external_id="acme")
    for day, delta in ((9, "10"), (10, "-4")):
        event = metering.event(occurred_at=f"2026-01-{day:02}T12:00:00Z", properties={"delta": delta})
        assert api.post("events", event).status_code == 200
    window = "from=2026-01-10T00:00:00Z&to=2026-01-12T00:00:00Z"
    answer = api.get(f"usage?customer=acme&meter=traffic&{window}").json()
    assert answer["total"] == {"quantity": "7", "raw_quantity": "7", "event_count": 1}
    assert [(piece["quantity"], piece["event_count"]) for piece in answer["data"]] == [("8", 1), ("6", 0)]
    refused = api.post("meters", {**METER, "operation_property": "op", "has_carry_over": True})
    assert [error["pointer"] for error in refused.json()["errors"]] == ["/operation_property", "/has_carry_over"]


def test_a_meter_is_defined_once_under_one_idempotency_key(api):
    first = api.post("meters", METER, idempotency_key="k1")
    again = api.post("meters", METER, idempotency_key="k1")
    assert (again.json(), again["Idempotent-Replayed"]) == (first.json(), "true")


def test_usage_is_told_whole_and_in_pieces(world):
    answer = world.get(f"usage?customer=acme&meter=traffic&{JANUARY}&granularity=day&group_by=region").json()
    assert answer["total"] == {"quantity": "3", "raw_quantity": "2200.5", "event_count": 3}
    assert (answer["meter"], answer["meter_version"], answer["customer"][:4]) == ("traffic", 1, "cus_")
    assert answer["data"] == [
        {"starts_at": "2026-01-10T00:00:00Z", "group": {"region": "eu"}, "quantity": "1500", "event_count": 1},
        {"starts_at": "2026-01-10T00:00:00Z", "group": {"region": "us"}, "quantity": "700", "event_count": 1},
        {"starts_at": "2026-01-12T00:00:00Z", "group": {"region": "eu"}, "quantity": "0.5", "event_count": 1},
    ]
    window = "from=2026-01-10T12:00:00%2B02:00&to=2026-01-12T10:00:00Z"
    part = world.get(f"usage?customer=acme&meter=traffic&{window}&granularity=month").json()
    assert part["starts_at"] == "2026-01-10T10:00:00Z"
    assert [(piece["starts_at"], piece["quantity"]) for piece in part["data"]] == [("2026-01-01T00:00:00Z", "2200")]


def test_usage_of_a_subscription_of_the_customer_only(world):
    plans.published_plan(code="basic", base_fee="1.00")
    customer = customers.customer(external_id="other")
    subscriptions.subscription(customer=customer, plan_code="basic", external_id="theirs")
    own = world.get(f"usage?customer=other&meter=traffic&{JANUARY}&subscription=theirs")
    assert (own.status_code, own.json()["data"]) == (200, [])
    assert world.get(f"usage?customer=acme&meter=traffic&{JANUARY}&subscription=theirs").status_code == 404


@pytest.mark.parametrize(
    ("query", "status", "pointer"),
    [
        ("customer=acme&meter=traffic", 422, "/from"),
        ("customer=acme&meter=traffic&from=2026-01-01&to=2026-02-01", 422, "/from"),
        (f"customer=acme&meter=traffic&{JANUARY}&granularity=week", 422, "/granularity"),
        (f"customer=acme&meter=traffic&{JANUARY}&group_by=colour", 422, "/group_by"),
        (f"customer=acme&meter=traffic&{JANUARY}&colour=red", 422, "/colour"),
        ("customer=acme&meter=traffic&from=2026-02-01T00:00:00Z&to=2026-02-01T00:00:00Z", 422, "/to"),
        (f"customer=nobody&meter=traffic&{JANUARY}", 404, None),
        (f"customer=acme&meter=nothing&{JANUARY}", 404, None),
    ],
)
def test_a_question_that_cannot_be_answered_says_why(world, query, status, pointer):
    response = world.get(f"usage?{query}")
    assert (response.status_code, response["Content-Type"]) == (status, "application/problem+json")
    if pointer:
        assert pointer in [error["pointer"] for error in response.json()["errors"]]


def test_refused_events_are_listed_and_replayed(world):
    """S260: redrive over HTTP: the same id, once."""
    event = metering.event(customer="newcomer", properties={"bytes": "1"})
    world.post("events", event)
    world.post("events", metering.event(occurred_at="nonsense"))
    listed = world.get("usage/quarantine?code=unknown_customer&status=HELD").json()["data"]
    assert [(held["code"], held["event_id"], held["status"]) for held in listed] == [
        ("unknown_customer", event["id"], "HELD")
    ]
    assert len(world.get("usage/quarantine").json()["data"]) == 2
    path = f"usage/quarantine/{listed[0]['id']}/replay"
    refused = world.post(path)
    assert (refused.status_code, refused.json()["code"]) == (409, "replay_refused")
    assert "unknown_customer" in refused.json()["detail"]
    customers.customer(external_id="newcomer")
    assert world.post(path, idempotency_key="replay-1").json()["accepted"] == 1
    assert world.post(path, idempotency_key="replay-1").json()["accepted"] == 1
    assert world.post(path).status_code == 409
    assert UsageEvent.objects.filter(event_id=event["id"]).count() == 1
    assert QuarantinedEvent.objects.get(event_id=event["id"]).status == "REPLAYED"


def test_quarantine_refuses_what_it_does_not_know(world):
    assert world.get("usage/quarantine?status=LOST").status_code == 422
    assert 400 <= world.get("usage/quarantine?code=a%00b").status_code < 500
    assert world.post("usage/quarantine/qev_nothing/replay").status_code == 404
    assert world.post("usage/quarantine/qev_00000000000000000000000000/replay").status_code == 404
