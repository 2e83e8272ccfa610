"""The door for usage events, spoken to over HTTP."""

import json
from datetime import timedelta

import pytest
from django.db import OperationalError
from psycopg import errors as postgres

from apps.api import throttling
from apps.api.v1 import usage_events
from apps.metering.models import QuarantinedEvent, UsageEvent
from apps.workflows import usage_intake
from tests.api.conftest import Api
from tests.builders import customers, identity, metering
from tests.conftest import NOW

pytestmark = pytest.mark.django_db
PROBLEM = "application/problem+json"


@pytest.fixture
def sender(api_for):
    metering.meter()
    customers.customer(external_id="acme")
    return api_for("events:write")


def test_a_batch_is_answered_event_by_event(sender):
    """S036, S037: one answer for the batch, one result per event that was not plainly accepted."""
    first = metering.event()
    clean = sender.post("events/batch", {"events": [first, metering.event()]})
    assert (clean.status_code, clean["Content-Type"]) == (200, "application/json")
    assert clean.json() == {"accepted": 2, "duplicates": 0, "conflicts": 0, "rejected": 0, "results": []}
    again = sender.post("events/batch", {"events": [first]})
    assert (again.status_code, again.json()["results"]) == (200, [{"index": 0, "status": "duplicate"}])
    mixed = sender.post(
        "events/batch",
        {"events": [metering.event(), first, {**first, "quantity": "9"}, metering.event(customer="nobody")]},
    )
    assert mixed.status_code == 207
    answer = mixed.json()
    assert {name: answer[name] for name in ("accepted", "duplicates", "conflicts", "rejected")} == {
        "accepted": 1,
        "duplicates": 1,
        "conflicts": 1,
        "rejected": 1,
    }
    assert [(r["index"], r["status"], r.get("code")) for r in answer["results"]] == [
        (1, "duplicate", None),
        (2, "conflict", "id_reused"),
        (3, "rejected", "unknown_customer"),
    ]
    assert "nobody" in answer["results"][2]["detail"]


def test_a_single_event_has_the_same_answer(sender):
    """S022, S025: the canonical event; what is wrong with it is named field by field, and it is kept."""
    event = metering.event()
    assert sender.post("events", event).json()["accepted"] == 1
    assert sender.post("events", event).json()["duplicates"] == 1
    wrong = sender.post("events", {**event, "occurred_at": "yesterday"})
    assert (wrong.status_code, wrong.json()["results"][0]["code"]) == (207, "invalid_time")
    missing = sender.post("events", {name: value for name, value in event.items() if name != "customer"})
    assert missing.json()["results"][0]["detail"].startswith("'customer' is missing")
    assert QuarantinedEvent.objects.count() == 2


@pytest.mark.parametrize("path", ["events", "events/batch"])
@pytest.mark.parametrize("body", [b"", b"{", b"not json", b'{"events": [{"id": "x}]}', b"[1,", b"5", b"\xff", b"null"])
def test_a_body_that_is_no_json_is_a_problem_and_stores_nothing(sender, path, body):
    response = sender.send("POST", path, body)
    assert (response.status_code, response["Content-Type"]) == (400, PROBLEM)
    assert response.json()["code"] == "batch_invalid"
    assert response.json()["request_id"] == response["Request-Id"]
    assert (UsageEvent.objects.count(), QuarantinedEvent.objects.count()) == (0, 0)


def _text() -> bytes:
    return json.dumps(metering.event()).encode()


def test_a_single_body_that_closes_early_loses_no_event(sender):
    """No event may be gone after a 200: what is not exactly one object is refused whole."""
    for joint in (b',"x":1}],"events":[', b"},{", b'}],"events":[{"x":1}', b'}]},{"events":[{', b"} {", b"},"):
        body = _text()[:-1] + joint + _text() if joint != b"}," else _text() + b","
        response = sender.send("POST", "events", body)
        assert (response.status_code, response.json()["code"]) == (400, "batch_invalid"), joint
    assert (UsageEvent.objects.count(), QuarantinedEvent.objects.count()) == (0, 0)


@pytest.mark.parametrize(
    "form",
    [
        b'{"events": [%s], "events": [%s]}',
        b'{"events": [%s], "events": []%s}',
        b'{"\\u0065vents": [%s], "events": [%s]}',
        b'{"events": [%s], "\\u0065vents": [%s]}',
        b'{"Events": [%s], "events": [%s]}',
        b'{"events": [%s], "more": [%s]}',
        b'{"events": null, "events": [%s, %s]}',
    ],
)
def test_a_body_whose_events_stand_twice_is_refused_whole(sender, form):
    """Of a repeated key one value would win; the events of the other would be gone after a 200."""
    body = form % (_text(), _text() if b"[]%s" not in form else b"")
    response = sender.send("POST", "events/batch", body)
    assert (response.status_code, response.json()["code"]) == (400, "batch_invalid")
    assert (UsageEvent.objects.count(), QuarantinedEvent.objects.count()) == (0, 0)


def test_space_around_a_body_changes_nothing(sender):
    for body in (b' \r\n{ "events" :\t[ ' + _text() + b" ] \n} ", b"\n [" + _text() + b"]\n"):
        assert sender.send("POST", "events/batch", body).json()["accepted"] == 1
    assert sender.send("POST", "events", b"\n" + _text() + b" ").json()["accepted"] == 1


def test_too_many_events_or_bytes_are_refused_whole(sender):
    many = sender.send("POST", "events/batch", b'{"events":[' + b",".join([b"{}"] * 10_001) + b"]}")
    assert (many.status_code, many.json()["code"]) == (413, "batch_too_large")
    long = sender.send("POST", "events/batch", b'{"events":["' + b"x" * 4_194_304 + b'"]}')
    assert (long.status_code, long.json()["code"]) == (413, "batch_too_large")
    assert QuarantinedEvent.objects.count() == 0


@pytest.mark.parametrize("path", ["events", "events/batch"])
def test_only_post_and_only_with_the_scope(sender, api_for, anonymous, path):
    refused = sender.get(path)
    assert (refused.status_code, refused["Allow"], refused["Content-Type"]) == (405, "POST", PROBLEM)
    reader = api_for("usage:read").post(path, metering.event())
    assert (reader.status_code, reader.json()["code"]) == (403, "permission_denied")
    nobody = anonymous.post(path, metering.event())
    assert (nobody.status_code, nobody["WWW-Authenticate"]) == (401, "Bearer")
    wrong = Api(key="chk_live_nothing_nothing", host="alpha.localhost").post(path, metering.event())
    assert (wrong.status_code, wrong["Content-Type"]) == (401, PROBLEM)
    assert UsageEvent.objects.count() == 0


def test_another_tenants_key_opens_nothing(sender):
    """S051: ids, keys and events belong to a tenant; the host decides which."""
    foreign = Api(key=sender.key, host="beta.localhost").post("events", metering.event())
    assert foreign.status_code == 401
    assert UsageEvent.objects.count() == 0


def test_a_mapping_and_cloud_events_are_read(sender):
    """S024: a source's own shape by its mapping, and CloudEvents as they are."""
    metering.mapping(source="edge", id="rid", type="=api.call", customer="account", occurred_at="at")
    document = {"rid": 5, "account": "acme", "at": "2026-01-10T12:00:00Z"}
    assert sender.post("events?mapping=edge", document).json()["accepted"] == 1
    unknown = sender.post("events?mapping=other", document)
    assert (unknown.status_code, unknown.json()["code"]) == (404, "event_mapping_unknown")
    cloud = {"specversion": "1.0", "id": "1", "source": "/x", "type": "api.call", "subject": "acme"}
    batch = sender.send("POST", "events/batch", json.dumps([{**cloud, "time": "2026-01-10T12:00:00Z"}]).encode())
    assert batch.json()["accepted"] == 1


@pytest.mark.parametrize("proto", [{"x_forwarded_proto": "http"}, {}])
def test_telemetry_in_clear_is_refused_where_the_house_serves_over_tls(sender, settings, proto):
    """S043: nothing of a batch that came in clear is stored, and its sender is told to change the key."""
    settings.INTAKE_TLS_REQUIRED = True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    body = json.dumps(metering.event()).encode()
    refused = sender.send("POST", "events", body, **proto)
    assert (refused.status_code, refused.json()["code"]) == (403, "tls_required")
    assert "revoke this key" in refused.json()["detail"]
    assert UsageEvent.objects.count() == 0
    assert sender.send("POST", "events", body, x_forwarded_proto="https").status_code == 200


def test_limits_are_told_and_count_events(sender, monkeypatch):
    """S038: a batch costs as many units as it has events; what is above the limit is not stored."""
    monkeypatch.setattr(throttling, "EVENTS_PER_WINDOW", 3)
    first = sender.post("events/batch", {"events": [metering.event(), metering.event()]})
    assert first["RateLimit"].startswith('"events";r=1;')
    second = sender.post("events/batch", {"events": [metering.event(), metering.event()]})
    assert (second.status_code, second.json()["code"]) == (429, "throttled")
    assert int(second["Retry-After"]) >= 1
    assert second["RateLimit"].startswith('"events";r=0;')
    assert second["RateLimit-Policy"] == '"events";q=3;w=60'
    assert UsageEvent.objects.count() == 2


def test_failures_of_ours_say_what_to_do_and_nothing_of_the_inside(sender, monkeypatch):
    def fail(error):
        def events_accept(**_arguments):
            raise error

        return events_accept

    monkeypatch.setattr(usage_intake, "events_accept", fail(OperationalError("server secret closed the connection")))
    away = sender.post("events", metering.event())
    assert (away.status_code, away["Retry-After"], away.json()["code"]) == (503, "1", "try_again")
    monkeypatch.setattr(usage_intake, "events_accept", fail(ZeroDivisionError("secret")))
    bug = sender.post("events", metering.event())
    assert (bug.status_code, bug.json()["code"]) == (500, "internal_error")
    assert "secret" not in away.content.decode() + bug.content.decode()


@pytest.mark.parametrize(
    ("cause", "status"),
    [
        (postgres.LockNotAvailable, 503),
        (postgres.DeadlockDetected, 503),
        (postgres.AdminShutdown, 503),
        (postgres.ConnectionFailure, 503),
        (postgres.DiskFull, 500),
        (postgres.QueryCanceled, 500),
    ],
)
def test_only_what_passes_by_itself_is_to_be_tried_again(sender, monkeypatch, cause, status):
    """Sending again mends a lost connection and a lock that somebody held; nothing else."""

    def events_accept(**_arguments):
        raise OperationalError("secret") from cause()

    monkeypatch.setattr(usage_intake, "events_accept", events_accept)
    response = sender.post("events", metering.event())
    assert (response.status_code, "Retry-After" in response) == (status, status == 503)


def test_ordinary_refusals_of_a_rule_are_problems_with_their_own_status(sender, clock):
    _key, plain = identity.api_key("events:write", expires_at=NOW + timedelta(hours=1))
    caller = Api(key=plain, host="alpha.localhost")
    assert caller.post("events", metering.event()).status_code == 200
    clock.set(NOW + timedelta(hours=2))
    assert caller.post("events", metering.event()).status_code == 401


def test_what_is_answered_is_visible_to_usage(sender, api_for):
    sender.post("events", metering.event())
    asked = "usage?customer=acme&meter=api_calls&from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00Z"
    assert api_for("usage:read").get(asked).json()["total"]["quantity"] == "1"


def test_a_revoked_key_opens_the_door_for_ten_seconds_at_most(monkeypatch):
    """The memory of proven keys is short, per tenant, and keeps no secret."""
    assert usage_events.KEY_SECONDS <= 10
    moments = iter([100, 105, 111])
    monkeypatch.setattr(usage_events.time, "monotonic_ns", lambda: next(moments) * 10**9)
    calls = []
    answer = object()

    class Key:
        expires_at = None

    def authenticate(**_arguments):
        calls.append(answer)
        return Key()

    class Request:
        headers = {"Authorization": "Bearer chk_live_x_y"}

    class Connection:
        schema_name = "t_alpha"
        in_atomic_block = False

    monkeypatch.setattr(usage_events, "connection", Connection)
    monkeypatch.setattr(usage_events, "require_tenant", lambda: None)
    monkeypatch.setattr(usage_events.identity_services, "api_key_authenticate", authenticate)
    monkeypatch.setattr(usage_events, "_keys", {})
    keys = [usage_events._key(Request(), NOW) for _ in range(2)]
    assert (len(calls), keys[0]) == (1, keys[1])
    assert all("chk_live" not in repr(name) for name in usage_events._keys)
    usage_events._key(Request(), NOW)
    assert len(calls) == 2


def test_a_request_lets_its_body_go(rf):
    """A request lives on in the circle of its session and user; what it carried must not live on with it."""
    request = rf.post("/api/v1/events/batch", data=b'{"events": []}', content_type="application/json")
    assert usage_events._body(request) == b'{"events": []}'
    assert request.body == b""
    assert "wsgi.input" not in request.META
