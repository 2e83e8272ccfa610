"""Heartbeats, sources and alerts over HTTP."""

from datetime import UTC, datetime, timedelta

import pytest

from apps.common.actors import SCHEDULE
from apps.workflows import usage_watch
from tests.apps.metering.watched import follow, store
from tests.builders import customers, metering

pytestmark = pytest.mark.django_db

WORD = {"source": "edge", "from": "2026-01-15T10:00:00Z", "to": "2026-01-15T11:00:00Z", "sent": 200}


def test_a_heartbeat_is_told_once_and_again_and_never_otherwise(api):
    """S234, I10: 201 with the same id for the same word, 409 for another number, 422 naming the field."""
    first = api.post("usage/heartbeats", WORD)
    assert (first.status_code, first.json()["sent"], first.json()["found"]) == (201, 200, None)
    assert api.post("usage/heartbeats", WORD).json()["id"] == first.json()["id"]
    other = api.post("usage/heartbeats", {**WORD, "sent": 201})
    assert (other.status_code, other.json()["code"]) == (409, "heartbeat_conflict")
    wrong = api.post("usage/heartbeats", {**WORD, "to": WORD["from"]})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "heartbeat_invalid")
    assert [error["pointer"] for error in wrong.json()["errors"]] == ["/to"]
    missing = api.post("usage/heartbeats", {"source": "edge"})
    assert {error["pointer"] for error in missing.json()["errors"]} == {"/from", "/to", "/sent"}
    assert len(api.get("usage/heartbeats?source=edge").json()["data"]) == 1
    assert api.get("usage/heartbeats?source=other").json()["data"] == []


def test_sources_and_alerts_are_listed(api, tenant):
    """S080, S235: how far each source is, and what is wrong with it."""
    metering.meter()
    begin = datetime(2026, 1, 15, 11, 30, tzinfo=UTC)
    store(range(10), customer_id=customers.customer().id, begin=begin, delay=timedelta(minutes=6))
    follow()
    usage_watch.sources_watch(actor=SCHEDULE, at=begin + timedelta(minutes=7))
    [source] = api.get("usage/sources").json()["data"]
    assert (source["source"], source["events"], source["watermark"]) == ("edge", 10, "2026-01-15T11:30:09Z")
    [alert] = api.get("usage/alerts?status=OPEN").json()["data"]
    assert (alert["kind"], alert["subject"]) == ("delay", "edge")
    assert api.get("usage/alerts?status=CLOSED").json()["data"] == []
    assert api.get("usage/alerts?status=NONE").status_code == 422
