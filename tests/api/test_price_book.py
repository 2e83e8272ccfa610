"""The price book: what is on sale, resolved, with a tag that spares who has it already."""

from datetime import UTC, datetime

import pytest

from apps.common.actors import OPERATOR
from apps.plans import services as plan_services
from tests.api import documents

pytestmark = pytest.mark.django_db

DEARER = {
    **documents.PLAN,
    "effective_at": "2027-01-01T00:00:00Z",
    "base_fee": {"amount": "12.00", "timing": "arrears"},
    "features": {"sso": True},
    "examples": [{"usage": {"calls": "2"}, "total": "13.00"}],
}


def test_what_is_on_sale_is_answered_resolved(api):
    """S104: terms, features and window; a version that takes effect later is there when it does."""
    documents.sold(api)
    documents.made(api.post("plans", DEARER))
    [before] = api.get("price-book").json()["data"]
    assert (before["plan"], before["version"], before["base_fee"]["amount"]) == ("basic", 1, "10")
    assert (before["effective_from_at"], before["effective_to_at"]) == ("2025-01-01T00:00:00Z", None)
    documents.made(api.post("plans/basic/versions/2/publish"))
    [now] = api.get("price-book").json()["data"]
    assert (now["version"], now["effective_to_at"]) == (1, "2027-01-01T00:00:00Z")
    [later] = api.get("price-book?at=2027-01-01T00:00:00Z").json()["data"]
    assert (later["version"], later["features"], "examples" in later) == (2, {"sso": True}, False)
    assert api.get("price-book?at=2024-01-01T00:00:00Z").json() == {"data": []}


def test_who_has_it_already_gets_no_body(api):
    """S104: 304 to the same tag; a published version is another tag, a draft is not."""
    documents.sold(api)
    first = api.get("price-book")
    tag = first["ETag"]
    assert tag.startswith('"')
    assert first["Cache-Control"] == "private, max-age=60"
    documents.made(api.post("plans", DEARER))
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = api.get("price-book", if_none_match=known)
        assert (again.status_code, again.content, again["ETag"]) == (304, b"", tag)
    documents.made(api.post("plans/basic/versions/2/publish"))
    changed = api.get("price-book", if_none_match=tag)
    assert changed.status_code == 200
    assert changed["ETag"] != tag


def test_a_customer_is_shown_what_is_for_its_cohorts(api):
    """S103, S104: members see their version, everybody else the one for all; when it is retired, members do, too."""
    documents.sold(api)
    documents.made(api.post("customers", documents.CUSTOMER))
    documents.made(api.post("cohorts", {"code": "beta", "name": "Beta"}))
    documents.made(api.post("cohorts/beta/members", {"add": ["acme"]}))
    documents.made(api.post("plans", {**DEARER, "effective_at": "2025-06-01T00:00:00Z"}))
    documents.made(api.post("plans/basic/versions/2/publish", {"cohort": "beta"}))
    everybody, member = api.get("price-book"), api.get("price-book?customer=acme")
    assert [row["version"] for row in everybody.json()["data"]] == [1]
    assert [row["version"] for row in member.json()["data"]] == [2]
    assert everybody["ETag"] != member["ETag"]
    retired_at = datetime(2025, 7, 1, tzinfo=UTC)
    plan_services.plan_version_retire(plan_code="basic", version=2, actor=OPERATOR, at=retired_at)
    assert [row["version"] for row in api.get("price-book?customer=acme").json()["data"]] == [1]
    assert api.get("price-book?customer=nobody").status_code == 404
