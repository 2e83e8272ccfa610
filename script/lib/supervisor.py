"""Run a handful of services as one: start in order, raise what falls, stop in order, leave nothing behind.

Three ties hold the tree together. The kernel ends each direct child when the supervisor dies; the guardian ends the
children's own children, group by group; and a fallen child's group is ended before the child is started again.
Start children from one thread only: the kernel's tie belongs to the starting thread.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from script.lib import processes

# A fall after a life shorter than this counts as one of a row; a long row will not be healed by one more start.
_LIVED_WELL_SECONDS = 60.0
_BACKOFF_SECONDS_MAX = 15.0
_LOG_BYTES_MAX = 20_000_000
_HEARTBEAT_SECONDS = 5.0


class Interrupted(Exception):
    """Somebody asked for an orderly end (Ctrl-C, SIGTERM, SIGHUP)."""


class ServiceGaveUp(Exception):
    """A service or step failed for good; the message is for the reader of the terminal."""


@dataclass(kw_only=True)
class Service:
    """Something that should be running: how to start it, and how long it may take to stop."""

    name: str
    start: Callable[[], "subprocess.Popen[bytes]"]
    log: Path
    stop_seconds: float = 10.0
    stop_signal: int = signal.SIGTERM
    orphan_signal: int = signal.SIGKILL
    process: "subprocess.Popen[bytes] | None" = None
    started_at: float = 0.0
    falls: int = 0
    due_at: float = field(default=0.0)


class Supervisor:
    """Keeps services alive until told to end; use as a context manager, so that leaving always stops everything."""

    def __init__(self, *, say: Callable[[str], None], falls_max: int = 6, backoff_seconds: float = 0.5) -> None:
        self.say = say
        self.falls_max = falls_max
        self.backoff_seconds = backoff_seconds
        self.services: list[Service] = []
        self._wakeup_read, self._wakeup_write = os.pipe()
        self._asked_to_end = False
        self._handlers_before: dict[int, Any] = {}
        self._groups: dict[int, int] = {}

    def __enter__(self) -> "Supervisor":
        os.set_blocking(self._wakeup_read, False)
        os.set_blocking(self._wakeup_write, False)
        signal.set_wakeup_fd(self._wakeup_write, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            self._handlers_before[number] = signal.signal(number, self._on_signal)
        self._guardian = self._start_guardian()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop_all()
        if self._guardian.stdin is not None:
            with contextlib.suppress(OSError):
                self._guardian.stdin.close()
        self._guardian.wait()
        signal.set_wakeup_fd(-1)
        for number, handler in self._handlers_before.items():
            signal.signal(number, handler)
        os.close(self._wakeup_read)
        os.close(self._wakeup_write)

    def launch(
        self, command: Sequence[str], *, env: Mapping[str, str], log: Path, show_output: bool = False
    ) -> "subprocess.Popen[bytes]":
        """Start a command in its own process group, tied to this process, its words going to a log file."""
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > _LOG_BYTES_MAX:
            log.replace(log.with_suffix(".log.1"))
        with log.open("ab") as out:
            return subprocess.Popen(
                list(command),
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=None if show_output else out,
                stderr=out,
                start_new_session=True,
                # Single-threaded, see the module's first lines.
                preexec_fn=processes.die_with_parent(signal_number=signal.SIGKILL),  # noqa: PLW1509
            )

    def add(self, service: Service) -> None:
        """Start a service and keep it running from now on; services stop in the reverse order of adding."""
        self.services.append(service)
        self._start(service)

    def begin(
        self, command: Sequence[str], *, env: Mapping[str, str], log: Path, show_output: bool = False
    ) -> "subprocess.Popen[bytes]":
        """Start a command that is meant to end; hand it to `end` afterwards, come what may."""
        process = self.launch(command, env=env, log=log, show_output=show_output)
        self._note(process, started=True, orphan_signal=signal.SIGKILL)
        return process

    def end(self, process: "subprocess.Popen[bytes]") -> None:
        """Stop a command begun with `begin` if it still runs, and whatever it left behind."""
        self._end_group(process, stop_signal=signal.SIGTERM, seconds=5.0)

    def run_step(
        self, name: str, command: Sequence[str], *, env: Mapping[str, str], log: Path, show_output: bool = False
    ) -> float:
        """
        Run one command to its end, showing that time passes, and return the seconds it took.

        :raises ServiceGaveUp: if it fails, with the last of its words
        :raises Interrupted: if the end was asked for meanwhile
        """
        began = time.monotonic()
        said_at = began
        log_began = log.stat().st_size if log.exists() else 0
        process = self.begin(command, env=env, log=log, show_output=show_output)
        try:
            while process.poll() is None:
                self._pause(0.5)
                self._raise_if_asked_to_end()
                if not show_output and time.monotonic() - said_at > _HEARTBEAT_SECONDS:
                    said_at = time.monotonic()
                    self.say(f"  {name}: {said_at - began:.0f} s ...")
                self._revive_fallen()
        finally:
            self.end(process)
        if process.returncode != 0:
            raise ServiceGaveUp(f"{name} failed.\n{log_tail(log, since=log_began)}\nAll it said is in {log}.")
        return time.monotonic() - began

    def watch(self, *, until: Callable[[], bool] = lambda: False, seconds: float | None = None) -> bool:
        """
        Keep everything running until a condition holds (True) or the time is over (False).

        :raises Interrupted: if the end was asked for
        :raises ServiceGaveUp: if a service falls again and again
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        while not until():
            if deadline is not None and time.monotonic() > deadline:
                return False
            self._raise_if_asked_to_end()
            self._revive_fallen()
            self._pause(0.5)
        return True

    def stop_all(self) -> None:
        """Stop all services, last added first, each in its own way and time, by force where that passes."""
        self._asked_to_end = False  # from here on a further signal means: hurry
        while self.services:
            service = self.services.pop()
            if service.process is not None:
                self._end_group(service.process, stop_signal=service.stop_signal, seconds=service.stop_seconds)

    def _start_guardian(self) -> "subprocess.Popen[bytes]":
        guardian = Path(__file__).with_name("guardian.py")
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(guardian)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )

    def _start(self, service: Service) -> None:
        service.process = service.start()
        service.started_at = time.monotonic()
        self._note(service.process, started=True, orphan_signal=service.orphan_signal)

    def _revive_fallen(self) -> None:
        if self._guardian.poll() is not None:
            self._guardian = self._start_guardian()
            for group, orphan_signal in self._groups.items():
                self._tell_guardian(f"+{group} {orphan_signal}\n")
        now = time.monotonic()
        for service in self.services:
            if service.process is None:
                if now >= service.due_at:
                    self._start(service)
            elif (status := service.process.poll()) is not None:
                self._end_group(service.process, stop_signal=signal.SIGKILL, seconds=2.0)
                lived = now - service.started_at
                service.falls = 1 if lived > _LIVED_WELL_SECONDS else service.falls + 1
                if service.falls >= self.falls_max:
                    raise ServiceGaveUp(
                        f"{service.name} fell {service.falls} times in a row (last: {_describe(status)}) and is not "
                        f"started again.\n{log_tail(service.log)}\nAll it said is in {service.log}."
                    )
                pause = min(_BACKOFF_SECONDS_MAX, self.backoff_seconds * 2 ** (service.falls - 1))
                self.say(
                    f"{service.name} fell ({_describe(status)}) after {lived:.0f} s; starting it again in {pause:g} s."
                )
                service.process = None
                service.due_at = now + pause

    def _end_group(self, process: "subprocess.Popen[bytes]", *, stop_signal: int, seconds: float) -> None:
        group = process.pid  # each child leads its own session, so its number is its group's
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(stop_signal)
            deadline = time.monotonic() + seconds
            while process.poll() is None and time.monotonic() < deadline and not self._asked_to_end:
                self._pause(0.2)
        processes.group_signal(group, signal.SIGKILL)
        process.wait()
        self._note(process, started=False)

    def _note(self, process: "subprocess.Popen[bytes]", *, started: bool, orphan_signal: int = 0) -> None:
        if started:
            self._groups[process.pid] = int(orphan_signal)
            self._tell_guardian(f"+{process.pid} {int(orphan_signal)}\n")
        else:
            self._groups.pop(process.pid, None)
            self._tell_guardian(f"-{process.pid}\n")

    def _tell_guardian(self, line: str) -> None:
        if self._guardian.stdin is not None:
            with contextlib.suppress(OSError):
                self._guardian.stdin.write(line.encode())
                self._guardian.stdin.flush()

    def _pause(self, seconds: float) -> None:
        select.select([self._wakeup_read], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            os.read(self._wakeup_read, 4096)

    def _on_signal(self, number: int, _frame: object) -> None:
        # A child's end only has to wake `_pause` up, which the descriptor does.
        if number != signal.SIGCHLD:
            self._asked_to_end = True

    def _raise_if_asked_to_end(self) -> None:
        if self._asked_to_end:
            raise Interrupted


def log_tail(log: Path, *, lines: int = 12, since: int = 0) -> str:
    """Return the last lines of a log, indented, from a byte position on."""
    try:
        with log.open("rb") as file:
            file.seek(max(since, log.stat().st_size - 20_000))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return "  (it said nothing)"
    return "\n".join(f"  {line}" for line in text.splitlines()[-lines:]) or "  (it said nothing)"


def _describe(status: int) -> str:
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
