"""A source's mapping is defined, listed and used over the API alone."""

import pytest
from django.db import transaction

from apps.metering.models import EventMapping, UsageEvent
from tests.api.test_junk import JUNK, _changed
from tests.builders import customers, metering

pytestmark = pytest.mark.django_db

MAPPING = {
    "source": "edge",
    "fields": {"id": "request.id", "type": "=api.call", "customer": "account", "occurred_at": "at"},
}


@pytest.fixture
def catalog(api_for):
    return api_for("catalog:write")


def test_a_mapping_is_defined_and_reads_events(catalog, api_for):
    """S024: nobody has to open a shell to have a source's own shape read."""
    made = catalog.post("event-mappings", MAPPING)
    assert made.status_code == 201
    mapping = made.json()
    assert mapping["id"].startswith("emp_")
    assert {name: mapping[name] for name in ("source", "version", "fields")} == {**MAPPING, "version": 1}
    assert catalog.post("event-mappings", MAPPING).json() == mapping
    metering.meter()
    customers.customer(external_id="acme")
    event = {"request": {"id": 7}, "account": "acme", "at": "2026-01-10T12:00:00Z"}
    assert api_for("events:write").post("events?mapping=edge", event).json()["accepted"] == 1
    assert (UsageEvent.objects.get().source, UsageEvent.objects.get().event_id) == ("edge", "7")


def test_a_change_is_a_further_version_and_the_list_shows_both(catalog):
    catalog.post("event-mappings", MAPPING)
    changed = {**MAPPING, "fields": {**MAPPING["fields"], "properties.size": "bytes"}}
    assert catalog.post("event-mappings", changed).json()["version"] == 2
    page = catalog.get("event-mappings?limit=1").json()
    assert [row["version"] for row in page["data"]] == [2]
    rest = catalog.get(f"event-mappings?cursor={page['next_cursor']}").json()
    assert ([row["version"] for row in rest["data"]], rest["next_cursor"]) == ([1], None)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({**MAPPING, "colour": "red"}, "/colour"),
        ({"source": "edge"}, "/fields"),
        ({**MAPPING, "fields": {**MAPPING["fields"], "colour": "x"}}, "/fields/colour"),
        ({**MAPPING, "fields": {**MAPPING["fields"], "properties.": "x"}}, "/fields"),
        ({**MAPPING, "fields": {**MAPPING["fields"], "properties.a\0b": "x"}}, "/fields"),
        ({**MAPPING, "fields": {"id": "a", "type": "b", "customer": "c"}}, "/fields/occurred_at"),
    ],
)
def test_what_is_wrong_is_named(catalog, body, pointer):
    response = catalog.post("event-mappings", body)
    assert response.status_code in (400, 422)
    assert [error["pointer"] for error in response.json()["errors"]] == [pointer]
    assert EventMapping.objects.count() == 0


def test_one_bad_value_is_never_a_failure(catalog):
    bodies = [body for junk in JUNK for body in _changed(MAPPING, junk)]
    for number, body in enumerate(bodies):
        with transaction.atomic():
            response = catalog.post("event-mappings", body, idempotency_key=f"k{number}")
            transaction.set_rollback(True)
        assert response.status_code < 500, body
