"""The row of an event: what the fast way writes is what the plain definition says."""

import hashlib
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.metering import event_checks, event_identity
from apps.metering.errors import EventRefused
from apps.metering.event_checks import MeterTerms
from apps.metering.normalisers import CanonicalEvent
from apps.metering.usage_rows import UsageParty, UsageRowWriter

AT = datetime(2026, 1, 15, tzinfo=UTC)
PARTY = UsageParty(UUID(int=7), str(UUID(int=7)), UUID(int=8), str(UUID(int=8)))

# Everything that JSON or COPY could read as structure, beside what is plain.
_texts = st.text(
    st.one_of(st.sampled_from("\\\t\n\r\"'/{}[],:N\x01\x7f\u00e9\U0001f4b6"), st.characters(exclude_categories=["Cs"])),
    max_size=12,
).filter(lambda text: "\0" not in text)
_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63), _texts, st.decimals(-9, 9, places=3)),
    lambda children: st.one_of(st.lists(children, max_size=3), st.dictionaries(_texts, children, max_size=3)),
    max_leaves=6,
)


def _unescaped(field: str) -> str:
    for mark, meant in (("\\\\", "\0"), ("\\t", "\t"), ("\\n", "\n"), ("\\r", "\r"), ("\0", "\\")):
        field = field.replace(mark, meant)
    return field


@given(
    source=_texts, event_id=_texts, type_=_texts, properties=st.dictionaries(_texts, _values, max_size=4),
    quantity=st.sampled_from([None, "0", "12.5"]),
)  # fmt: skip
def test_hash_and_line_are_those_of_the_plain_definition(source, event_id, type_, properties, quantity):
    """S034: canonical JSON and SHA-256 of what the event says, whatever characters it is written in."""
    instant = event_checks.instant_place("2026-01-10T13:00:00.5+01:00")
    event = CanonicalEvent(id=event_id, source=source, type=type_, properties=properties)
    row = UsageRowWriter(received_at=AT, mapping_version=3).row(
        event=event, position=9, party=PARTY, instant=instant, quantity=quantity
    )
    occurred = "2026-01-10T12:00:00.500000+00:00"
    content = (1, source, event_id, type_, str(UUID(int=7)), str(UUID(int=8)), occurred, quantity, properties)
    assert row.payload_hash == hashlib.sha256(event_identity.CANONICAL.encode(content)).hexdigest()
    fields = [_unescaped(field) for field in row.line.split("\t")]
    stored = event_identity.CANONICAL.encode(properties).decode()
    expected = [source, event_id, type_, str(UUID(int=7)), str(UUID(int=8)), occurred, AT.isoformat()]
    assert fields == [*expected, quantity or "\\N", stored, "3", "9"]
    assert "\n" not in row.line


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
        event_checks.meters_check(CanonicalEvent(properties={"v": value}), quantity=None, meters=(meter,))
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
