"""The price book: what is on sale, resolved, with a tag that spares who has it already."""

import pytest

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
