"""Meters and mappings are versions: defined once, never edited, refused with every reason at once."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction

from apps.audit.models import AuditEntry
from apps.common.actors import OPERATOR
from apps.metering import selectors, services
from apps.metering.errors import EventMappingInvalid, EventMappingUnknown, MeterInvalid
from apps.metering.inputs import MeterInput
from apps.metering.models import EventMapping, Meter
from tests.builders import metering

pytestmark = pytest.mark.django_db

WHOLE = {"code": "traffic", "name": "Traffic", "event_type": "http.request", "aggregation": "sum"}


def test_a_meter_is_defined_once_and_again_changes_nothing(tenant, at):
    terms = {
        "aggregation": "sum",
        "value_property": "bytes",
        "filters": {"region": "eu"},
        "group_by": ["tier"],
        "rounding": {"mode": "ceil", "precision": 0, "divide_by": "1000"},
        "rules": {"max": "5", "allowed": {"tier": ["a", "b"]}},
    }
    first = metering.meter(**terms)
    assert metering.meter(**terms, at=at) == first
    assert (first.version, Meter.objects.count()) == (1, 1)
    assert AuditEntry.objects.filter(entity_id=first.id).count() == 1


def test_other_terms_make_a_further_version_and_retire_the_one_before(tenant, at):
    first = metering.meter()
    second = metering.meter(filters={"region": "eu"}, at=at)
    first.refresh_from_db()
    assert (first.retired_at, second.version, second.retired_at) == (at, 2, None)
    assert selectors.meter_by_reference("api_calls") == second


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"filters": {"premium": 1}}, {"filters": {"premium": True}}),
        ({"filters": {"premium": 0}}, {"filters": {"premium": False}}),
        ({"rules": {"allowed": {"premium": [1]}}}, {"rules": {"allowed": {"premium": [True]}}}),
    ],
)
def test_true_and_one_are_two_definitions(tenant, at, one, other):
    assert metering.meter(**one).version == 1
    assert metering.meter(**other, at=at).version == 2
    assert metering.meter(**other, at=at).version == 2


def test_another_name_renames_and_leaves_a_trace(tenant, at):
    first = metering.meter()
    renamed = metering.meter(name="Calls", at=at)
    assert (renamed.id, renamed.version, renamed.name) == (first.id, 1, "Calls")
    assert AuditEntry.objects.get(entity_id=first.id, action="rename").before == {"name": "Api Calls"}


def test_the_database_refuses_to_edit_or_delete_a_version(tenant):
    meter = metering.meter()
    for change in ({"event_type": "other"}, {"filters": {"a": "b"}}, {"aggregation": "sum", "value_property": "x"}):
        with pytest.raises(IntegrityError, match="frozen"), transaction.atomic():
            Meter.objects.filter(id=meter.id).update(**change)
    with pytest.raises(IntegrityError, match="kept"), transaction.atomic():
        meter.delete()


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"code": "Has Spaces"}, "/code"),
        ({"code": ""}, "/code"),
        ({"name": " "}, "/name"),
        ({"name": "x" * 121}, "/name"),
        ({"event_type": ""}, "/event_type"),
        ({"unit_name": "x" * 41}, "/unit_name"),
        ({"aggregation": "median"}, "/aggregation"),
        ({"aggregation": "count"}, "/value_property"),
        ({"value_property": ""}, "/value_property"),
        ({"operation_property": "op"}, "/operation_property"),
        ({"aggregation": "unique_count", "operation_property": "bytes"}, "/operation_property"),
        ({"aggregation": "unique_count", "operation_property": "x" * 61}, "/operation_property"),
        ({"has_carry_over": True}, "/has_carry_over"),
        ({"aggregation": "unique_count", "has_carry_over": True}, "/has_carry_over"),
        ({"aggregation": "unique_count", "rules": {"min": "1"}}, "/rules/min"),
        ({"aggregation": "weighted_sum", "rules": {"min": "low"}}, "/rules/min"),
        ({"filters": {"a": ["x"]}}, "/filters/a"),
        ({"filters": {"a": None}}, "/filters/a"),
        ({"filters": {"a": "x\0"}}, "/filters/a"),
        ({"group_by": ["a", "a"]}, "/group_by"),
        ({"group_by": list("abcdef")}, "/group_by"),
        ({"group_by": [""]}, "/group_by"),
        ({"rounding": {"mode": "nearest"}}, "/rounding"),
        ({"rounding": {"mode": "ceil", "divide_by": "0"}}, "/rounding"),
        ({"rules": {"minimum": "1"}}, "/rules/minimum"),
        ({"rules": {"min": 1}}, "/rules/min"),
        ({"rules": {"min": "-0.1"}}, "/rules/min"),
        ({"rules": {"max": "NaN"}}, "/rules/max"),
        ({"rules": {"required": "region"}}, "/rules/required"),
        ({"rules": {"allowed": {"region": []}}}, "/rules/allowed"),
        ({"rules": {"allowed": {"region": [{"a": 1}]}}}, "/rules/allowed"),
    ],
)
def test_what_a_meter_may_not_say_is_named(tenant, at, wrong, pointer):
    data = MeterInput(**{**WHOLE, "value_property": "bytes", **wrong})
    with pytest.raises(MeterInvalid) as caught:
        services.meter_define(data=data, actor=OPERATOR, at=at)
    assert [problem.pointer for problem in caught.value.problems] == [pointer]
    assert pointer in caught.value.detail
    assert Meter.objects.count() == 0


def test_all_problems_are_told_at_once(tenant, at):
    data = MeterInput(code="", name="", event_type="", aggregation="x")
    with pytest.raises(MeterInvalid) as caught:
        services.meter_define(data=data, actor=OPERATOR, at=at)
    assert [problem.pointer for problem in caught.value.problems] == ["/code", "/name", "/event_type", "/aggregation"]


def test_mappings_are_versions_too(tenant, at):
    """S024: a mapping changes by a further version; events keep the one that read them."""
    fields = {"id": "request.id", "type": "=x", "customer": "account", "occurred_at": "at"}
    first = services.event_mapping_define(source="edge", fields=fields, actor=OPERATOR, at=at)
    assert services.event_mapping_define(source="edge", fields=fields, actor=OPERATOR, at=at) == first
    changed = {**fields, "properties.bytes": "size"}
    second = services.event_mapping_define(source="edge", fields=changed, actor=OPERATOR, at=at + timedelta(1))
    assert (first.version, second.version, EventMapping.objects.count()) == (1, 2, 2)
    assert selectors.event_mapping_current(source="edge") == second
    with pytest.raises(EventMappingUnknown):
        selectors.event_mapping_current(source="other")
    with pytest.raises(IntegrityError, match="only grows"), transaction.atomic():
        EventMapping.objects.filter(id=first.id).update(fields={})


@pytest.mark.parametrize(
    ("source", "wrong", "pointer"),
    [
        ("", {}, "/source"),
        ("edge", {"id": ""}, "/fields/id"),
        ("edge", {"id": "="}, "/fields/id"),
        ("edge", {"id": 5}, "/fields/id"),
        ("edge", {"colour": "x"}, "/fields/colour"),
        ("edge", {"properties": "=x"}, "/fields/properties"),
    ],
)
def test_what_a_mapping_may_not_say_is_named(tenant, at, source, wrong, pointer):
    fields = {"id": "a", "type": "b", "customer": "c", "occurred_at": "d", **wrong}
    with pytest.raises(EventMappingInvalid) as caught:
        services.event_mapping_define(source=source, fields=fields, actor=OPERATOR, at=at)
    assert [problem.pointer for problem in caught.value.problems] == [pointer]
