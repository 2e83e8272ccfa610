"""The supervisor raises what falls, stops in order, and leaves no process behind however it ends."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from script.lib import processes

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="ch-"))
    yield path
    for process in living_of(path):
        os.kill(process, signal.SIGKILL)
    shutil.rmtree(path, ignore_errors=True)


def supervised(folder: Path, kind: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.ops.small_set", str(folder), kind], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "UP\n"
    return process


def rest_of(process: "subprocess.Popen[str]") -> str:
    """Wait for the end and return what was said since; `communicate` would miss what `readline` read ahead."""
    assert process.stdout is not None
    said = process.stdout.read()
    process.wait(timeout=20)
    return said


def living_of(folder: Path) -> set[int]:
    """Return the processes that work in the folder or have it in their environment, the dead not counted."""
    found = processes.living_in(folder) | processes.living_in(folder / "pg" / "data")
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"FOLDER={folder}".encode() in (entry / "environ").read_bytes():
                found.add(int(entry.name))
        except OSError:
            continue
    return found


def guardians_of(supervisor: int) -> set[int]:
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    commands = {int(child): Path(f"/proc/{child}/cmdline").read_bytes() for child in children}
    return {child for child, command in commands.items() if b"guardian.py" in command}


def eventually(condition: Callable[[], bool], *, seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("kind", ["family", "postgres"])
def test_a_killed_supervisor_leaves_no_process_behind(folder: Path, kind: str) -> None:
    process = supervised(folder, kind)
    assert eventually(lambda: len(living_of(folder)) >= (3 if kind == "family" else 8))

    process.kill()
    process.wait()

    assert eventually(lambda: not living_of(folder)), living_of(folder)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_orderly_end_leaves_no_process_behind(folder: Path, number: int) -> None:
    process = supervised(folder, "family")
    assert eventually(lambda: len(living_of(folder)) >= 3)

    process.send_signal(number)
    said = rest_of(process)

    assert process.returncode == 0
    assert said == "asked to end\n"
    assert not living_of(folder)


def test_services_stop_in_the_reverse_order_of_their_start(folder: Path) -> None:
    process = supervised(folder, "ordered")
    time.sleep(0.3)  # the shells need a moment to set their traps

    process.send_signal(signal.SIGTERM)
    rest_of(process)

    assert (folder / "order").read_text().split() == ["third", "second", "first"]


def test_a_fallen_service_is_started_again_without_its_orphans(folder: Path) -> None:
    process = supervised(folder, "family")
    assert eventually(lambda: len(living_of(folder)) >= 3)
    before = living_of(folder)

    os.kill(min(before), signal.SIGKILL)  # the service itself; its children lose their parent

    assert process.stdout is not None
    assert "family fell (killed by SIGKILL)" in process.stdout.readline()
    assert eventually(lambda: len(living_of(folder)) >= 3 and not living_of(folder) & before)
    process.terminate()
    rest_of(process)


def test_a_killed_guardian_is_replaced_by_one_that_knows_everything(folder: Path) -> None:
    process = supervised(folder, "family")
    assert eventually(lambda: len(living_of(folder)) >= 3)
    before = guardians_of(process.pid)

    os.kill(before.pop(), signal.SIGKILL)
    assert eventually(lambda: len(guardians_of(process.pid)) == 1)
    time.sleep(0.3)  # it has to be told what there is
    process.kill()
    process.wait()

    assert eventually(lambda: not living_of(folder)), living_of(folder)


def test_a_killed_postgres_is_started_again(folder: Path) -> None:
    process = supervised(folder, "postgres")
    pid_file = folder / "pg" / "data" / "postmaster.pid"
    before = pid_file.read_text().split()[0]

    os.kill(int(before), signal.SIGKILL)

    assert process.stdout is not None
    assert "PostgreSQL fell" in process.stdout.readline()
    assert eventually(lambda: pid_file.exists() and pid_file.read_text().split()[:1] not in ([before], []))
    process.terminate()
    rest_of(process)
    assert not living_of(folder)


def test_a_service_that_falls_again_and_again_is_given_up_with_its_last_words(folder: Path) -> None:
    process = supervised(folder, "falling")

    said = rest_of(process)

    assert process.returncode == 1
    assert said.count("starting it again") == 2
    assert "faller fell 3 times in a row (last: exit status 7)" in said
    assert "the reason is written here" in said
