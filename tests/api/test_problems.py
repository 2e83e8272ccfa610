"""Every failure is a problem document with a code, a pointer and no inside of ours."""

import json

import pytest

from apps.api import throttling
from apps.audit.models import AuditEntry
from apps.customers.models import Customer, TestClock
from tests.api import documents

pytestmark = pytest.mark.django_db
CUSTOMER = {"external_id": "acme", "name": "Acme Ltd", "currency": "USD"}


def _pointers(response) -> set[str]:
    return {error["pointer"] for error in response.json()["errors"]}


def test_unknown_fields_are_refused_by_name(api):
    """A misspelt field must not be a missing one; nothing is stored."""
    response = api.post("customers", {**CUSTOMER, "curency": "EUR", "a/b~c": 1})
    assert response.status_code == 422
    assert _pointers(response) == {"/curency", "/a~1b~0c"}
    assert {error["code"] for error in response.json()["errors"]} == {"unknown_field"}
    assert not Customer.objects.exists()


def test_all_problems_come_in_one_answer(api):
    """Wrong, missing and unknown together, nested ones included."""
    response = api.post("customers", {"name": "", "payment_terms_days": -1, "billing_address": {"street": "x"}, "x": 1})
    assert _pointers(response) >= {
        "/external_id",
        "/currency",
        "/name",
        "/payment_terms_days",
        "/billing_address/street",
        "/x",
    }


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 400),
        (b"nope", 400),
        (b"\xff\xfe\x00", 400),
        (b'{"name": NaN}', 400),
        (b'{"name": -Infinity}', 400),
        (b'{"payment_terms_days": 14.0}', 400),
        (b'{"payment_terms_days": 1e2}', 400),
        (b'{"name": "a", "name": "b"}', 400),
        (b"[" * 100_000, 400),
        (b'{"a":' * 40 + b"1" + b"}" * 40, 400),
        (b"9" * 10_000, 400),
        (b"[]", 422),
        (b'"text"', 422),
        (b"null", 422),
        (b'{"name": "\\ud800"}', 400),
        (b'{"\\udfff": "name"}', 400),
        (b'{"name": "a\\u0000b"}', 422),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_bodies_that_are_no_request(api, body, status):
    """No number passes through a float, no key stands twice, and nothing is stored."""
    for headers in ({}, {"idempotency_key": f"key-{status}-{len(body)}"}):
        response = api.send("POST", "customers", body, **headers)
        assert response.status_code == status, response.content
        assert response["Content-Type"] == "application/problem+json"
    assert not Customer.objects.exists()


@pytest.mark.parametrize(
    "path",
    [
        "customers?limit=0",
        "customers?limit=101",
        "customers?limit=x",
        "customers?limit=" + "9" * 5_000,
        "customers?cursor=mine",
        "customers?external_id=%00",
        "invoices?status=OPEN",
        "invoices?overdue=maybe",
        "invoices?expand=lines",
        "invoices?number=%00",
        "domain-events?after=-1",
        "domain-events?type=%00",
        "ledger/trial-balance?as_of=2026-01-01T00:00:00",
        "ledger/trial-balance?as_of=0001-01-01T00:00:00%2B14:00",
        "ledger/trial-balance?as_of=yesterday",
    ],
    ids=lambda path: path[:60],
)
def test_questions_that_cannot_be_answered(api, path):
    """422, never an answer to another question."""
    response = api.get(path)
    assert response.status_code == 422
    assert response["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("noun", ["customers", "subscriptions", "invoices", "payments", "plans", "test-clocks"])
def test_what_is_named_and_not_there(api, noun):
    """404 for what does not exist, is of another kind, or cannot be a name at all."""
    for name in ("missing", "cus_01h455vb4pex5vsknk084sn02q", "inv_zzz", "%00", "%F0%9F%92%A9", "x" * 400):
        response = api.get(f"{noun}/{name}")
        assert (response.status_code, response["Content-Type"]) == (404, "application/problem+json"), name


@pytest.mark.parametrize(
    "now", ["2026-01-31", "2026-01-31T00:00:00", "0001-01-01T00:00:00+14:00", "now", 1, None, [], ""]
)
def test_times_that_are_no_instants(api, now):
    """Without an offset nobody knows when it is."""
    response = api.post("test-clocks", {"now": now})
    assert response.status_code == 422
    assert _pointers(response) == {"/now"}
    assert not TestClock.objects.exists()


def test_times_are_told_in_utc(api):
    """S064: any offset in, Z out."""
    made = api.post("test-clocks", {"now": "2026-01-31T01:30:00+05:30"})
    assert (made.status_code, made.json()["now"]) == (201, "2026-01-30T20:00:00Z")


def test_a_fact_does_not_replace_a_member(api):
    """A refusal that tells the present status keeps its HTTP status."""
    documents.sold(api)
    again = api.post("plans/basic/versions/1/publish")
    problem = again.json()
    assert (again.status_code, problem["status"], problem["current_status"]) == (409, 409, "PUBLISHED")


def test_the_request_id_goes_through(api):
    """One id in reply, problem and trail; a sane one of the caller's is kept, another is not."""
    made = api.post("customers", CUSTOMER, request_id="mine-1")
    assert made["Request-Id"] == "mine-1"
    assert AuditEntry.objects.get(action="create").request_id == "mine-1"
    refused = api.post("customers", CUSTOMER, request_id="bad id\twith spaces")
    assert refused.status_code == 409
    assert refused.json()["request_id"] == refused["Request-Id"] != "bad id\twith spaces"


def test_a_failure_of_ours_tells_nothing_of_the_inside(api, monkeypatch):
    """500 with the request id to ask by, and no word of what broke."""
    from apps.customers import services

    def broken(**_arguments):
        raise RuntimeError("password=hunter2 at /secret/path")

    monkeypatch.setattr(services, "customer_create", broken)
    for headers in ({}, {"idempotency_key": "k"}):
        response = api.post("customers", CUSTOMER, **headers)
        assert (response.status_code, response.json()["code"]) == (500, "internal_error")
        assert b"hunter2" not in response.content
        assert b"RuntimeError" not in response.content


def test_limits_are_told_before_they_are_felt(api, clock, monkeypatch):
    """RateLimit headers on every answer; 429 with Retry-After when the window is used up, and not a second longer."""
    monkeypatch.setattr(throttling.take, "__kwdefaults__", {**throttling.take.__kwdefaults__, "limit": 2})
    answers = [api.get("customers") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[0]["RateLimit"].startswith('"requests";r=1;')
    refused = answers[2]
    assert refused["Content-Type"] == "application/problem+json"
    assert refused["RateLimit"].startswith('"requests";r=0;')
    wait = int(refused["Retry-After"])
    assert 0 < wait <= throttling.WINDOW_SECONDS + 1
    clock.set(clock.now_at.replace(minute=clock.now_at.minute + 1))
    assert api.get("customers").status_code == 200


def test_limits_are_per_key(api, api_for, monkeypatch):
    """One noisy service does not stop another."""
    monkeypatch.setattr(throttling.take, "__kwdefaults__", {**throttling.take.__kwdefaults__, "limit": 1})
    assert [api.get("customers").status_code for _ in range(2)] == [200, 429]
    assert api_for("customers:write").get("customers").status_code == 200


def test_money_is_never_a_json_number(api):
    """S250: amounts and rates are decimal strings in and out."""
    body = {"charge": {"model": "per_unit", "unit_rate": 2}, "currency": "USD", "units": "10"}
    assert api.post("pricing/estimate", body).status_code == 422
    text = json.dumps(body).replace('"unit_rate": 2', '"unit_rate": 0.002').encode()
    assert api.send("POST", "pricing/estimate", text).status_code == 400
    good = api.post("pricing/estimate", {**body, "charge": {"model": "per_unit", "unit_rate": "0.002"}})
    assert good.status_code == 200
    json.loads(good.content, parse_float=lambda text: pytest.fail(f"{text} is a JSON number"))
