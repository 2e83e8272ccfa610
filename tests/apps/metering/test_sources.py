"""What the follower keeps of sources, and what the watch reads from it."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import DatabaseError, transaction

from apps.metering import sources
from apps.metering.errors import HeartbeatConflict, HeartbeatInvalid
from apps.metering.models import SourceHeartbeat, SourceHour, UnmatchedUsage, UsageSource
from tests.apps.metering.watched import follow, store
from tests.builders import customers, metering
from tests.builders import late_usage as late

BEGIN = datetime(2026, 1, 14, 9, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def customer_id(tenant):
    """A customer who lives by the wall clock, and a meter that counts its calls."""
    metering.meter()
    return customers.customer(external_id="acme").id


def windows_of(source: str, at: datetime) -> dict:
    """Return (expected, present) of a source by the beginning of the window."""
    found = {counted.source: counted for counted in sources.counted_windows(at=at)}
    return {window.starts_at: (window.expected, window.present) for window in found[source].windows}


def test_a_source_is_told_by_its_watermark_its_count_and_its_delays(customer_id):
    """S080, S237: what occurred last, what was received last, how long it took, and by how much its clock is ahead."""
    store(range(1, 101), customer_id=customer_id, begin=BEGIN, delay=2 * SECOND)
    store(range(101, 111), customer_id=customer_id, begin=BEGIN + timedelta(minutes=10), delay=-90 * SECOND)
    follow()
    source = UsageSource.objects.get()
    assert (source.source, source.event_count, source.timed_count) == ("edge", 110, 110)
    assert source.watermark_at == BEGIN + timedelta(minutes=10, seconds=9)
    assert source.last_received_at == BEGIN + timedelta(minutes=10, seconds=9 - 90)
    # Above one second and up to five; what came before it occurred took no time.
    assert source.delay_counts == [10, 100, 0, 0, 0, 0, 0, 0, 0, 0]
    assert source.delay_ms_sum == 200_000
    assert source.clock_ahead_ms == 90_000
    assert sources.clocks_ahead(since=BEGIN, limit=timedelta(seconds=89)) == [("edge", 90_000)]
    assert sources.clocks_ahead(since=BEGIN, limit=timedelta(seconds=90)) == []


def test_a_test_clocks_time_is_no_delay(tenant):
    """S080: an event of a customer on a test clock is counted, and says nothing about delay or skew."""
    metering.meter()
    clock = customers.test_clock(now_at=BEGIN)
    customer = customers.customer(external_id="later", test_clock=clock)
    store(range(1, 11), customer_id=customer.id, begin=BEGIN, delay=timedelta(days=300))
    follow()
    source = UsageSource.objects.get()
    assert (source.event_count, source.timed_count, sum(source.delay_counts)) == (10, 0, 0)
    assert sources.delays_recent(since=BEGIN) == []


def test_numbers_are_folded_hour_by_hour_and_gaps_are_found(customer_id):
    """S234, I10: each hour expects the numbers after the last of the hour before; the missing ones are named."""
    store(set(range(1, 3601)) - {10, 11, 12, 3600}, customer_id=customer_id, begin=BEGIN)
    store(set(range(3601, 3701)) - {3650}, customer_id=customer_id, begin=BEGIN + HOUR)
    follow()
    at = BEGIN + 2 * HOUR
    assert sources.counted_windows(at=at) == [], "numbers are judged at the look after the one that found them"
    sources.sequences_judge_next(at=at)
    # 3600 was never seen by the first hour, so it is one of those that the second hour expects.
    assert windows_of("edge", at) == {BEGIN: (3599, 3596), BEGIN + HOUR: (101, 99)}
    (counted,) = sources.counted_windows(at=at)
    assert counted.missing_ranges == [(10, 12), (3600, 3600), (3650, 3650)]


def test_what_comes_late_fills_its_gap(customer_id):
    """S234: a gap is what is missing now, whenever the rest comes."""
    store([1, 2, 5, 6], customer_id=customer_id, begin=BEGIN)
    follow()
    sources.sequences_judge_next(at=BEGIN + HOUR)
    assert windows_of("edge", BEGIN + HOUR) == {BEGIN: (6, 4)}
    store([3, 4], customer_id=customer_id, begin=BEGIN + HOUR, delay=5 * SECOND)
    follow()
    assert windows_of("edge", BEGIN + 2 * HOUR) == {BEGIN: (6, 6)}, "they occurred an hour later and are found there"


def test_a_row_with_more_gaps_than_it_can_list_goes_on_by_counts(customer_id, monkeypatch):
    """S234: every second event lost for an hour: the share is still told, the ranges are not."""
    store(range(1, 40_001, 2), customer_id=customer_id, begin=BEGIN, step=timedelta(milliseconds=50))
    follow()
    hour = SourceHour.objects.get()
    store(range(40_001, 40_003, 2), customer_id=customer_id, begin=BEGIN + timedelta(minutes=50), delay=HOUR)
    follow()
    hour.refresh_from_db()
    sources.sequences_judge_next(at=BEGIN + HOUR)
    assert windows_of("edge", BEGIN + HOUR) == {BEGIN: (40_001, 20_001)}
    (counted,) = sources.counted_windows(at=BEGIN + HOUR)
    assert counted.missing_ranges == []


def test_a_heartbeat_is_kept_once_and_counted_when_its_events_had_time(customer_id):
    """S234, I10: 'I sent 100' against what is here, counted again until all have come."""
    store(range(97), customer_id=customer_id, begin=BEGIN, is_numbered=False)
    follow()
    word = {"source": "edge", "starts_at": BEGIN, "ends_at": BEGIN + timedelta(minutes=5), "sent_count": 100}
    first = sources.heartbeat_record(**word, at=BEGIN + timedelta(minutes=5))
    again = sources.heartbeat_record(**word, at=BEGIN + timedelta(minutes=6))
    assert first == again
    assert SourceHeartbeat.objects.count() == 1
    sources.heartbeats_count(at=BEGIN + timedelta(minutes=9))
    assert sources.counted_windows(at=BEGIN + HOUR) == [], "five minutes may pass until the last event is here"
    sources.heartbeats_count(at=BEGIN + timedelta(minutes=10))
    assert windows_of("edge", BEGIN + HOUR) == {BEGIN: (100, 97)}
    store(range(1000, 1003), customer_id=customer_id, begin=BEGIN + SECOND, is_numbered=False, delay=HOUR)
    sources.heartbeats_count(at=BEGIN + HOUR)
    assert windows_of("edge", BEGIN + HOUR) == {BEGIN: (100, 100)}


def test_a_heartbeat_that_contradicts_another_is_refused(customer_id):
    """S234: the same window with another number, or one that overlaps: nobody could say which to believe."""
    word = {"source": "edge", "starts_at": BEGIN, "ends_at": BEGIN + HOUR, "sent_count": 100}
    sources.heartbeat_record(**word, at=BEGIN + HOUR)
    with pytest.raises(HeartbeatConflict, match="already said 100 events"):
        sources.heartbeat_record(**{**word, "sent_count": 99}, at=BEGIN + HOUR)
    with pytest.raises(HeartbeatConflict, match="must not overlap"):
        sources.heartbeat_record(**{**word, "starts_at": BEGIN + HOUR / 2}, at=BEGIN + HOUR)
    sources.heartbeat_record(**{**word, "source": "other"}, at=BEGIN + HOUR)
    assert SourceHeartbeat.objects.count() == 2


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"source": ""}, "/source"),
        ({"source": "a\0b"}, "/source"),
        ({"ends_at": BEGIN}, "/to"),
        ({"ends_at": BEGIN + timedelta(days=2)}, "/to"),
        ({"starts_at": BEGIN + 5 * HOUR, "ends_at": BEGIN + 6 * HOUR}, "/to"),
        ({"starts_at": BEGIN - timedelta(days=9), "ends_at": BEGIN - timedelta(days=8)}, "/to"),
        ({"sent_count": -1}, "/sent"),
    ],
)
def test_a_heartbeat_that_makes_no_sense_names_the_field(customer_id, wrong, pointer):
    """S234: the field, and what it must be; nothing is kept."""
    word = {"source": "edge", "starts_at": BEGIN, "ends_at": BEGIN + HOUR, "sent_count": 100} | wrong
    with pytest.raises(HeartbeatInvalid) as refusal:
        sources.heartbeat_record(**word, at=BEGIN + HOUR)
    assert [problem.pointer for problem in refusal.value.problems] == [pointer]
    assert not SourceHeartbeat.objects.exists()


def test_a_source_cannot_take_its_word_back(customer_id):
    """S234: the database refuses another number for a window that was told, past the services."""
    sources.heartbeat_record(source="edge", starts_at=BEGIN, ends_at=BEGIN + HOUR, sent_count=5, at=BEGIN + HOUR)
    with pytest.raises(DatabaseError, match="frozen"), transaction.atomic():
        SourceHeartbeat.objects.update(sent_count=4)


def test_what_no_meter_counts_is_counted_by_reason(customer_id):
    """S239: accepted is not billed: by type, day and the first reason that holds."""
    metering.meter(code="big", event_type="upload", filters={"area": "eu"})
    store(range(3), customer_id=customer_id, begin=BEGIN, event_type="nobody.reads")
    store(range(4), customer_id=customer_id, begin=BEGIN, event_type="upload", source="other")
    store(range(5), customer_id=customer_id, begin=BEGIN, event_type="api.call", source="third")
    follow()
    found = {(row.event_type, row.reason): row.event_count for row in UnmatchedUsage.objects.all()}
    assert found == {("nobody.reads", "no_meter"): 3, ("upload", "filtered"): 4}
    assert {row.usage_date for row in UnmatchedUsage.objects.all()} == {BEGIN.date()}


def test_the_door_takes_numbers_and_the_real_follower_folds_them(committed_tenant):
    """S234, S239, I10: from JSON over commits and snapshots to the rows of the source, each event once."""
    code = "followed"
    customers.customer(external_id=code)
    sent = [
        metering.event(customer=code, type=f"{code}.call", source=code, id=f"{code}-{n}", sequence=n)
        for n in range(1, 9)
    ]
    assert metering.send(*sent[:5], at=BEGIN).accepted == 5
    late.follow(at=BEGIN)
    metering.meter(code=code, event_type=f"{code}.call")
    assert metering.send(*sent[6:], at=BEGIN).accepted == 2
    late.follow(at=BEGIN)
    source = UsageSource.objects.get(source=code)
    hour = SourceHour.objects.get(source=source)
    assert (source.event_count, hour.sequence_first, hour.sequence_last, hour.sequence_count) == (7, 1, 8, 7)
    unmatched = UnmatchedUsage.objects.get(event_type=f"{code}.call")
    assert (unmatched.reason, unmatched.event_count) == ("no_meter", 5)
