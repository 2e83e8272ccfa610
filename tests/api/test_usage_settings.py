"""A tenant says over the API alone how its events are taken in and what is kept of them."""

import pytest
from django.db import transaction

from apps.audit.models import AuditEntry
from apps.metering.models import EventTypePolicy, UsageEvent, UsageEventKey, UsageSettings
from apps.workflows import usage_keys
from tests.builders import customers, metering

pytestmark = pytest.mark.django_db


@pytest.fixture
def catalog(api_for):
    return api_for("catalog:write")


def test_settings_begin_with_defaults_and_are_changed_field_by_field(catalog):
    """S029, S030: a window is set beside the retries it must cover; the trail says who changed what."""
    defaults = {"behind_days_max": 400, "ahead_seconds_max": 3600, "dedup_window_hours": None, "retry_window_hours": 24}
    assert catalog.get("usage/settings").json() == defaults
    refused = catalog.patch("usage/settings", {"dedup_window_hours": 36, "retry_window_hours": 48})
    assert refused.status_code == 422
    assert [error["pointer"] for error in refused.json()["errors"]] == ["/dedup_window_hours"]
    assert UsageSettings.objects.count() == 0
    changed = catalog.patch("usage/settings", {"dedup_window_hours": 48, "retry_window_hours": 48})
    assert changed.json() == {**defaults, "dedup_window_hours": 48, "retry_window_hours": 48}
    assert catalog.patch("usage/settings", {"dedup_window_hours": None}).json()["retry_window_hours"] == 48
    assert AuditEntry.objects.filter(entity_id=UsageSettings.objects.get().id).count() == 2


def test_a_policy_is_defined_and_applied(catalog, api_for):
    """S042: personal data is left out over the API alone; the list shows every version."""
    metering.meter()
    customers.customer(external_id="acme")
    body = {"event_type": "api.call", "kept_properties": ["region", "user"], "hashed_properties": ["user"]}
    made = catalog.post("event-type-policies", body)
    assert made.status_code == 201, made.json()
    assert {name: made.json()[name] for name in (*body, "version")} == {**body, "version": 1}
    sent = metering.event(properties={"region": "eu", "user": "ada", "phone": "0123"})
    assert api_for("events:write").post("events", sent).json()["accepted"] == 1
    stored = UsageEvent.objects.get().properties
    assert set(stored) == {"region", "user"}
    assert stored["user"] != "ada"
    assert catalog.post("event-type-policies", {"event_type": "api.call"}).json()["kept_properties"] is None
    page = catalog.get("event-type-policies").json()
    assert [(row["version"], row["kept_properties"]) for row in page["data"]] == [(2, None), (1, ["region", "user"])]


def test_a_policy_that_withholds_what_a_meter_reads_is_refused(catalog):
    metering.meter(code="bytes", aggregation="sum", value_property="bytes")
    response = catalog.post("event-type-policies", {"event_type": "api.call", "kept_properties": ["region"]})
    assert response.status_code == 422
    assert "Meter 'bytes'" in response.json()["errors"][0]["detail"]
    assert EventTypePolicy.objects.count() == 0


@pytest.mark.parametrize("path", ["usage/settings", "event-type-policies"])
def test_only_whoever_shapes_the_catalogue_may(api_for, path):
    """S044: a key that sends events or reads usage sees neither settings nor policies."""
    for scope in ("events:write", "usage:read"):
        with transaction.atomic():
            assert api_for(scope).get(path).status_code == 403


def test_the_purge_goes_on_until_nothing_is_forgotten(catalog, at, monkeypatch):
    """S031: batch by batch, by the clock that is handed in; a second run finds nothing."""
    monkeypatch.setattr(usage_keys, "BATCH_MAX", 2)
    customers.customer(external_id="acme")
    metering.send(*(metering.event() for _ in range(5)), at=at)
    catalog.patch("usage/settings", {"dedup_window_hours": 24})
    day = at.replace(day=at.day + 1)
    assert [usage_keys.forgotten_purge(at=day) for _run in range(2)] == [5, 0]
    assert UsageEventKey.objects.count() == 0
