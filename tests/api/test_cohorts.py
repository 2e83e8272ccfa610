"""Versions for some of the customers first, by HTTP."""

import pytest

from tests.api import documents

pytestmark = pytest.mark.django_db

BETA = {"code": "beta", "name": "Beta", "experiment": "fees", "from_percent": "0", "to_percent": "50"}
DEARER = {
    **documents.PLAN,
    "effective_at": "2025-12-01T00:00:00Z",
    "base_fee": {"amount": "12.00", "timing": "arrears"},
    "examples": [{"usage": {"calls": "2"}, "total": "13.00"}],
}


def test_a_version_is_published_for_a_cohort(api):
    """S102, S103: only who belongs is subscribed to it, without a deployment and without touching the others."""
    documents.sold(api)
    documents.made(api.post("cohorts", {"code": "beta", "name": "Beta"}))
    documents.made(api.post("plans", DEARER))
    published = documents.made(api.post("plans/basic/versions/2/publish", {"cohort": "beta"}))
    assert (published["status"], published["cohort"]) == ("published", "beta")
    for name in ("acme", "other"):
        documents.made(api.post("customers", {**documents.CUSTOMER, "external_id": name}))
    named = documents.made(api.post("cohorts/beta/members", {"add": ["acme"]}))
    assert named["customers"] == ["acme"]
    for name, version in (("acme", 2), ("other", 1)):
        body = {"customer": name, "plan": "basic", "starts_at": documents.JANUARY}
        assert documents.made(api.post("subscriptions", body))["plan_version"] == version
    assert documents.made(api.post("cohorts/beta/members", {"remove": ["acme"]}))["customers"] == []
    assert api.post("cohorts/beta/members", {"add": ["nobody"]}).status_code == 404


def test_ranges_of_one_experiment_share_nobody(api):
    """S103: the overlap is named with its place and remedy; beside it there is room."""
    made = documents.made(api.post("cohorts", BETA))
    assert (made["from_percent"], made["to_percent"], made["customers"]) == ("0", "50", [])
    refused = api.post("cohorts", {**BETA, "code": "late", "from_percent": "49.99", "to_percent": "100"})
    assert refused.status_code == 422
    [problem] = refused.json()["errors"]
    assert (problem["pointer"], problem["code"]) == ("/from_percent", "range_taken")
    assert "overlaps with cohort 'beta', which has 0 to 50 percent of experiment 'fees'" in problem["detail"]
    documents.made(api.post("cohorts", {**BETA, "code": "late", "from_percent": "50", "to_percent": "100"}))
    assert [row["code"] for row in api.get("cohorts").json()["data"]] == ["late", "beta"]
    refused = api.post("cohorts", {**BETA, "code": "number", "to_percent": 50})
    assert [problem["pointer"] for problem in refused.json()["errors"]] == ["/to_percent"]


def test_publishing_for_nobody_publishes_nothing(api):
    """A misspelt cohort or a misspelt word leaves the draft a draft: it must not be on sale for all."""
    documents.made(api.post("meters", documents.METER))
    documents.made(api.post("plans", documents.PLAN))
    assert api.post("plans/basic/versions/1/publish", {"cohort": "nobody"}).status_code == 404
    assert api.post("plans/basic/versions/1/publish", {"cohorts": "beta"}).status_code in (400, 422)
    [version] = api.get("plans/basic").json()["versions"]
    assert (version["status"], version["cohort"]) == ("draft", None)


def test_customers_are_moved_to_a_version(api):
    """S103: rehearsed with its effect on the last closed period, carried out, repeated without harm."""
    documents.sold(api)
    clock_id = documents.subscribed(api)
    event = {"id": "1", "source": "s", "type": "call", "customer": "acme", "occurred_at": "2026-01-09T00:00:00Z"}
    documents.made(api.post(f"test-clocks/{clock_id}/advance", {"to": "2026-01-10T00:00:00Z"}))
    documents.made(api.post("events", event))
    documents.made(api.post(f"test-clocks/{clock_id}/advance", {"to": "2026-02-02T00:00:00Z"}))
    documents.made(api.post("plans", DEARER))
    documents.made(api.post("plans/basic/versions/2/publish"))
    path = "plans/basic/versions/2/migrate"
    seen = documents.made(api.post(f"{path}?dry_run=true"))
    assert seen["counts"] == {"scheduled": 1, "already_scheduled": 0, "already_on_version": 0, "refused": 0}
    [change] = seen["effect"]["customers"]
    assert [change[name]["amount"] for name in ("before", "after", "change")] == ["10.50", "12.50", "2.00"]
    assert api.get("subscriptions/acme-basic/changes").json()["data"] == []
    done = documents.made(api.post(path, {"customers": ["acme"], "comment": "Agreed by mail."}, idempotency_key="one"))
    assert done["subscriptions"] == seen["subscriptions"]
    assert (done["subscriptions"][0]["outcome"], done["effect"]) == ("scheduled", None)
    [agreed] = api.get("subscriptions/acme-basic/changes").json()["data"]
    assert (agreed["plan_version"], agreed["effective_at"]) == (2, "2026-03-01T00:00:00Z")
    assert (agreed["reason_code"], agreed["comment"]) == ("plan_migration", "Agreed by mail.")
    again = documents.made(api.post(path))
    assert [step["outcome"] for step in again["subscriptions"]] == ["already_scheduled"]
    documents.made(api.post("plans", {**DEARER, "effective_at": "2027-12-01T00:00:00Z"}))
    refused = api.post("plans/basic/versions/3/migrate")
    assert [(problem["pointer"], problem["code"]) for problem in refused.json()["errors"]] == [
        ("/version", "not_published")
    ]
