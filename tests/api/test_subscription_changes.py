"""Changes over HTTP: a rehearsal names its instant, repeating it bills the same."""

import pytest

from tests.api import documents

pytestmark = pytest.mark.django_db

MID_JANUARY = "2026-01-16T12:00:00Z"
BIGGER = {
    **documents.PLAN,
    "plan": "bigger",
    "name": "Bigger",
    "base_fee": {"amount": "62.00", "timing": "advance"},
    "examples": [{"usage": {"calls": "2"}, "total": "63.00"}],
}


@pytest.fixture
def clock_id(api) -> str:
    """A customer on 10.00 a month in arrears since 1 January, half-way through the month; 62.00 is on sale, too."""
    documents.sold(api)
    documents.made(api.post("plans", BIGGER))
    documents.made(api.post("plans/bigger/versions/1/publish"))
    clock_id = documents.subscribed(api)
    documents.made(api.post(f"test-clocks/{clock_id}/advance", {"to": MID_JANUARY}))
    return clock_id


def _lines(document) -> list[tuple[str, str, str]]:
    return [(line["code"], line["kind"], line["net"]) for line in document["lines"]]


def test_a_rehearsed_change_is_repeated_to_the_cent(api, clock_id):
    """S107 S109: the dry run answers the instant and the document; the real call with `at` makes the same lines."""
    rehearsed = documents.made(api.post("subscriptions/acme-basic/change?dry_run=true", {"plan": "bigger"}))
    assert documents.made(api.get("subscriptions/acme-basic"))["plan"] == "basic"
    instant = rehearsed["change"]["effective_at"]
    assert instant == MID_JANUARY
    documents.made(api.post(f"test-clocks/{clock_id}/advance", {"to": "2026-01-16T18:00:00Z"}))
    body = {"plan": "bigger", "at": instant, "reason_code": "upgrade", "comment": "asked by mail"}
    changed = documents.made(api.post("subscriptions/acme-basic/change", body))
    assert _lines(changed["document"]) == _lines(rehearsed["document"])
    # Half of January's 10.00 in arrears, and half of 62.00 ahead; the calls are split in time.
    assert _lines(changed["document"]) == [
        ("base_fee", "base_fee", "5.00"),
        ("base_fee", "base_fee", "31.00"),
        ("calls", "usage", "0.00"),
    ]
    subscription = documents.made(api.get("subscriptions/acme-basic"))
    assert (subscription["plan"], subscription["status"]) == ("bigger", "active")
    [listed] = documents.made(api.get("subscriptions/acme-basic/changes"))["data"]
    assert (listed["plan"], listed["applied_at"], listed["reason_code"]) == ("bigger", instant, "upgrade")
    periods = documents.made(api.get("subscriptions/acme-basic/periods"))["data"]
    assert [(row["plan"], row["starts_at"]) for row in periods] == [
        ("bigger", MID_JANUARY),
        ("basic", documents.JANUARY),
    ]


def test_a_change_for_the_end_is_a_row_that_can_be_withdrawn(api, clock_id):
    scheduled = documents.made(api.post("subscriptions/acme-basic/change", {"plan": "bigger", "timing": "period_end"}))[
        "change"
    ]
    assert (scheduled["effective_at"], scheduled["applied_at"]) == (documents.FEBRUARY, None)
    path = f"subscriptions/acme-basic/changes/{scheduled['id']}/withdraw"
    assert documents.made(api.post(path, {}))["withdrawn_at"] is not None
    assert api.post(path, {}).status_code == 409
    assert api.post("subscriptions/acme-basic/changes/sch_0/withdraw", {}).status_code == 404


def test_pause_resume_and_cancel(api, clock_id):
    paused = documents.made(api.post("subscriptions/acme-basic/pause", {"mode": "freeze"}))
    assert paused["change"]["pause_mode"] == "freeze"
    assert documents.made(api.get("subscriptions/acme-basic"))["status"] == "paused"
    assert api.post("subscriptions/acme-basic/change", {"plan": "bigger"}).status_code == 409
    documents.made(api.post(f"test-clocks/{clock_id}/advance", {"to": "2026-01-20T12:00:00Z"}))
    documents.made(api.post("subscriptions/acme-basic/resume", {}))
    assert documents.made(api.get("subscriptions/acme-basic"))["status"] == "active"
    documents.made(api.post("subscriptions/acme-basic/cancel", {"timing": "period_end"}))
    documents.made(api.post(f"test-clocks/{clock_id}/advance", {"to": "2026-03-01T00:00:00Z"}))
    ended = documents.made(api.get("subscriptions/acme-basic"))
    # January's 31 days and the four that it stood still.
    assert (ended["status"], ended["ended_at"]) == ("ended", "2026-02-05T00:00:00Z")


@pytest.mark.parametrize(
    ("route", "body", "pointer"),
    [
        ("change", {"plan": "bigger", "timing": "soon"}, "/timing"),
        ("change", {"plan": "bigger", "at": "2026-01-16T12:00:00"}, "/at"),
        ("change", {"quantity": "-1"}, "/quantity"),
        ("change", {}, "/plan"),
        ("change", {"plan": "bigger", "proration": "by_moon"}, "/proration"),
        ("pause", {}, "/mode"),
        ("pause", {"mode": "freeze", "resume_at": documents.JANUARY}, "/resume_at"),
        ("cancel", {"timing": "at"}, "/at"),
    ],
)
def test_a_refusal_names_the_field_and_leaves_nothing(api, clock_id, route, body, pointer):
    refused = api.post(f"subscriptions/acme-basic/{route}", body)
    assert refused.status_code in (400, 422), refused.content
    assert [problem["pointer"] for problem in refused.json()["errors"]] == [pointer]
    assert documents.made(api.get("subscriptions/acme-basic/changes"))["data"] == []
