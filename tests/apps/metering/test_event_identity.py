"""Who an event is, and what tells a repeat from a contradiction."""

import hashlib
import json
import subprocess
import sys
from datetime import UTC, datetime
from uuid import UUID

import pytest

from apps.metering import event_identity
from apps.metering.event_checks import Instant
from apps.metering.normalisers import CanonicalEvent
from apps.metering.usage_rows import UsageParty, UsageRowWriter

CUSTOMER = UUID("01890000-0000-7000-8000-000000000001")


def _row(**overrides):
    place = {
        "customer_id": CUSTOMER,
        "subscription_id": None,
        "occurred_at": datetime(2026, 1, 10, 12, tzinfo=UTC),
        "received_at": datetime(2026, 1, 15, tzinfo=UTC),
        "mapping_version": 0,
        "quantity": None,
    }
    event = {"id": "e-1", "source": "gateway-1", "type": "api.call", "customer": "acme", "properties": {"a": "1"}}
    place |= {name: value for name, value in overrides.items() if name in place}
    event |= {name: value for name, value in overrides.items() if name not in place}
    occurred_at = place["occurred_at"]
    writer = UsageRowWriter(received_at=place["received_at"], mapping_version=place["mapping_version"])
    return writer.row(
        event=CanonicalEvent(**event),
        position=0,
        party=UsageParty.of(place["customer_id"], place["subscription_id"]),
        instant=Instant(occurred_at, occurred_at.isoformat(), occurred_at.date()),
        quantity=place["quantity"],
        stored_properties=event["properties"],
    )


def test_the_hash_is_sha256_of_canonical_json_that_anybody_can_write():
    """S034, S243: canonical JSON and SHA-256, the same in every process; never the language's own hash."""
    row = _row(properties={"b": {"z": 1, "a": "\u00e9"}, "a": "x"}, quantity="2.5")
    content = [
        1,
        "gateway-1",
        "e-1",
        "api.call",
        str(CUSTOMER),
        None,
        "2026-01-10T12:00:00+00:00",
        "2.5",
        {"a": "x", "b": {"a": "\u00e9", "z": 1}},
    ]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert row.payload_hash == hashlib.sha256(text.encode()).digest()
    # Written down once: a release that computes another hash would call every retry of an older event a conflict.
    assert row.payload_hash.hex() == "611b97161bfdf22f2c58ec8c3409e15b67fc37af46e2d1547573c52fced3b5a6"
    assert row.key.hex() == "7467f7ce2728721030bac6670a3f7405"


def test_processes_with_different_hash_seeds_agree():
    """S243: a key built from the built-in hash differs between processes; ours does not."""
    code = (
        "from apps.metering import event_identity as i\n"
        "print(i.event_key(source='s', event_id='1'), i.payload_hash(({'b': 1, 'a': '2'},))[0])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, check=True, capture_output=True, text=True
        ).stdout
        for seed in ("0", "1", "4242")
    }
    assert len(outputs) == 1


def test_content_is_no_part_of_the_identity():
    """S244: two equal events under two ids are two events; the hash only detects conflicts."""
    one, two = _row(id="e-1"), _row(id="e-2")
    assert one.key != two.key
    other = _row(properties={"a": "2"})
    assert (other.key, other.payload_hash != one.payload_hash) == (one.key, True)


@pytest.mark.parametrize(
    "same",
    [
        {"properties": {"a": "1"}, "customer": "cus_by_id_instead"},
        {"occurred_at": datetime.fromisoformat("2026-01-10T17:30:00+05:30").astimezone(UTC)},
        {"received_at": datetime(2027, 1, 1, tzinfo=UTC)},
        {"mapping_version": 3},
    ],
)
def test_spelling_and_time_of_arrival_do_not_change_the_content(same):
    assert _row(**same).payload_hash == _row().payload_hash


@pytest.mark.parametrize(
    "other",
    [
        {"type": "other"},
        {"subscription_id": CUSTOMER},
        {"quantity": "1"},
        {"properties": {}},
        {"properties": {"a": 1}},
        {"occurred_at": datetime(2026, 1, 10, 12, 0, 0, 1, tzinfo=UTC)},
        {"customer_id": UUID(int=7)},
    ],
)
def test_every_fact_changes_the_content(other):
    assert _row(**other).payload_hash != _row().payload_hash


def test_source_and_id_cannot_be_shifted_into_each_other():
    keys = {
        event_identity.event_key(source=source, event_id=id_) for source, id_ in (("a", "bc"), ("ab", "c"), ("", "abc"))
    }
    assert len(keys) == 3


def test_a_time_ordered_id_keeps_its_time_in_front_and_its_source_apart():
    earlier, later = "01890a5d-ac96-774b-bcce-b302099a8057", "01890a5d-ac97-774b-bcce-b302099a8057"
    key = event_identity.event_key(source="s", event_id=earlier)
    assert key.startswith("01890a5dac96")
    assert key < event_identity.event_key(source="s", event_id=later)
    assert key != event_identity.event_key(source="t", event_id=earlier)
    random_id = "01890a5d-ac96-474b-bcce-b302099a8057"
    assert not event_identity.event_key(source="s", event_id=random_id).startswith("01890a5dac96")
    assert len(key) == 32


@pytest.mark.parametrize(
    ("canonical", "is_nul"),
    [(r'{"a":"\u0000"}', True), (r'{"a":"\\u0000"}', False), (r'{"a":"\\\u0000"}', True), ('{"a":"u0000"}', False)],
)
def test_a_nul_is_told_from_text_that_looks_like_one(canonical, is_nul):
    assert event_identity.holds_nul(canonical) is is_nul
