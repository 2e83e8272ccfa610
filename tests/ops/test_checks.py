"""`script/test` runs every check whatever fails, tells which did, and fails if one did."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from script.lib import checks, processes
from script.lib.supervisor import ServiceGaveUp, Supervisor


def step(name: str, script: str, *, is_optional: bool = False) -> checks.Step:
    return checks.Step(name=name, command=("/bin/sh", "-c", script), is_optional=is_optional)


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals are handled by main threads only")
    with Supervisor(say=lambda text: None) as running:
        yield running


def test_a_failing_step_hides_no_other_and_fails_the_run(
    supervisor: Supervisor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lanes = [
        [step("first", "echo wrong; exit 3"), step("second", "echo fine")],
        [step("third", "exit 1", is_optional=True)],
    ]

    outcomes = checks.lanes_run(supervisor, lanes=lanes, env={"PATH": "/usr/bin:/bin"}, log_dir=tmp_path)
    status = checks.report(outcomes)

    assert {outcome.step.name: outcome.status for outcome in outcomes} == {"first": 3, "second": 0, "third": 1}
    assert status == 1
    said = capsys.readouterr().out
    assert "wrong" in said
    assert said.count("FAILED") == 2  # once when it happened, once in the summary
    assert "skipped" in said


def test_optional_steps_alone_do_not_fail_the_run(supervisor: Supervisor, tmp_path: Path) -> None:
    lanes = [[step("browser", "exit 1", is_optional=True)]]

    outcomes = checks.lanes_run(supervisor, lanes=lanes, env={"PATH": "/usr/bin:/bin"}, log_dir=tmp_path)

    assert checks.report(outcomes) == 0


def test_lanes_run_beside_each_other(supervisor: Supervisor, tmp_path: Path) -> None:
    wait = f"for i in $(seq 100); do [ -e {tmp_path}/ready ] && exit 0; sleep 0.05; done; exit 1"
    lanes = [[step("waits for the other", wait)], [step("other", f"touch {tmp_path}/ready")]]

    outcomes = checks.lanes_run(supervisor, lanes=lanes, env={"PATH": "/usr/bin:/bin"}, log_dir=tmp_path)

    assert [outcome.status for outcome in outcomes] == [0, 0]


def test_arguments_go_to_pytest_with_folders_of_tests_named_shortly() -> None:
    [[only]] = checks.lanes_for(["ops", "-k", "port"])

    assert only.command[-3:] == ("tests/ops", "-k", "port")


def test_an_unknown_step_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ServiceGaveUp, match=r"No step called spelling; there are: lint, format"):
        checks.lanes_for(["--step", "spelling"])


def test_two_runs_take_two_places(tmp_path: Path) -> None:
    first, first_lock = checks.slot_take(tmp_path)
    second, second_lock = checks.slot_take(tmp_path)
    first_lock.close()
    third, third_lock = checks.slot_take(tmp_path)

    assert first != second
    assert third == first
    with processes.lock_open(second / "run.lock") as attempt:
        assert not processes.lock_try(attempt)
    second_lock.close()
    third_lock.close()


def test_the_callers_settings_do_not_reach_the_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYMENT_GATEWAY", "real")
    monkeypatch.setenv("PGHOST", socket.gethostname())
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "password").write_text("word")

    env = checks.environment(checks.EmbeddedPostgres(tmp_path / "postgres", durable=False), tmp_path)

    assert "PAYMENT_GATEWAY" not in env
    assert "PGHOST" not in env
    assert env["TEST_DATABASE_URL"] == env["DATABASE_URL"]
