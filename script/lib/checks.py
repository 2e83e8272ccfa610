"""Run all checks and tests, in parallel where that helps: `script/test` ends up here.

script/test                     everything, with a summary
script/test engine -k prorate   arguments: pytest only; a word may be a path under tests/
script/test --step types        named steps only: lint format types imports migrations tests
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from script.lib import processes
from script.lib.embedded_postgres import EmbeddedPostgres
from script.lib.postgres_binaries import PostgresUnavailable
from script.lib.server import ROOT, postgres_service, say
from script.lib.supervisor import Interrupted, ServiceGaveUp, Supervisor, log_tail

_BIN = Path(sys.executable).parent
_SLOTS_MAX = 8
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_INSTALL_BROWSER = (
    "apt-get -qq -o DPkg::Lock::Timeout=120 update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y "
    "-o DPkg::Lock::Timeout=120 --no-install-recommends install chromium fonts-dejavu-core fonts-liberation"
)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One check: its name and command; optional ones report a failure without failing the whole."""

    name: str
    command: tuple[str, ...]
    show_output: bool = False
    is_optional: bool = False


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a step went and where its words are."""

    step: Step
    status: int
    seconds: float
    log: Path

    @property
    def is_failure(self) -> bool:
        """Whether this makes the whole run fail."""
        return self.status != 0 and not self.step.is_optional


def static_steps() -> list[Step]:
    """Return the checks that read the code without running it (and the one that compares models and migrations)."""
    python = sys.executable
    return [
        Step(name="lint", command=(str(_BIN / "ruff"), "check", ".")),
        Step(name="format", command=(str(_BIN / "ruff"), "format", "--check", ".")),
        Step(name="imports", command=(str(_BIN / "lint-imports"),)),
        Step(name="types", command=(python, "-m", "mypy", "apps", "billing_site", "script")),
        Step(name="migrations", command=(python, "manage.py", "makemigrations", "--check", "--dry-run")),
    ]


def pytest_step(arguments: Sequence[str]) -> Step:
    """Return the tests as a step; words may be paths under tests/, the rest is pytest's."""
    chosen = [f"tests/{word}" if (ROOT / "tests" / word.partition("::")[0]).exists() else word for word in arguments]
    workers = os.environ.get("TEST_WORKERS") or str(max(2, min(8, os.cpu_count() or 2)))
    command = (sys.executable, "-m", "pytest", "-q", "-n", workers, "--dist", "loadgroup", *chosen)
    return Step(name="tests", command=command, show_output=True)


def browser_steps() -> list[Step]:
    """Return what is needed to have a browser for the tests that drive one: often nothing."""
    if any(map(shutil.which, _BROWSERS)):
        return []
    if os.geteuid() == 0 and shutil.which("apt-get"):
        return [Step(name="install Chromium", command=("/bin/sh", "-c", _INSTALL_BROWSER), is_optional=True)]
    say("No Chromium here: the browser tests are skipped (apt-get install chromium brings them back).")
    return []


def lanes_for(arguments: Sequence[str]) -> list[list[Step]]:
    """
    Return the steps to run: lanes run beside each other, the steps of a lane one after the other.

    :raises ServiceGaveUp: if a step is named that does not exist
    """
    if not arguments:
        return [static_steps(), [*browser_steps(), pytest_step([])]]
    if arguments[0] != "--step":
        return [[pytest_step(arguments)]]
    known = {step.name: step for step in [*static_steps(), pytest_step([])]}
    unknown = [name for name in arguments[1:] if name not in known]
    if unknown or len(arguments) == 1:
        raise ServiceGaveUp(f"No step called {', '.join(unknown) or '(nothing)'}; there are: {', '.join(known)}.")
    return [[known[name] for name in arguments[1:]]]


def lanes_run(
    supervisor: Supervisor, *, lanes: Sequence[Sequence[Step]], env: Mapping[str, str], log_dir: Path
) -> list[Outcome]:
    """Run every step of every lane, whatever fails, and return how each went, in order of finishing."""
    outcomes: list[Outcome] = []
    waiting = [list(lane) for lane in lanes]
    running: dict[int, tuple[Step, subprocess.Popen[bytes], float, Path]] = {}
    try:
        while any(waiting) or running:
            for lane, steps in enumerate(waiting):
                if steps and lane not in running:
                    step = steps.pop(0)
                    log = log_dir / f"{step.name.replace(' ', '-')}.log"
                    log.unlink(missing_ok=True)
                    process = supervisor.begin(step.command, env=env, log=log, show_output=step.show_output)
                    running[lane] = (step, process, time.monotonic(), log)
            supervisor.watch(until=lambda: any(item[1].poll() is not None for item in running.values()))
            for lane, (step, process, began, log) in list(running.items()):
                if (status := process.poll()) is not None:
                    supervisor.end(process)
                    del running[lane]
                    outcome = Outcome(step=step, status=status, seconds=time.monotonic() - began, log=log)
                    outcomes.append(outcome)
                    say(_line(outcome))
    finally:
        for _step, process, _began, _log in running.values():
            supervisor.end(process)
    return outcomes


def report(outcomes: Sequence[Outcome]) -> int:
    """Print what failed, then one line for each step; return the exit status."""
    for outcome in outcomes:
        if outcome.status != 0 and not outcome.step.show_output:
            say(f"\n--- {outcome.step.name} ({outcome.log})\n{log_tail(outcome.log, lines=80)}")
    say("\nSummary")
    for outcome in outcomes:
        say(_line(outcome))
    return 1 if any(outcome.is_failure for outcome in outcomes) else 0


def _line(outcome: Outcome) -> str:
    word = "ok" if outcome.status == 0 else "skipped" if outcome.step.is_optional else "FAILED"
    return f"  {word:8}{outcome.seconds:7.1f} s  {outcome.step.name}"


def slots(folder: Path) -> Iterator[tuple[Path, TextIO]]:
    """Offer places for a test cluster; each keeps its prepared template database for the next run."""
    for number in range(1, _SLOTS_MAX + 1):
        slot = folder / f"run-{number}"
        slot.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield slot, processes.lock_open(slot / "run.lock")


def slot_take(folder: Path) -> tuple[Path, TextIO]:
    """
    Take the first place no other run is using, and return it with the lock that must stay open.

    :raises ServiceGaveUp: if all are taken
    """
    for slot, lock in slots(folder):
        if processes.lock_try(lock):
            return slot, lock
        lock.close()
    raise ServiceGaveUp(f"{_SLOTS_MAX} test runs are at work in {folder} already; wait for one of them or end it.")


def databases_tidy(postgres: EmbeddedPostgres) -> None:
    """Drop what killed runs left in this place, and all but the newest templates; nobody else is using it."""
    names = postgres.query(
        "SELECT datname FROM pg_database WHERE datname LIKE 'test\\_%' UNION ALL (SELECT datname FROM pg_database"
        " WHERE datname LIKE 'template\\_%' AND NOT datistemplate ORDER BY oid DESC OFFSET 2)"
    ).stdout.split()
    for name in names:
        postgres.query(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def environment(postgres: EmbeddedPostgres, slot: Path) -> dict[str, str]:
    """Return the environment of all steps: nothing of the caller's that could change a result."""
    kept = ("PATH", "HOME", "TERM", "LANG", "LC_ALL", "TMPDIR", "CI", "COLUMNS")
    env = {name: os.environ[name] for name in kept if name in os.environ}
    # Programs of Debian's administrator folders are not on the PATH of every user.
    env["PATH"] = f"{_BIN}:{env.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin"
    return env | {
        "PYTHONUNBUFFERED": "1",
        "PYTHONNOUSERSITE": "1",
        "DJANGO_SETTINGS_MODULE": "billing_site.settings",
        "SECRET_KEY": "only-for-tests-" + "x" * 40,
        "DATABASE_URL": postgres.url(),
        "TEST_DATABASE_URL": postgres.url(),
        "LOCAL_DIR": str(slot / "local"),
    }


def main(arguments: Sequence[str]) -> int:
    """Run the chosen checks; return 0 if all passed."""
    os.chdir(ROOT)
    if arguments and arguments[0] in ("-h", "--help"):
        say(__doc__ or "")
        return 2
    try:
        lanes = lanes_for(arguments)
        slot, lock = slot_take((ROOT / (os.environ.get("LOCAL_DIR") or ".local") / "test").resolve())
        with lock, Supervisor(say=say) as supervisor:
            postgres = EmbeddedPostgres(slot / "postgres", durable=False)
            supervisor.add(postgres_service(postgres))
            databases_tidy(postgres)
            env = environment(postgres, slot)
            outcomes = lanes_run(supervisor, lanes=lanes, env=env, log_dir=slot / "log")
            return report(outcomes)
    except Interrupted:
        say("Interrupted.")
        return 130
    except (ServiceGaveUp, PostgresUnavailable) as error:
        print(error, file=sys.stderr, flush=True)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
