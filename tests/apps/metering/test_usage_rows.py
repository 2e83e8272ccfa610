"""The row of an event: what the fast way writes is what the plain definition says."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.common.actors import OPERATOR
from apps.metering import event_checks, event_identity, meter_checks
from apps.metering.errors import EventRefused
from apps.metering.meter_checks import MeterTerms
from apps.metering.models import UsageEvent
from apps.metering.normalisers import CanonicalEvent
from apps.metering.usage_rows import UsageParty, UsageRowWriter
from apps.workflows import usage_intake
from apps.workflows.usage_intake import Restatement
from tests.builders import customers, metering

AT = datetime(2026, 1, 15, tzinfo=UTC)
PARTY = UsageParty.of(UUID(int=7), UUID(int=8))

# Everything that JSON could read as structure, beside what is plain.
_texts = st.text(
    st.one_of(st.sampled_from("\\\t\n\r\"'/{}[],:N\x01\x7f\u00e9\U0001f4b6"), st.characters(exclude_categories=["Cs"])),
    max_size=12,
).filter(lambda text: "\0" not in text)
_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63), _texts, st.decimals(-9, 9, places=3)),
    lambda children: st.one_of(st.lists(children, max_size=3), st.dictionaries(_texts, children, max_size=3)),
    max_leaves=6,
)


def _fields(line: bytes) -> list[bytes | None]:
    """Read a row of binary COPY back: the number of fields, then each with its length."""
    count, at, fields = int.from_bytes(line[:2]), 2, []
    for _ in range(count):
        length = int.from_bytes(line[at : at + 4], signed=True)
        at += 4
        fields.append(None if length < 0 else line[at : at + length])
        at += max(length, 0)
    assert at == len(line)
    return fields


@given(
    source=_texts, event_id=_texts, type_=_texts, properties=st.dictionaries(_texts, _values, max_size=4),
    quantity=st.sampled_from([None, "0", "12.5"]), sequence=st.sampled_from([None, 0, 10**18]),
)  # fmt: skip
def test_hash_and_line_are_those_of_the_plain_definition(*, source, event_id, type_, properties, quantity, sequence):
    """S034: canonical JSON and SHA-256 of what the event says, whatever characters it is written in."""
    instant = event_checks.instant_place("2026-01-10T13:00:00.5+01:00")
    event = CanonicalEvent(id=event_id, source=source, type=type_, properties=properties, sequence=sequence)
    row = UsageRowWriter(received_at=AT, mapping_version=3).row(
        event=event, position=9, party=PARTY, instant=instant, quantity=quantity, stored_properties=properties
    )
    occurred = "2026-01-10T12:00:00.500000+00:00"
    content = (1, source, event_id, type_, str(UUID(int=7)), str(UUID(int=8)), occurred, quantity, properties)
    assert row.payload_hash == hashlib.sha256(event_identity.CANONICAL.encode(content)).digest()
    fields = _fields(row.line)
    assert fields[0] == row.key == event_identity.event_key_bytes(source=source, event_id=event_id)
    assert [(field or b"").decode() for field in fields[1:4]] == [source, event_id, type_]
    assert fields[4:6] == [UUID(int=7).bytes, UUID(int=8).bytes]
    assert fields[6:8] == [_micros(datetime(2026, 1, 10, 12, 0, 0, 500_000, tzinfo=UTC)), _micros(AT)]
    assert (fields[8] is None) is (quantity is None)
    assert fields[9] == b"\x01" + event_identity.CANONICAL.encode(properties)
    assert fields[10:] == [b"\0\x03", b"\0\x09", None if sequence is None else sequence.to_bytes(8)]


def _micros(at: datetime) -> bytes:
    return ((at - datetime(2000, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)).to_bytes(8, signed=True)


@given(st.integers(86_400 * 10**6, 8_000 * 366 * 86_400 * 10**6), st.integers(0, 6), st.sampled_from(["Z", "+00:00"]))
def test_a_time_in_utc_is_placed_as_the_calendar_reads_it(micros, digits, offset):
    """The short way for times in UTC gives the instant, the spelling and the month of the long one."""
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
    fraction = f".{at.microsecond:06}"[: digits + 1] if digits else ""
    text = f"{at:%Y-%m-%dT%H:%M:%S}{fraction}{offset}"
    instant, read = event_checks.instant_place(text), event_checks.instant_read(text)
    assert (instant.at, instant.text, instant.month) == (read, read.isoformat(), read.date().replace(day=1))


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-30T12:00:00Z", "2026-13-01T12:00:00Z", "2026-01-10T24:00:00Z", "2026-01-10T12:60:00Z",
        "1969-12-31T23:59:59Z", "9999-01-01T00:00:00Z", "2026-01-10T12:00:00", "2026-W02-6T12:00:00Z",
        "2026-01-10T12:00:00.Z", "2026-01-10T12:00:00+00:00Z", "",
    ],
)  # fmt: skip
def test_what_is_no_instant_is_refused_by_either_way(text):
    with pytest.raises(EventRefused) as caught:
        event_checks.instant_place(text)
    assert caught.value.code == "invalid_time"


@pytest.mark.django_db
def test_the_server_reads_what_was_written(tenant):
    """What binary COPY wrote comes back as it was sent, whatever its characters and however long its numbers."""
    metering.meter()
    customer = customers.customer(external_id="acme")
    sent = {"a\tb": 'x\\y"\n\u00e9\U0001f4b6', "n": 12345678901234567890, "deep": [{"z": None, "a": True}]}
    quantities = ["0", "0.000000000001", "99999999999999999999.999999999999", "-12.5", "10000", "0.0001"]
    events = [
        metering.event(quantity=quantity, properties=sent, sequence=index, occurred_at="1970-01-02T00:00:00.000001Z")
        for index, quantity in enumerate(quantities)
    ]
    result = usage_intake.events_accept(
        events=[json.dumps(event).encode() for event in events], actor=OPERATOR, at=AT, restatement=Restatement()
    )
    assert result.accepted == len(quantities)
    stored = list(UsageEvent.objects.order_by("source_sequence"))
    assert [event.quantity for event in stored] == [Decimal(quantity) for quantity in quantities]
    assert {event.customer_id for event in stored} == {customer.id}
    assert all(event.properties == sent and event.received_at == AT for event in stored)
    assert {event.occurred_at.isoformat() for event in stored} == {"1970-01-02T00:00:00.000001+00:00"}


@pytest.mark.parametrize(
    ("sent", "read"),
    [(None, None), (0, 0), (7, 7), ("0042", 42), (10**18, 10**18), ("1000000000000000000", 10**18)],
)
def test_a_sequence_is_a_whole_number_or_its_text(sent, read):
    """S234: the producer's own count of its events; CloudEvents have it as text."""
    assert event_checks.sequence_read(sent) == read


@pytest.mark.parametrize("sent", [-1, "-1", True, "", "1.0", Decimal("1.5"), 10**18 + 1, "9" * 19, "\u0665", [], {}])
def test_a_sequence_that_is_none_is_refused_with_a_remedy(sent):
    """S234: a count that cannot be compared would be taken for a loss, or hide one."""
    with pytest.raises(EventRefused, match="whole number from 0") as caught:
        event_checks.sequence_read(sent)
    assert caught.value.code == "invalid_sequence"


@given(
    value=st.one_of(
        st.from_regex(r"\A-?[0-9]{1,21}(\.[0-9]{1,13})?\Z"),
        st.sampled_from(["", "-0", "-0.0", "+1", "1.", ".5", "1e3", "\u0665", " 1", "NaN", "1\n"]),
    ),
    maximum=st.sampled_from([None, "100"]),
    aggregation=st.sampled_from(["sum", "weighted_sum"]),
)
def test_a_value_is_accepted_exactly_when_arithmetic_says_so(value, maximum, aggregation):
    """The short way for plain numbers accepts nothing that the long one would refuse, and the other way round."""
    rules = {} if maximum is None else {"max": maximum}
    meter = MeterTerms(
        code="m", aggregation=aggregation, value_property="v", operation_property="", filters={}, group_by=(),
        rules=rules, is_current=True,
    )  # fmt: skip
    try:
        number = Decimal(event_checks.value_text("v", value))
        is_countable = (number >= 0 or aggregation == "weighted_sum") and (
            maximum is None or number <= Decimal(maximum)
        )
    except (EventRefused, InvalidOperation):
        is_countable = False
    try:
        meter_checks.meters_check({"v": value}, quantity=None, meters=(meter,))
    except EventRefused:
        assert not is_countable
    else:
        assert is_countable


@pytest.mark.parametrize(
    ("overrides", "can_refuse"),
    [
        ({}, False),
        ({"filters": {"a": "x"}}, False),
        ({"group_by": ("region",)}, True),
        ({"rules": {"required": ["region"]}}, True),
        ({"aggregation": "sum", "value_property": "v"}, True),
        ({"aggregation": "unique_count", "value_property": "v"}, True),
        ({"aggregation": "sum", "value_property": "v", "is_current": False}, False),
        ({"aggregation": "sum", "value_property": "v", "is_current": False, "group_by": ("region",)}, True),
    ],
)
def test_only_meters_that_may_refuse_an_event_are_asked(overrides, can_refuse):
    terms = {
        "code": "m", "aggregation": "count", "value_property": "", "operation_property": "", "filters": {},
        "group_by": (), "rules": {}, "is_current": True, **overrides,
    }  # fmt: skip
    assert MeterTerms(**terms).can_refuse is can_refuse
