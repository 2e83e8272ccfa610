"""The benchmark of metering runs on small numbers, checks what it wrote, and prints ratios. Nothing here is timed."""

import json
import os

import pytest

from benchmarks.metering import __main__ as command
from benchmarks.metering import database_side, ground, growth, over_http, reads
from benchmarks.metering.bench import Amounts, Bench
from benchmarks.metering.report import Figure, Report
from benchmarks.metering.traffic import Traffic

pytestmark = pytest.mark.races

TINY = Amounts(
    repeats=1,
    customers=10,
    events=200,
    small_events=80,
    singles=5,
    batch=50,
    present_events=200,
    tenants=(1, 2),
    memory_events=400,
)


@pytest.fixture
def bench(committed_tenant, tmp_path):
    """The suite's own database as the ground, and the tenant whose commits are real as the house."""
    url = os.environ["DATABASE_URL"]
    environ = {**os.environ, "DEBUG": "false", "LOCAL_DIR": str(tmp_path), "LOG_LEVEL": "WARNING"}
    house = ground.house_furnish(slug="gamma", schema_name=committed_tenant, customers=TINY.customers)
    made = ground.Ground(url=url, local_dir=tmp_path, environ=environ)
    return Bench(ground=made, amounts=TINY, houses=dict.fromkeys(("bench", "full", "empty", "template"), house))


def test_both_modes_are_measured_and_published(bench, capsys):
    """S048: what exactly-once costs is measured against plain COPY in the same repetition and printed as a ratio."""
    report = Report(header=["a header"])
    report.add(database_side.measure(bench))
    printed = capsys.readouterr().out
    assert [figure.bar for figure in report.figures] == ["1", "1b", "", "", ""]
    assert all(ratio > 0 for figure in report.figures for ratio in figure.ratios)
    assert "identity + events + rollups / bare COPY" in printed
    assert bench.house().expected == 3 * 200


def test_every_case_over_http_stores_each_event_once(bench):
    """The load generator, the web server of script/server and the verification of totals work together."""
    figures = list(over_http.measure(bench, bars=["2", "3", "4", "5", "6", "15", "single"]))
    assert [figure.bar for figure in figures] == ["2", "3", "4", "5", "15", "15", "", "6"]
    assert all(ratio > 0 for figure in figures for ratio in figure.ratios)


def test_a_month_is_loaded_and_read_like_the_raw_events(bench):
    """Each aggregation gives what plain SQL over the events gives; the measurement itself requires it."""
    figures = list(reads.measure(bench, bars=["11", "12", "13"]))
    assert [figure.bar for figure in figures] == ["", *["11"] * 7, *["12"] * 6, "13"]
    assert all(ratio > 0 for figure in figures for ratio in figure.ratios)


def test_memory_and_cost_are_watched_over_many_batches(bench):
    """The resident memory of both web processes is found and compared."""
    figures = growth.memory(bench)
    assert [figure.bar for figure in figures] == ["mem", "lin"]
    assert all(ratio > 0 for figure in figures for ratio in figure.ratios)


def test_copies_of_a_tenant_take_events_in(bench):
    """A copied schema is a tenant like one that was built, with totals of its own."""
    try:
        (figure,) = growth.tenants(bench)
        assert figure.bar == "14"
    finally:
        with bench.ground.connected() as connection:
            # A tenant is kept for ever; this one only leaves the suite's database as it was.
            connection.execute("SET session_replication_role = replica")
            connection.execute("DROP SCHEMA IF EXISTS t_copy_0 CASCADE")
            connection.execute("DELETE FROM tenancy_domain WHERE domain = 'copy-0.localhost'")
            connection.execute("DELETE FROM tenancy_tenant WHERE slug = 'copy-0'")


def test_a_lost_event_fails_the_benchmark(bench):
    """A rate of events that are not there is worth nothing: verification counts them in the database."""
    bench.house().expected += 1
    with pytest.raises(AssertionError):
        bench.ground.verify(bench.house())


def test_ids_rise_with_time_and_rows_say_what_bodies_say():
    """The base copies the very rows that the requests carry, under time-ordered ids."""
    customers = [ground.Customer(code=f"c{number}", id=f"{number:032x}") for number in range(3)]
    batch = Traffic(customers=customers, event_type="bench.call").batch(4)
    rows = [row.split("\t") for row in batch.rows]
    ids = [row[2] for row in rows]
    assert ids == sorted(ids)
    assert all(row[2].encode() in batch.body and row[9].encode() in batch.body for row in rows)


@pytest.mark.parametrize(("ratio", "is_less_better", "verdict"), [
    (0.7, False, "goal"),
    (0.5, False, "must (77% of goal)"),
    (0.3, False, "NO (46% of goal)"),
    (0.3, True, "goal"),
    (0.9, True, "NO (72% of goal)"),
])  # fmt: skip
def test_a_figure_says_which_mark_it_reaches(ratio, is_less_better, verdict):
    """The table tells must, goal and the distance; for times, less is better."""
    must, goal = (0.8, 0.65) if is_less_better else (0.45, 0.65)
    figure = Figure(bar="1", what="x", ratios=[ratio], must=must, goal=goal, is_less_better=is_less_better)
    assert figure.verdict == verdict


def test_the_table_is_put_into_a_page_and_into_a_file(tmp_path):
    """What is published is what was measured: the page's table is written by the command, other words stay."""
    page, file = tmp_path / "page.md", tmp_path / "figures.json"
    page.write_text("before\n<!-- measured: begin -->\nold\n<!-- measured: end -->\nafter\n")
    report = Report(header=["a machine"])
    report.add([Figure(bar="2", what="HTTP", ratios=[0.2, 0.3, 0.4], must=0.25, goal=0.5, notes=["fast"])])
    report.tell(page)
    report.write(file)
    text = page.read_text()
    assert "old" not in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "| 2 | HTTP | **0.30** | 0.20 to 0.40 | 0.25 | 0.5 | must (60% of goal) |" in text
    assert json.loads(file.read_text())["figures"][0]["ratios"] == [0.2, 0.3, 0.4]
    with pytest.raises(ValueError, match="no lines"):
        report.tell(file)


def test_the_command_knows_its_bars():
    """What is asked for by name is measured; a bar that is not there is refused."""
    amounts, bars, options = command.arguments(["--bars", "1,2", "--repeats", "5", "--present", "10000000"])
    assert (amounts.repeats, amounts.present_events, bars) == (5, 10_000_000, ["1", "2"])
    assert (options.json, options.page) == (None, None)
    with pytest.raises(SystemExit):
        command.arguments(["--bars", "99"])
