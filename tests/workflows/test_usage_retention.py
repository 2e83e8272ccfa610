"""Days are proven, months leave for the archive and come back, and nothing is lost on the way."""

import gzip
import json
from datetime import UTC, date, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, transaction

from apps.audit.models import AuditEntry
from apps.common.actors import OPERATOR, SCHEDULE
from apps.common.db import fetch_all
from apps.invoices.models import InvoiceLine
from apps.metering import alerts, proofs, retention, retention_files
from apps.metering import selectors as metering_selectors
from apps.metering.errors import ArchiveBroken, ArchiveRefused, UsageMonthArchived
from apps.metering.models import UsageArchive, UsageEvent, UsageMending, UsageProof
from apps.workflows import explanations, rerating, usage_retention
from apps.workflows.errors import ReratingRefused
from tests.apps.metering.watched import follow, store
from tests.builders import customers, faces, metering

BEGIN = datetime(2026, 1, 10, 9, 0, tzinfo=UTC)
DAY, JANUARY = date(2026, 1, 10), date(2026, 1, 1)
LATER = datetime(2028, 6, 3, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def folder(tmp_path, settings):
    """An archive folder of its own for each test."""
    settings.USAGE_ARCHIVE_DIR = tmp_path
    return tmp_path


def spoil() -> None:
    """Change a total past its guards, as nobody ever should."""
    with transaction.atomic():
        fetch_all("ALTER TABLE metering_usageaggregate DISABLE TRIGGER USER")
        fetch_all("UPDATE metering_usageaggregate SET value_sum = value_sum + 1")
        fetch_all("ALTER TABLE metering_usageaggregate ENABLE TRIGGER USER")


def test_a_proof_keeps_what_the_day_came_to(tenant):
    """S085, S057, S070: events counted, digests, snapshot, and the totals of the day per meter."""
    metering.meter(code="sent", aggregation="sum", value_property="bytes", event_type="upload", unit_name="B")
    customer = customers.customer(external_id="acme")
    metering.meter(unit_name="calls")
    store(range(10), customer_id=customer.id, begin=BEGIN)
    proof = proofs.usage_proof_make(usage_date=DAY, at=LATER)
    assert (proof.event_count, proof.aggregate_count, proof.difference_count) == (10, 1, 0)
    assert proof.totals == [
        {"meter": "api_calls", "version": 1, "unit": "calls", "events": 10, "sum": "10", "max": "1", "customers": 1}
    ]
    assert ":" in proof.snapshot
    again = proofs.usage_proof_make(usage_date=DAY, at=LATER)
    assert (again.events_digest, again.aggregates_digest) == (proof.events_digest, proof.aggregates_digest)
    store([99], customer_id=customer.id, begin=BEGIN)
    more = proofs.usage_proof_make(usage_date=DAY, at=LATER)
    assert more.events_digest != proof.events_digest
    assert more.aggregates_digest != proof.aggregates_digest
    with pytest.raises(DatabaseError, match="only grows"), transaction.atomic():
        UsageProof.objects.update(event_count=0)


def test_days_are_proven_in_slices_and_again_when_they_changed(tenant):
    """S085: a few days a run; a proven day is due again after events came to it, and when its proof is old."""
    metering.meter()
    customer = customers.customer(external_id="acme")
    for day in range(6):
        store(range(3), customer_id=customer.id, begin=BEGIN + timedelta(days=day))
    follow()
    at = BEGIN + timedelta(days=6)
    first = usage_retention.proofs_run(actor=SCHEDULE, at=at)
    assert [proof.usage_date.day for proof in first] == [15, 14, 13, 12]
    assert [proof.usage_date.day for proof in usage_retention.proofs_run(actor=SCHEDULE, at=at + HOUR)] == [11, 10]
    assert usage_retention.proofs_run(actor=SCHEDULE, at=at + HOUR) == []
    store([50], customer_id=customer.id, begin=BEGIN, delay=timedelta(days=7))
    follow()
    assert usage_retention.proofs_run(actor=SCHEDULE, at=at + 2 * HOUR) == [], "once a day at most"
    at = BEGIN + timedelta(days=8)
    assert [proof.usage_date.day for proof in usage_retention.proofs_run(actor=SCHEDULE, at=at)] == [10]
    assert len(usage_retention.proofs_run(actor=SCHEDULE, at=at + timedelta(days=40))) == 4


def test_a_difference_is_found_told_mended_with_a_reason_and_closed(tenant):
    """S085, S057: the proof names it, an alert opens, the hour is rebuilt under a reason, the next proof closes it."""
    metering.meter()
    customer = customers.customer(external_id="acme")
    store(range(10), customer_id=customer.id, begin=BEGIN)
    follow()
    spoil()
    (proof,) = usage_retention.proofs_run(actor=SCHEDULE, at=BEGIN + timedelta(days=1))
    assert proof.difference_count == 1
    assert str(customer.id) in proof.differences[0]
    (alert,) = alerts.alerts_live()
    assert (alert.kind, alert.subject) == ("proof", "2026-01-10")
    order = {"customer_id": customer.id, "hour_at": BEGIN, "actor": OPERATOR, "at": LATER}
    with pytest.raises(DatabaseError, match="usage_mending_has_reason"), transaction.atomic():
        proofs.usage_hour_mend(**order, reason="")
    mending = proofs.usage_hour_mend(**order, reason="Totals were changed by hand on the 9th")
    assert AuditEntry.objects.get(entity_id=mending.id).comment == "Totals were changed by hand on the 9th"
    assert metering_selectors.aggregates_compare(limit=10) == []
    proofs.usage_proof_make(usage_date=DAY, at=LATER)
    usage_retention.proof_alerts_settle(actor=SCHEDULE, at=LATER)
    assert not alerts.alerts_live().exists()


def test_totals_are_rebuilt_by_an_order_only(tenant):
    """S085: what a hand writes is refused as before; the row that orders a rebuilding is kept for ever."""
    metering.meter()
    customer = customers.customer(external_id="acme")
    store(range(10), customer_id=customer.id, begin=BEGIN)
    with pytest.raises(DatabaseError, match="Running totals follow the events"), transaction.atomic():
        fetch_all("UPDATE metering_usageaggregate SET value_sum = 0")
    proofs.usage_hour_mend(customer_id=customer.id, hour_at=BEGIN, reason="Drill", actor=OPERATOR, at=LATER)
    with pytest.raises(DatabaseError, match="only grows"), transaction.atomic():
        UsageMending.objects.all().delete()


def test_a_batch_gives_what_the_live_totals_say(tenant):
    """S058, S057: rebuilding an hour from raw events is the batch; live and batch agree to the last digit."""
    metering.meter(code="sent", aggregation="sum", value_property="bytes", event_type="upload")
    metering.meter(code="peak", aggregation="max", value_property="bytes", event_type="upload")
    customer = customers.customer(external_id="acme")
    values = ["0.1", "0.2", "12345678901234567890.123456789012", "3"]
    sent = [
        metering.event(type="upload", properties={"bytes": value}, occurred_at=BEGIN.isoformat()) for value in values
    ]
    metering.send(*sent, at=BEGIN + HOUR)
    query = "SELECT meter_id, hour, event_count, value_sum, value_max FROM metering_usageaggregate ORDER BY 1, 2"
    live = fetch_all(query)
    assert len(live) == 2
    proofs.usage_hour_mend(customer_id=customer.id, hour_at=BEGIN, reason="As a batch", actor=OPERATOR, at=LATER)
    assert fetch_all(query) == live


def archived_house() -> tuple[faces.House, InvoiceLine]:
    """Live from January to February, prove all days, and settle everything so that January may leave."""
    house = faces.house()
    follow_really()
    for day in proofs.proof_days_due(at=LATER, limit=100):
        proofs.usage_proof_make(usage_date=day, at=LATER)
    line = InvoiceLine.objects.get(invoice=house.invoice, kind="usage")
    return house, line


def follow_really() -> None:
    """Let the follower have read everything that this test's transaction wrote."""
    follow()
    ((xid,),) = fetch_all("SELECT pg_current_xact_id()::text::bigint")
    fetch_all(
        "INSERT INTO metering_usagefollower (id, done_snapshot, reached_snapshot, is_only_row)"
        " VALUES (gen_random_uuid(), %(s)s, %(s)s, true)"
        " ON CONFLICT (is_only_row) DO UPDATE SET done_snapshot = excluded.done_snapshot",
        {"s": f"{xid + 10**6}:{xid + 10**6}:"},
    )


def facts_of(line: InvoiceLine) -> tuple:
    """Return what an explanation recomputes."""
    explained = explanations.line_explain(line=line)
    return (
        explained.is_equal,
        explained.explanation.recomputed_input_hash,
        explained.explanation.recomputed_output_hash,
        explained.event_count_now,
    )


def test_a_month_leaves_and_comes_back_and_its_lines_explain_themselves_again(tenant, folder):
    """S066, S067, S031: file, read back, out; the explanation says so; restored, it gives the very same hashes."""
    house, line = archived_house()
    before, totals = facts_of(line), fetch_all("SELECT * FROM metering_usageaggregate ORDER BY 1, 2, 3")
    assert before[0]
    archive = usage_retention.usage_month_archive(month=JANUARY, actor=OPERATOR, at=LATER)
    assert (archive.status, archive.row_count) == ("RETIRED", 25)
    assert not UsageEvent.objects.filter(occurred_at__lt=faces.FEBRUARY).exists()
    assert fetch_all("SELECT * FROM metering_usageaggregate ORDER BY 1, 2, 3") == totals, "what was counted stays"
    with pytest.raises(UsageMonthArchived, match="usage_restore --month 2026-01"):
        explanations.line_explain(line=line)
    with pytest.raises(UsageMonthArchived):
        explanations.line_events(line=line, limit=10)
    with pytest.raises(UsageMonthArchived):
        proofs.usage_proof_make(usage_date=DAY, at=LATER)
    restored = usage_retention.usage_month_restore(month=JANUARY, actor=OPERATOR, at=LATER)
    assert restored.status == "RESTORED"
    assert facts_of(line) == before
    assert fetch_all("SELECT * FROM metering_usageaggregate ORDER BY 1, 2, 3") == totals, "nothing was counted again"
    assert metering_selectors.aggregates_compare(limit=10) == []
    assert usage_retention.usage_month_archive(month=JANUARY, actor=OPERATOR, at=LATER).id == archive.id, "same file"


def test_the_file_can_be_read_without_this_database(tenant, folder):
    """S066: COPY text and a manifest with columns, rows, hash, snapshot and the proofs of its days."""
    archived_house()
    archive = usage_retention.usage_month_archive(month=JANUARY, actor=OPERATOR, at=LATER)
    path = folder / archive.location
    manifest = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"), parse_float=str)
    assert manifest == archive.manifest
    assert (manifest["rows"], manifest["month"]) == (25, "2026-01")
    assert retention_files.file_hash(path) == manifest["file_sha256"]
    assert [proof["day"] for proof in manifest["proofs"]] == ["2026-01-10"]
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    first = dict(zip(manifest["columns"], lines[0].split("\t"), strict=True))
    assert (first["type"], first["source"]) == ("api.call", "test")


def test_an_event_of_an_archived_month_is_stored_counted_and_survives_the_restoring(tenant):
    """S067: whoever sends it is not refused, and what comes back does not overwrite it; a repeat is a duplicate."""
    house, _line = archived_house()
    usage_retention.usage_month_archive(month=JANUARY, actor=OPERATOR, at=LATER)
    occurred_at = datetime(2026, 1, 20, tzinfo=UTC)
    faces.used("acme", 1, occurred_at)
    assert UsageEvent.objects.filter(occurred_at__lt=faces.FEBRUARY).count() == 1
    known = metering.event(id="acme-0110-20260110120000-0", occurred_at="2026-01-10T12:00:00+00:00")
    assert metering.send(known, at=faces.NOW).duplicates == 1, "identity outlives the event"
    usage_retention.usage_month_restore(month=JANUARY, actor=OPERATOR, at=LATER)
    assert UsageEvent.objects.filter(occurred_at__lt=faces.FEBRUARY).count() == 26
    assert metering_selectors.aggregates_compare(limit=10) == []
    archive = retention.archive_of(month=JANUARY)
    with pytest.raises(ArchiveRefused, match="abandon the archive and write it anew"), transaction.atomic():
        retention.usage_archive_retire(archive_id=archive.id, actor=OPERATOR, at=LATER)


@pytest.mark.parametrize("step", ["rows_write", "manifest_write", "file_hash", "rows_read"])
def test_interrupted_at_any_step_nothing_is_lost_and_the_next_run_goes_on(tenant, monkeypatch, step):
    """S066: killed while the file is written, after it, while it is read back: the month is whole, then it leaves."""
    _house, line = archived_house()
    before = facts_of(line)

    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(retention_files, step, killed)
        with pytest.raises(KeyboardInterrupt), transaction.atomic():
            usage_retention.usage_month_archive(month=JANUARY, actor=OPERATOR, at=LATER)
    assert facts_of(line) == before
    archive = usage_retention.usage_month_archive(month=JANUARY, actor=OPERATOR, at=LATER)
    assert archive.status == "RETIRED"
    with monkeypatch.context() as patched:
        patched.setattr("apps.metering.partitions.partition_attach", killed)
        with pytest.raises(KeyboardInterrupt), transaction.atomic():
            usage_retention.usage_month_restore(month=JANUARY, actor=OPERATOR, at=LATER)
    assert retention.archive_of(month=JANUARY).status == "RETIRED"
    usage_retention.usage_month_restore(month=JANUARY, actor=OPERATOR, at=LATER)
    assert facts_of(line) == before


def test_a_file_that_was_changed_brings_nothing_back(tenant, folder):
    """S066: one byte is enough; the month stays as it was, and so does the archive."""
    archived_house()
    archive = usage_retention.usage_month_archive(month=JANUARY, actor=OPERATOR, at=LATER)
    path = folder / archive.location
    whole = path.read_bytes()
    path.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    with pytest.raises(ArchiveBroken, match="not what was written"), transaction.atomic():
        usage_retention.usage_month_restore(month=JANUARY, actor=OPERATOR, at=LATER)
    assert retention.archive_of(month=JANUARY).status == "RETIRED"
    path.unlink()
    with pytest.raises(ArchiveBroken, match="bring it back from the backup"), transaction.atomic():
        usage_retention.usage_month_restore(month=JANUARY, actor=OPERATOR, at=LATER)


def test_a_month_stays_while_something_may_still_be_billed_by_it(tenant):
    """S067: an open period, a draft, a missing proof: each is named, and no file is written."""
    faces.house(until=faces.FEBRUARY + timedelta(minutes=10))
    with pytest.raises(ArchiveRefused) as refusal:
        usage_retention.usage_month_archive(month=JANUARY, actor=OPERATOR, at=LATER)
    assert "documents of that time are drafts: 1" in refusal.value.detail
    assert "events that the follower has not read: 25" in refusal.value.detail
    assert not UsageArchive.objects.exists()


def test_retention_takes_the_oldest_month_that_is_kept_no_longer(tenant):
    """S066, S067: 25 months by default, one month a run, and what was restored stays until somebody says so."""
    archived_house()
    kept = datetime(2028, 2, 29, 23, 59, tzinfo=UTC)
    assert usage_retention.retention_run(actor=SCHEDULE, at=kept) is None
    archive = usage_retention.retention_run(actor=SCHEDULE, at=kept + timedelta(minutes=1))
    assert archive.month_date == JANUARY
    usage_retention.usage_month_restore(month=JANUARY, actor=OPERATOR, at=LATER)
    assert usage_retention.retention_run(actor=SCHEDULE, at=LATER) is None


def test_the_commands_say_what_became_of_a_month_and_what_is_wrong(tenant, capsys, clock):
    """S085, S067: by hand, with words a person can act on."""
    archived_house()
    clock.set(LATER)
    call_command("usage_proof", schema=tenant, day="2026-01-10")
    assert "2026-01-10 has 25 events and 1 running totals, 0 differences" in capsys.readouterr().out
    call_command("usage_archive", schema=tenant, month="2026-01")
    assert "2026-01 is archived: 25 events" in capsys.readouterr().out
    with pytest.raises(CommandError, match="usage_restore --month 2026-01"):
        call_command("usage_proof", schema=tenant, day="2026-01-10")
    call_command("usage_restore", schema=tenant, month="2026-01")
    assert "2026-01 is restored: 25 events" in capsys.readouterr().out
    with pytest.raises(CommandError, match="write it like 2024-01"):
        call_command("usage_restore", schema=tenant, month="January")
    spoil()
    with pytest.raises(CommandError, match="1 differences"):
        call_command("usage_proof", schema=tenant, day="2026-01-10")
    call_command("usage_proof", schema=tenant, mend="2026-01-10T12:00Z", customer="acme", reason="Changed by hand")
    assert "0 differences" in capsys.readouterr().out


def test_a_period_of_an_archived_month_is_not_rated_again_without_its_events(tenant):
    """S067: with the events in the file it would seem that nothing was used, and all of it would be paid back."""
    house, line = archived_house()
    usage_retention.usage_month_archive(month=JANUARY, actor=OPERATOR, at=LATER)
    period = line.invoice.billing_period
    with pytest.raises(ReratingRefused, match="usage_restore --month 2026-01"):
        rerating.period_rerate(period=period)
    usage_retention.usage_month_restore(month=JANUARY, actor=OPERATOR, at=LATER)
    assert rerating.period_rerate(period=period).amount_minor == 0
