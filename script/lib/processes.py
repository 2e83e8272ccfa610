"""Ties between processes: who dies with whom, and locks that live as long as their holder."""

import contextlib
import ctypes
import fcntl
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(*, signal_number: int = signal.SIGTERM) -> Callable[[], None]:
    """
    Make a `preexec_fn` that ends the child when the thread that started it ends, however that happens.

    The tie belongs to the starting *thread*, so start children from the main thread. Linux only; elsewhere the
    child is left to the supervisor's guardian.
    """
    parent = os.getpid()

    def tie() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
        if os.getppid() != parent:  # the parent fell between fork and prctl, nobody will send the signal any more
            os._exit(1)

    return tie


def lock_open(path: Path) -> TextIO:
    """Open a lock file, made readable by its owner only, and return it unlocked."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+")


def lock_try(file: TextIO) -> bool:
    """Take the lock without waiting; return whether it is ours."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock_wait(file: TextIO, *, seconds: float) -> bool:
    """Take the lock, trying for a number of seconds; return whether it is ours."""
    deadline = time.monotonic() + seconds
    while not lock_try(file):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def living_in(folder: Path) -> set[int]:
    """Return the numbers of all processes whose working directory is this folder."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "cwd").resolve() == folder.resolve():
                found.add(int(entry.name))
    return found


def boot_id() -> str:
    """Return what tells this run of the machine from the one before."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"


def group_signal(group: int, signal_number: int) -> bool:
    """Signal a process group; return False if it has no members (left)."""
    try:
        os.killpg(group, signal_number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
