"""Corrections of usage and refused events over HTTP: who may, what is answered, what is left."""

import json

import pytest

from apps.metering.models import QuarantinedEvent, UsageCancellation, UsageEvent
from tests.builders import customers, metering

pytestmark = pytest.mark.django_db

JANUARY = "from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00Z"
REASON = {"reason_code": "wrong_value", "comment": "their unit was wrong"}


@pytest.fixture
def world(api):
    """Acme with three users whose bytes are added up, by user."""
    metering.meter(code="traffic", aggregation="sum", value_property="bytes", group_by=["user"])
    customers.customer(external_id="acme")
    for number, (user, size) in enumerate((("ann", "5"), ("ann", "7"), ("bob", "1"))):
        event = metering.event(id=f"e{number}", properties={"bytes": size, "user": user})
        assert api.post("events", event).status_code == 200
    return api


def usage(api, group_by: str = "") -> dict:
    grouped = f"&group_by={group_by}" if group_by else ""
    return api.get(f"usage?customer=acme&meter=traffic&{JANUARY}&granularity=month{grouped}").json()


def total(api) -> str:
    return usage(api)["total"]["quantity"]


def ask(api, *events, key: str = "k1", **body):
    return api.post("usage/corrections", {"events": list(events), **REASON, **body}, idempotency_key=key)


def many(api, count: int = 11) -> list[dict]:
    """Send more events than one person may correct alone, and name them."""
    events = [metering.event(id=f"m{number}", properties={"bytes": "1", "user": "ann"}) for number in range(count)]
    assert api.post("events/batch", {"events": events}).json()["accepted"] == count
    return [{"source": "test", "id": event["id"]} for event in events]


def test_users_and_their_company_are_told_together(world):
    """S083: one question gives the customer's total and each of its users' shares, which add up to it."""
    answer = usage(world, "user")
    shares = {bucket["group"]["user"]: bucket["quantity"] for bucket in answer["data"]}
    assert (answer["total"]["quantity"], shares) == ("13", {"ann": "12", "bob": "1"})
    ask(world, {"source": "test", "id": "e2", "properties": {"bytes": "1", "user": "ann"}}, kind="amend")
    answer = usage(world, "user")
    shares = {bucket["group"]["user"]: bucket["quantity"] for bucket in answer["data"] if bucket["quantity"] != "0"}
    assert (answer["total"]["quantity"], shares) == ("13", {"ann": "13"})


def test_a_small_correction_is_applied_at_once_and_once(world):
    """S081: history is adjusted by a document with a reason, never in place; a repeat of the request does nothing."""
    made = ask(world, {"source": "test", "id": "e0", "properties": {"bytes": "50", "user": "ann"}}, kind="amend")
    assert made.status_code == 201
    document = made.json()
    assert (document["status"], document["is_within_bound"], document["event_count"]) == ("APPLIED", True, 1)
    assert document["effect"]["meters"] == [{"meter": "traffic", "version": 1, "unit_name": "", "units_change": "45"}]
    assert total(world) == "58"
    again = ask(world, {"source": "test", "id": "e0", "properties": {"bytes": "50", "user": "ann"}}, kind="amend")
    assert (again.json(), again["Idempotent-Replayed"]) == (document, "true")
    assert total(world) == "58"
    assert world.get(f"usage/corrections/{document['id']}").json() == document
    [row] = world.get(f"usage/corrections/{document['id']}/events").json()["data"]
    assert (row["event_id"], row["before"]["properties"]["bytes"], row["after"]["properties"]["bytes"]) == (
        "e0", "5", "50",
    )  # fmt: skip
    assert row["replaced_by"] == row["after"]["id"] == f"{document['id']}:0"


def test_a_dry_run_tells_the_effect_and_leaves_nothing(world):
    body = {"kind": "cancel", "events": [{"source": "test", "id": "e0"}], **REASON}
    rehearsed = world.post("usage/corrections?dry_run=true", body).json()
    assert rehearsed["effect"]["meters"][0]["units_change"] == "-5"
    assert rehearsed["dry_run"]["domain_events"][-1]["topic"] == "metering.usage_correction.applied"
    assert (total(world), UsageCancellation.objects.count()) == ("13", 0)
    assert world.get("usage/corrections").json()["data"] == []


def test_above_the_bound_another_key_decides(world, api_for):
    """I09: approval by somebody else, in the same words over HTTP as at a desk."""
    asked = ask(world, *many(world), kind="cancel").json()
    assert (asked["status"], total(world)) == ("PENDING_APPROVAL", "24")
    path, seen = f"usage/corrections/{asked['id']}", {"comment": "seen their log"}
    own = world.post(f"{path}/approve", seen, idempotency_key="a1")
    assert (own.status_code, own.json()["code"]) == (403, "correction_needs_another")
    assert world.post(f"{path}/reject", seen, idempotency_key="a2").status_code == 403
    assert [row["id"] for row in world.get("usage/corrections?status=PENDING_APPROVAL").json()["data"]] == [asked["id"]]
    other = api_for("invoices:write")
    assert other.post(f"{path}/approve", {}, idempotency_key="b0").status_code == 422
    done = other.post(f"{path}/approve", seen, idempotency_key="b1")
    assert (done.status_code, done.json()["status"], done.json()["decision_comment"]) == (
        200, "APPLIED", "seen their log",
    )  # fmt: skip
    assert total(world) == "13"
    late = other.post(f"{path}/reject", seen, idempotency_key="b2")
    assert (late.status_code, late.json()["code"]) == (409, "correction_decided")


def test_what_waits_is_rejected_or_withdrawn(world, api_for):
    names = many(world)
    rejected = ask(world, *names, kind="cancel", key="k1").json()
    withdrawn = ask(world, *names, kind="cancel", key="k2").json()
    no = {"comment": "no proof"}
    path = f"usage/corrections/{rejected['id']}/reject"
    assert api_for("invoices:write").post(path, no, idempotency_key="r").json()["status"] == "REJECTED"
    path = f"usage/corrections/{withdrawn['id']}/withdraw"
    assert world.post(path, no, idempotency_key="w").json()["status"] == "CANCELED"
    assert total(world) == "24"


def test_a_correction_is_taken_back_in_one_step(world):
    done = ask(world, {"source": "test", "id": "e1"}, kind="cancel", reason_code="duplicate").json()
    assert total(world) == "6"
    body = {"reason_code": "correction_wrong", "comment": "it was no duplicate"}
    back = world.post(f"usage/corrections/{done['id']}/counter", body, idempotency_key="c").json()
    assert (back["kind"], back["counters"], total(world)) == ("backfill", done["id"], "13")
    assert world.get(f"usage/corrections/{done['id']}").json()["countered_by"] == back["id"]
    twice = world.post(f"usage/corrections/{done['id']}/counter", body, idempotency_key="c2")
    assert (twice.status_code, twice.json()["code"]) == (409, "correction_conflict")


def test_what_is_wrong_is_named_with_its_place(world):
    refused = ask(world, {"source": "test", "id": "e0"}, {"source": "test", "id": "nobody"}, kind="cancel")
    assert (refused.status_code, refused.json()["code"]) == (422, "correction_invalid")
    assert [(error["pointer"], error["code"]) for error in refused.json()["errors"]] == [("/events/1", "event_unknown")]
    assert ask(world, kind="cancel", key="k2").json()["errors"][0]["pointer"] == "/events"
    no_key = world.post("usage/corrections", {"kind": "cancel", "events": [], **REASON})
    assert no_key.status_code in (400, 422)
    half = {"kind": "backfill", "meter": "traffic", **REASON}
    refused = world.post("usage/corrections", half, idempotency_key="k3")
    assert {error["pointer"] for error in refused.json()["errors"]} == {"/customer", "/from", "/to"}
    assert (total(world), UsageCancellation.objects.count()) == ("13", 0)


def test_a_meter_is_back_filled_only_where_there_is_something(world):
    whole = {"kind": "backfill", "meter": "traffic", "customer": "acme", **REASON}
    window = {"from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z"}
    refused = world.post("usage/corrections", {**whole, **window}, idempotency_key="k")
    assert refused.json()["errors"][0]["code"] == "nothing_to_backfill"


def test_the_neighbours_events_cannot_be_corrected(world, neighbour):
    """Two tenants: the same source and id is another fact there, or none."""
    done = ask(world, {"source": "test", "id": "e0"}, kind="cancel").json()
    refused = ask(neighbour, {"source": "test", "id": "e1"}, kind="cancel")
    assert refused.json()["errors"][0]["code"] == "event_unknown"
    for path in ("", "/events"):
        assert neighbour.get(f"usage/corrections/{done['id']}{path}").status_code == 404
    for command in ("approve", "reject", "withdraw"):
        answer = neighbour.post(f"usage/corrections/{done['id']}/{command}", {"comment": "x"}, idempotency_key=command)
        assert answer.status_code == 404, command
    body = {"reason_code": "other", "comment": "x"}
    assert neighbour.post(f"usage/corrections/{done['id']}/counter", body, idempotency_key="c").status_code == 404
    assert neighbour.get("usage/corrections").json()["data"] == []
    assert total(world) == "8"


def test_the_bound_is_told_and_set(world):
    assert world.get("usage/corrections/bound").json() == {
        "events_max": 10, "units_max": "1000", "comment": "", "set_by": "", "set_at": None,
    }  # fmt: skip
    body = {"events_max": 0, "units_max": "0", "comment": "four eyes for all"}
    assert world.post("usage/corrections/bound", body).status_code == 201
    assert ask(world, {"source": "test", "id": "e0"}, kind="cancel").json()["status"] == "PENDING_APPROVAL"


def test_a_refused_event_is_edited_replayed_and_told(world, neighbour):
    event = metering.event(id="bad", properties={"bytes": "5 MB", "user": "ann"})
    world.post("events", event)
    [held] = world.get("usage/quarantine?status=HELD").json()["data"]
    assert held["customer"] == "acme"
    path = f"usage/quarantine/{held['id']}"
    body = {"raw": json.dumps({**event, "properties": {"bytes": "5", "user": "ann"}}), "comment": "their unit"}
    assert neighbour.post(f"{path}/edit", body).status_code == 404
    edited = world.post(f"{path}/edit", body)
    assert (edited.status_code, edited.json()["edits"], edited.json()["edit_comment"]) == (
        201,
        held["id"],
        "their unit",
    )
    assert world.post(f"{path}/replay").status_code == 409
    assert world.post(f"usage/quarantine/{edited.json()['id']}/replay").json()["accepted"] == 1
    assert total(world) == "18"


def test_a_reused_id_is_stored_and_test_data_discarded(world):
    world.post("events", metering.event(id="e0", properties={"bytes": "2", "user": "ann"}))
    world.post("events", metering.event(id="x", customer="nobody"))
    reused, unknown = (QuarantinedEvent.objects.get(code=code) for code in ("id_reused", "unknown_customer"))
    body = {"event_id": "e0-2", "comment": "two facts"}
    stored = world.post(f"usage/quarantine/{reused.public_id}/store", body)
    assert (stored.status_code, stored.json()["status"], total(world)) == (201, "REPLAYED", "15")
    body = {"reason_code": "test_data", "comment": "a load test"}
    gone = world.post(f"usage/quarantine/{unknown.public_id}/discard", body).json()
    assert (gone["status"], gone["close_reason"]) == ("DISCARDED", "test_data")
    assert world.get("usage/quarantine/summary").json()["data"] == []


def test_what_waited_for_a_customer_goes_in_at_once(world):
    for number in range(3):
        event = metering.event(id=f"n{number}", customer="newco", properties={"bytes": "1", "user": "x"})
        world.post("events", event)
    [summary] = world.get("usage/quarantine/summary").json()["data"]
    assert (summary["code"], summary["count"], summary["customers"]) == ("unknown_customer", 3, 1)
    assert len(world.get("usage/quarantine?customer=newco").json()["data"]) == 3
    customers.customer(external_id="newco")
    answer = world.post("usage/quarantine/replay", {"code": "unknown_customer", "customer": "newco"}).json()
    assert answer == {"replayed": 3, "refused": {}, "waiting": 0}
    assert UsageEvent.objects.filter(event_id__startswith="n").count() == 3
