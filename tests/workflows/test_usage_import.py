"""`manage.py usage_import`: files go through the intake, go on where they were, and count nothing twice."""

import gzip
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from apps.metering import event_files, selectors
from apps.metering.import_models import UsageImport
from apps.metering.models import QuarantinedEvent, UsageAggregate, UsageEvent
from apps.workflows import usage_files, usage_intake
from apps.workflows.management.commands import usage_import
from tests import database
from tests.builders import customers, metering
from tests.faults.test_intake_killed import answer_of, worker

EVENT = {"source": "file", "type": "api.call", "customer": "acme", "occurred_at": "2026-01-10T12:00:00Z"}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def acme(tenant):
    metering.meter()
    return customers.customer(external_id="acme")


def lines(count: int, *, first: int = 1, **overrides) -> str:
    """Return events as lines of JSON."""
    return "".join(json.dumps({"id": f"e{n}", **EVENT, **overrides}) + "\n" for n in range(first, first + count))


def run(*arguments: str, tenant: str = "alpha") -> tuple[str, str, int]:
    """Run the command; return what it said, what it told on the way, and its exit status."""
    said, told = io.StringIO(), io.StringIO()
    status = 0
    try:
        call_command("usage_import", *arguments, tenant=tenant, stdout=said, stderr=told)
    except SystemExit as ended:
        status = int(ended.code or 0)
    return said.getvalue(), told.getvalue(), status


def report_of(name: str) -> list[tuple[int, str, str]]:
    documents = [json.loads(line) for line in Path(f"{name}.report.jsonl").read_text().splitlines()]
    return [(document["line"], document["status"], document["code"]) for document in documents]


def test_a_file_is_taken_in_by_the_intake_and_the_same_file_again_is_known(acme, folder):
    """S028, S050: the second time is success, counts nothing, and says since when the lines are in."""
    (folder / "may.jsonl").write_text(lines(3))
    said, told, status = run("may.jsonl")
    assert (said, status) == ("may.jsonl: 3 accepted; 0 were there already; 0 conflicts, 0 rejected.\n", 0)
    assert "line 3, 100 %" in told
    row = UsageImport.objects.get()
    assert (row.read_lines, row.read_bytes) == (3, len(lines(3)))
    assert (row.accepted_count, row.begun_by_name) == (3, "command line")
    assert row.finished_at is not None
    (folder / "may.jsonl").rename(folder / "renamed.jsonl")
    said, told, status = run("renamed.jsonl")
    assert (said, status) == ("renamed.jsonl: 0 accepted; 0 were there already; 0 conflicts, 0 rejected.\n", 0)
    assert "3 lines of it are in since 2026-01-15 12:00 UTC, as may.jsonl" in told
    assert UsageImport.objects.count() == 1
    assert UsageEvent.objects.count() == 3
    assert UsageAggregate.objects.get().event_count == 3


def test_what_is_appended_to_a_file_is_all_that_is_read_of_it(acme, folder):
    path = folder / "log.jsonl"
    path.write_text(lines(2))
    run("log.jsonl")
    path.write_text(lines(2) + lines(2, first=3))
    assert run("log.jsonl")[0].startswith("log.jsonl: 2 accepted; 0 were there already")
    row = UsageImport.objects.get()
    assert (row.read_lines, row.accepted_count, row.duplicate_count) == (4, 4, 0)
    path.write_text(lines(1, first=9) + lines(4))
    assert run("log.jsonl")[0].startswith("log.jsonl: 1 accepted; 4 were there already")
    assert UsageImport.objects.count() == 2


def test_lines_that_are_not_taken_in_are_reported_and_kept_and_stop_nothing(acme, folder):
    """S025, S037: each with its number, code and what to do; the exit status says that there are some."""
    bad = [
        "{not json}",
        json.dumps({"id": "u", **EVENT, "customer": "nobody"}),
        json.dumps({"id": "e1", **EVENT, "quantity": "7"}),
        '{"id":"' + "x" * 100_000 + '"}',
        '{"id":"' + "x" * 2_000_000 + '"}',
        "",
        json.dumps({"id": "e1", **EVENT}),
    ]
    (folder / "bad.jsonl").write_text(lines(1) + "\n".join(bad) + "\n" + lines(1, first=2))
    said, _told, status = run("bad.jsonl")
    assert status == usage_import.EXIT_REFUSED
    assert said == (
        "bad.jsonl: 2 accepted; 1 were there already; 1 conflicts, 4 rejected. Report: bad.jsonl.report.jsonl\n"
    )
    assert report_of("bad.jsonl") == [
        (2, "rejected", "invalid_text"),
        (3, "rejected", "unknown_customer"),
        (4, "conflict", "id_reused"),
        (5, "rejected", "too_large"),
        (6, "rejected", "too_large"),
    ]
    assert QuarantinedEvent.objects.count() == 5
    row = UsageImport.objects.get()
    assert (row.conflict_count, row.rejected_count, row.duplicate_count, row.read_lines) == (1, 4, 1, 9)


def test_files_of_one_name_in_two_folders_have_reports_of_their_own(acme, folder):
    """S025: the second one's report does not take the first one's lines away."""
    for month in ("may", "june"):
        (folder / month).mkdir()
        (folder / month / "usage.jsonl").write_text(json.dumps({"id": month}) + "\n")
        assert run(f"{month}/usage.jsonl")[2] == usage_import.EXIT_REFUSED
    assert len(list(folder.glob("usage.jsonl.*.report.jsonl"))) == 2


def test_a_dry_run_judges_every_line_and_stores_nothing(acme, folder):
    (folder / "x.jsonl").write_text(lines(2) + "{}\n")
    said, _told, status = run("x.jsonl", "--dry-run")
    assert said.startswith("x.jsonl: 2 would be accepted, nothing was stored; 0 were there already; 0 conflicts, 1 rej")
    assert status == usage_import.EXIT_REFUSED
    assert report_of("x.jsonl.dry-run") == [(3, "rejected", "missing_field")]
    stored = (UsageEvent, UsageAggregate, UsageImport, QuarantinedEvent)
    assert [model.objects.count() for model in stored] == [0, 0, 0, 0]
    assert run("x.jsonl")[0].startswith("x.jsonl: 2 accepted")


def test_a_table_is_read_by_its_columns(acme, folder):
    rows = "konto;menge;art;wann;nr\n" + "".join(f"acme;{n};api.call;2026-01-10T12:00:00Z;n{n}\n" for n in range(3))
    (folder / "t.csv.gz").write_bytes(gzip.compress(rows.encode("cp1252")))
    columns = "customer=konto,quantity=menge,type=art,occurred_at=wann,id=nr,source==till"
    said, _told, status = run("t.csv.gz", "--delimiter", ";", "--columns", columns, "--encoding", "cp1252")
    assert (said[:22], status) == ("t.csv.gz: 3 accepted; ", 0)
    assert sorted(UsageEvent.objects.values_list("source", "event_id", "quantity")) == [
        ("till", "n0", 0),
        ("till", "n1", 1),
        ("till", "n2", 2),
    ]
    # Read otherwise it is another import: what was read by other columns says nothing about these.
    said, _told, status = run("t.csv.gz", "--delimiter", ";", "--columns", columns.replace("=till", "=shop"))
    assert (said[:22], UsageImport.objects.count()) == ("t.csv.gz: 3 accepted; ", 2)


def test_a_mapping_reads_lines_and_rows(acme, folder):
    """S024: one canonical shape from every source, also from its files."""
    metering.mapping(source="edge", id="no", type="=api.call", customer="who", occurred_at="when")
    (folder / "m.jsonl").write_text('{"no": 1, "who": "acme", "when": "2026-01-10T12:00:00Z"}\n')
    (folder / "m.csv").write_text("no,who,when\n2,acme,2026-01-10T12:00:00Z\n")
    said, _told, status = run("m.jsonl", "m.csv", "--mapping", "edge")
    assert (said.count(" 1 accepted"), status) == (2, 0)
    assert sorted(UsageEvent.objects.values_list("source", "event_id")) == [("edge", "1"), ("edge", "2")]
    with pytest.raises(CommandError, match="elsewhere"):
        run("m.jsonl", "--mapping", "elsewhere")


def test_standard_input_is_read_from_its_beginning(acme, folder, monkeypatch):
    class Input:
        def __init__(self) -> None:
            reading, writing = os.pipe()
            os.write(writing, lines(2).encode())
            os.close(writing)
            self.buffer = os.fdopen(reading, "rb")

    for expected in ("2 accepted; 0 were there", "0 accepted; 2 were there"):
        monkeypatch.setattr(sys, "stdin", Input())
        said, told, status = run("-")
        sys.stdin.buffer.close()
        assert (said.startswith(f"stdin: {expected}"), status) == (True, 0)
        assert "%" not in told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing.jsonl"], "nothing.jsonl cannot be read: No such file"),
        (["x.jsonl", "--columns", "id=a", "--mapping", "edge"], "--mapping or --columns"),
        (["x.jsonl", "--encoding", "utf-ate"], "'utf-ate' is unknown"),
        (["x.csv"], "No column gives id"),
        (["x.csv", "--delimiter", "::"], "one character"),
        (["x.csv", "--columns", "customer"], "no FIELD=COLUMN"),
    ],
)
def test_what_cannot_be_is_refused_with_the_way_out(acme, folder, arguments, words):
    (folder / "x.jsonl").write_text(lines(1))
    (folder / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(CommandError) as refused:
        run(*arguments)
    assert words in str(refused.value)
    assert UsageEvent.objects.count() == 0


def test_a_tenant_that_is_not_there_is_named_with_those_that_are(db, folder):
    with pytest.raises(CommandError, match="no ready tenant 'nobody'; there are: t_alpha, t_beta"):
        run("x.jsonl", tenant="nobody")


def test_an_empty_file_and_a_file_of_empty_lines(acme, folder):
    (folder / "e.jsonl").write_text("")
    assert run("e.jsonl")[0] == "e.jsonl: is empty.\n"
    (folder / "n.jsonl").write_text("\n\n")
    assert run("n.jsonl")[0].startswith("n.jsonl: 0 accepted")
    (folder / "h.csv").write_text("id,source,type,customer,occurred_at\n")
    assert run("h.csv")[0].startswith("h.csv: 0 accepted")


def test_a_second_process_on_the_same_file_takes_nothing_in(acme, folder, monkeypatch, at):
    monkeypatch.setattr(event_files, "EVENTS_MAX", 2)
    (folder / "x.jsonl").write_text(lines(6))
    real, calls = usage_files.usage_import_take, []

    def overtaken(**arguments):
        calls.append(arguments)
        if len(calls) == 2:
            UsageImport.objects.update(read_bytes=10**6)
        return real(**arguments)

    monkeypatch.setattr(usage_files, "usage_import_take", overtaken)
    with pytest.raises(CommandError, match="Another process reads x.jsonl"):
        run("x.jsonl")
    assert UsageEvent.objects.count() == 2


@pytest.fixture
def world(committed_tenant, folder, monkeypatch, request):
    monkeypatch.setattr(event_files, "EVENTS_MAX", 20)
    code = f"import-{request.node.name[:60]}"
    meter = metering.meter(code="imported", event_type=f"{code}.call")
    return committed_tenant, customers.customer(external_id=code), meter


def _assert_in_once(customer, meter, count) -> None:
    totals = UsageAggregate.objects.filter(customer_id=customer.id, meter_id=meter.id)
    assert UsageEvent.objects.filter(customer_id=customer.id).count() == count
    assert sum(totals.values_list("event_count", flat=True)) == count
    assert selectors.aggregates_compare(limit=1, customer_id=customer.id) == []


def _die(*_arguments, **_named) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.races
@pytest.mark.parametrize("station", ["before the events", "before the position", "after the commit"])
def test_an_import_that_dies_goes_on_where_it_was(world, station, monkeypatch):
    """S049: position and events are one transaction, so a killed import repeats nothing and leaves nothing out."""
    schema_name, customer, meter = world
    bad = json.dumps({"id": "bad", **EVENT, "customer": "nobody"}) + "\n"
    text = "".join(
        lines(19, first=1 + 20 * batch, customer=customer.external_id, type=meter.event_type, source=station) + bad
        for batch in range(5)
    )
    Path("long.jsonl").write_text(text)

    def work() -> str:
        calls = []

        def third(real):
            def wrapper(**arguments):
                calls.append(real)
                if len(calls) == 3:
                    _die()
                return real(**arguments)

            return wrapper

        if station == "before the events":
            usage_intake.events_accept = third(usage_intake.events_accept)
        elif station == "before the position":
            usage_files.usage_imports.usage_import_advance = third(usage_files.usage_imports.usage_import_advance)
        else:
            usage_import._Progress.add = lambda _self, _counts, *, lines: _die() if lines == 40 else None
        run("long.jsonl", tenant="gamma")
        return "never said"

    assert answer_of(*worker(schema_name, work), killed_after_ms=None) == ""
    _assert_in_once(customer, meter, 38)
    row = UsageImport.objects.get(read_bytes__gt=0, columns={}, file_name="long.jsonl", finished_at=None)
    assert (row.read_lines, row.accepted_count, row.rejected_count) == (40, 38, 2)
    said, told, status = run("long.jsonl", tenant="gamma")
    assert "going on behind line 40" in told
    assert said.startswith("long.jsonl: 57 accepted; 0 were there already; 0 conflicts, 3 rejected")
    assert status == usage_import.EXIT_REFUSED
    row.refresh_from_db()
    assert (row.accepted_count, row.duplicate_count, row.rejected_count, row.read_lines) == (95, 0, 5, 100)
    _assert_in_once(customer, meter, 95)
    assert [line for line, _status, _code in report_of("long.jsonl")] == [20, 40, 60, 80, 100]


@pytest.mark.races
def test_imports_killed_at_random_instants_count_every_line_once(world):
    """S049, S047: the command is killed again and again and begun again; the counts of the file add up."""
    schema_name, customer, meter = world
    dice = random.Random(86)
    Path("many.jsonl").write_text(
        lines(600, customer=customer.external_id, type=meter.event_type, source=f"many-{dice.random()}")
    )

    def work() -> str:
        return run("many.jsonl", tenant="gamma")[0]

    deaths = 0
    for life_ms in [dice.randrange(20, 300) for _ in range(12)] + [None]:
        answer = answer_of(*worker(schema_name, work), killed_after_ms=life_ms)
        deaths += not answer
        if answer:
            break
    # How many die in time depends on the machine's mood; that one does is what makes this a test.
    assert deaths >= 1
    row = UsageImport.objects.get(file_name="many.jsonl")
    assert (row.accepted_count, row.duplicate_count, row.read_lines) == (600, 0, 600)
    assert row.finished_at is not None
    _assert_in_once(customer, meter, 600)


@pytest.mark.races
def test_the_command_is_killed_as_a_process_and_given_again(world):
    """The real thing once: another process, a signal, the same command line."""
    _schema, customer, meter = world
    Path("p.jsonl").write_text(
        lines(25_000, customer=customer.external_id, type=meter.event_type, source=f"p-{time.monotonic()}")
    )
    command = [sys.executable, str(database.ROOT / "manage.py"), "usage_import", "--tenant", "gamma", "p.jsonl"]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "billing_site.settings"}
    first = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    while first.poll() is None and not UsageImport.objects.filter(file_name="p.jsonl").exists():
        time.sleep(0.02)
    first.kill()
    first.communicate()
    before = UsageImport.objects.get(file_name="p.jsonl")
    # The frozen clock of the suite is not that process's: the events are of its past.
    again = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert again.returncode == 0, again.stderr
    after = UsageImport.objects.get(file_name="p.jsonl")
    assert before.finished_at is None or before.read_lines == 25_000
    assert (after.accepted_count, after.duplicate_count, after.read_lines) == (25_000, 0, 25_000)
    _assert_in_once(customer, meter, 25_000)
