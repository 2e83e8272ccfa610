"""Each way in which an event can be wrong has a code and a remedy."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from apps.metering import event_checks, meter_checks
from apps.metering.errors import EventRefused
from apps.metering.meter_checks import MeterTerms
from apps.metering.normalisers import CanonicalEvent

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
WHOLE = {"id": "1", "source": "s", "type": "t", "customer": "c", "occurred_at": "2026-01-10T12:00:00Z"}


def _terms(**overrides) -> MeterTerms:
    terms = {
        "aggregation": "sum",
        "value_property": "bytes",
        "operation_property": "",
        "filters": {},
        "group_by": (),
        "rules": {},
        "is_current": True,
        **overrides,
    }
    return MeterTerms(code="traffic", **terms)


def _judge(properties, *meters, quantity=None) -> str:
    """Return the code of the refusal, or nothing."""
    try:
        meter_checks.meters_check(properties, quantity=quantity, meters=meters)
    except EventRefused as refused:
        return refused.code
    return ""


@pytest.mark.parametrize("name", ["id", "source", "type", "customer", "occurred_at"])
def test_required_fields_are_missed_by_name(name):
    """S025: structure is validated; a missing required field is rejected with its name and a remedy."""
    event_checks.shape_check(CanonicalEvent(**WHOLE))
    for missing in (None, ""):
        with pytest.raises(EventRefused, match=f"'{name}' is missing; send ") as caught:
            event_checks.shape_check(CanonicalEvent(**{**WHOLE, name: missing}))
        assert caught.value.code == "missing_field"


@pytest.mark.parametrize("wrong", [{"id": "x" * 256}, {"type": "x" * 121}, {"source": "a\0b"}, {"subscription": "\0"}])
def test_text_that_cannot_be_stored_is_refused(wrong):
    with pytest.raises(EventRefused) as caught:
        event_checks.shape_check(CanonicalEvent(**{**WHOLE, **wrong}))
    assert caught.value.code == "invalid_text"


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-01-10T12:00:00Z", datetime(2026, 1, 10, 12, tzinfo=UTC)),
        ("2026-01-10t12:00:00.120z", datetime(2026, 1, 10, 12, 0, 0, 120_000, tzinfo=UTC)),
        ("2026-01-10 12:00:00+05:30", datetime(2026, 1, 10, 6, 30, tzinfo=UTC)),
        ("2026-01-31T23:59:59.9999999Z", datetime(2026, 1, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
        ("2026-01-10T00:15:00-12:00", datetime(2026, 1, 10, 12, 15, tzinfo=UTC)),
    ],
)
def test_times_are_read_as_instants(text, instant):
    """S064: any offset comes in, UTC is kept; less than a microsecond never moves an event to the next period."""
    assert event_checks.instant_read(text) == instant


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-10T12:00:00",
        "2026-01-10",
        "20260110T120000Z",
        "2026-W02-6T12:00:00Z",
        "1768046400",
        "yesterday at about noon o'clock",
        "2026-02-30T12:00:00Z",
        "2026-01-10T25:00:00Z",
        "2026-01-10T23:59:60Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "9999-01-01T00:00:00Z",
        "9998-12-31T23:30:00-01:00",
        "1969-12-31T23:59:59Z",
        "2026-01-10T12:00:00Z and more",
        "",
    ],
)
def test_what_is_no_instant_is_refused(text):
    with pytest.raises(EventRefused, match="write it like") as caught:
        event_checks.instant_read(text)
    assert caught.value.code == "invalid_time"


def test_the_future_and_the_distant_past_are_refused_at_their_edges():
    ahead, behind = event_checks.OCCURRED_AHEAD_MAX, event_checks.OCCURRED_BEHIND_MAX
    event_checks.time_check(NOW + ahead, now_at=NOW)
    event_checks.time_check(NOW - behind, now_at=NOW)
    for occurred_at, code in (
        (NOW + ahead + timedelta(microseconds=1), "too_far_in_future"),
        (NOW - behind - timedelta(microseconds=1), "too_old"),
    ):
        with pytest.raises(EventRefused) as caught:
            event_checks.time_check(occurred_at, now_at=NOW)
        assert caught.value.code == code


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("12.50", "12.5"),
        ("-3", "-3"),
        (7, "7"),
        (Decimal("1E+3"), "1000"),
        ("0.000000000001", "0.000000000001"),
        ("007", "7"),
        ("-0", "0"),
        (None, None),
    ],
)
def test_quantities_are_read_exactly(value, text):
    assert event_checks.quantity_text(value) == text


@pytest.mark.parametrize(
    "value",
    [
        "NaN",
        "Infinity",
        "-inf",
        "1e5",
        "0x1F",
        "1_000",
        " 1",
        "1 ",
        "1.",
        ".5",
        "+5",
        "",
        "1,5",
        "\u0661\u0662",
        "9" * 21,
        "0." + "1" * 13,
        "1" * 100_000,
        10**25,
        Decimal("1E-13"),
        True,
        [1],
        {"a": 1},
    ],
)
def test_what_is_no_plain_decimal_is_no_quantity(value):
    with pytest.raises(EventRefused, match="plain decimal") as caught:
        event_checks.quantity_text(value)
    assert caught.value.code == "invalid_quantity"
    assert len(caught.value.detail) < 400
    assert _judge({"bytes": value}, _terms()) == "invalid_quantity"


def test_a_meter_that_reads_an_event_needs_its_value():
    """S026: beyond the shape, each meter that reads the event must be able to count it."""
    assert _judge({}, _terms()) == "missing_property"
    assert _judge({"bytes": None}, _terms()) == "missing_property"
    assert _judge({}, _terms(), quantity="5") == ""
    assert _judge({"bytes": "5"}, _terms()) == ""
    assert _judge({}, _terms(aggregation="count", value_property="")) == ""
    assert _judge({"region": "us"}, _terms(filters={"region": "eu"})) == ""
    assert _judge({"region": "eu"}, _terms(filters={"region": "eu"})) == "missing_property"
    assert _judge({}, _terms(is_current=False)) == ""
    assert _judge({"bytes": "abc"}, _terms(is_current=False)) == ""


def test_filters_tell_true_from_one_and_text_from_number():
    for sent, wanted, is_read in ((1, True, False), (True, True, True), ("1", 1, False), (Decimal(1), 1, True)):
        assert bool(_judge({"flag": sent}, _terms(filters={"flag": wanted}))) is is_read


@pytest.mark.parametrize(
    ("rules", "properties", "code"),
    [
        ({}, {"bytes": "-1"}, "rule_min"),
        ({"min": "-5"}, {"bytes": "-5"}, "rule_min"),
        ({"min": "-5"}, {"bytes": "0"}, ""),
        ({"min": "1"}, {"bytes": "0.5"}, "rule_min"),
        ({"max": "10"}, {"bytes": "10"}, ""),
        ({"max": "10"}, {"bytes": "10.000000000001"}, "rule_max"),
        ({"required": ["region"]}, {"bytes": "1"}, "rule_required"),
        ({"required": ["region"]}, {"bytes": "1", "region": "eu"}, ""),
        ({"allowed": {"region": ["eu", "us"]}}, {"bytes": "1", "region": "mars"}, "rule_allowed"),
        ({"allowed": {"region": ["eu", "us"]}}, {"bytes": "1", "region": "us"}, ""),
        ({"allowed": {"region": ["eu", "us"]}}, {"bytes": "1"}, ""),
        ({"allowed": {"flag": [True]}}, {"bytes": "1", "flag": 1}, "rule_allowed"),
    ],
)
def test_a_meters_rules_are_kept(rules, properties, code):
    """S026: rules per meter: ranges, required and allowed properties."""
    assert _judge(properties, _terms(rules=rules)) == code


@pytest.mark.parametrize("value", [["a"], {"a": 1}, "x" * 101])
def test_a_grouping_needs_a_short_plain_value(value):
    assert _judge({"bytes": "1", "region": value}, _terms(group_by=("region",))) == "invalid_dimension"
    assert _judge({"bytes": "1", "region": "x" * 100}, _terms(group_by=("region",))) == ""
