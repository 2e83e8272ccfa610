"""The check before acting, all answers at once, and grants, over HTTP."""

import pytest

from apps.metering.limit_models import UsageLimit
from tests.builders import limits, metering

pytestmark = pytest.mark.django_db


@pytest.fixture
def acme(api):
    """A customer with a limit of three calls and a switch."""
    return limits.limited(limit="3", more={"reports": True})


def test_the_check_answers_with_limit_used_remaining_and_reset(api, acme):
    """S116, S119: live within the accepting request, and a refusal is an answer that says why."""
    for used, allowed in (("0", True), ("1", True), ("2", True), ("3", False)):
        document = api.get("entitlements/check?customer=acme&feature=api_calls&units=1").json()
        assert (document["used"], document["allowed"]) == (used, allowed)
        api.post("events", metering.event())
    assert document == {
        "allowed": False,
        "reason": "quota_exceeded",
        "limit": "3",
        "used": "3",
        "remaining": "0",
        "resets_at": "2026-02-01T00:00:00+00:00",
        "access": {"standing": "GOOD", "rate_factor": "1"},
    }


def test_an_event_above_the_limit_is_answered_quota_exceeded(api, acme):
    """S116, S118: by one code, with limit, used and when it begins anew; it waits in quarantine and replays."""
    for _ in range(3):
        assert api.post("events", metering.event()).status_code == 200
    answer = api.post("events", metering.event())
    assert answer.status_code == 207
    (result,) = answer.json()["results"]
    assert (result["code"], result["limit"], result["used"]) == ("quota_exceeded", "3", "3")
    (held,) = api.get("usage/quarantine").json()["data"]
    assert held["code"] == "quota_exceeded"
    refused = api.post(f"usage/quarantine/{held['id']}/replay", {})
    assert (refused.status_code, refused.json()["code"]) == (409, "replay_refused")
    grant = {"feature": "api_calls", "grant_key": "ticket-7", "extra_units": "2"}
    assert api.post("customers/acme/entitlements", grant).status_code == 201
    assert api.post(f"usage/quarantine/{held['id']}/replay", {}).status_code == 200
    assert UsageLimit.objects.get().limit_units == 5


def test_all_features_of_a_customer_with_its_grants(api, acme):
    """S126: the same grant again is the one that is there; another one under its key is a conflict."""
    grant = {"feature": "seats", "grant_key": "order-9", "extra_units": "5"}
    first = api.post("customers/acme/entitlements", grant).json()
    again = {**grant, "starts_at": first["starts_at"]}
    assert api.post("customers/acme/entitlements", again).json() == first
    conflict = api.post("customers/acme/entitlements", {**grant, "extra_units": "6"})
    assert (conflict.status_code, conflict.json()["code"]) == (409, "grant_key_taken")
    document = api.get("customers/acme/entitlements").json()
    assert [(row["feature"], row["allowed"], row["limit"]) for row in document["features"]] == [
        ("api_calls", True, "3"),
        ("reports", True, None),
        ("seats", True, "5"),
    ]
    assert [row["id"] for row in document["grants"]] == [first["id"]]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("customer=acme", 422),
        ("customer=acme&feature=api_calls&units=-1", 422),
        ("customer=acme&feature=api_calls&units=1e400", 422),
        ("customer=nobody&feature=api_calls", 404),
    ],
)
def test_a_question_that_cannot_be_answered_says_what_is_wrong(api, acme, query, status):
    assert api.get(f"entitlements/check?{query}").status_code == status


def test_what_another_tenant_has_is_not_there(api, neighbour, acme):
    """S012: the same question on another tenant's host finds no such customer."""
    assert neighbour.get("entitlements/check?customer=acme&feature=api_calls").status_code == 404
    assert neighbour.get("customers/acme/entitlements").status_code == 404
