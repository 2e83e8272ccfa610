"""`script/bootstrap` makes the environment once, again when it was moved, and says what is missing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Give a working copy whose lock is empty, so that nothing has to be fetched."""
    copy = tmp_path / "checkout"
    (copy / "script").mkdir(parents=True)
    shutil.copy(ROOT / "script" / "bootstrap", copy / "script" / "bootstrap")
    (copy / "requirements.txt").write_text("# nothing\n")
    return copy


def fake_program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def bootstrap(checkout: Path, *, first: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["script/bootstrap"],
        cwd=checkout,
        env={
            "PATH": f"{first}:/usr/bin:/bin" if first else "/usr/bin:/bin",
            "HOME": str(checkout),
            "PYTHONPATH": "/junk",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_environment_is_made_once_and_again_after_a_move(checkout: Path) -> None:
    made = bootstrap(checkout)
    again = bootstrap(checkout)
    moved = checkout.rename(checkout.with_name("elsewhere"))
    remade = bootstrap(moved)

    assert made.returncode == 0, made.stderr
    assert "Making the virtual environment" in made.stderr
    assert (again.returncode, again.stderr) == (0, "")
    assert remade.returncode == 0, remade.stderr
    assert "Making the virtual environment" in remade.stderr
    assert str(moved) in (moved / ".venv" / "bin" / "pip").read_text()


def test_a_python_without_venv_is_installed_by_root_and_named_to_others(checkout: Path, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    python = os.path.realpath(sys.executable)
    fake_program(programs, "python3", f'case "$*" in *ensurepip*) exit 1;; *) exec {python} "$@";; esac')
    fake_program(programs, "apt-get", "echo apt-get $@ >&2; exit 100")

    ended = bootstrap(checkout, first=programs)

    assert ended.returncode == 1
    assert "python3-venv" in ended.stderr.splitlines()[-1]
    tried = (checkout / ".local" / "log" / "apt.log").exists()
    assert tried == (os.geteuid() == 0)


def test_an_old_python_is_refused_with_what_is_needed(checkout: Path, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    for name in ("python3", "python3.11", "python3.12", "python3.13"):
        fake_program(programs, name, "exit 1")

    ended = bootstrap(checkout, first=programs)

    assert ended.returncode == 1
    assert "Python 3.11 or newer is needed" in ended.stderr
    assert not (checkout / ".venv").exists()
