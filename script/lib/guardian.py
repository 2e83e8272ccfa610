"""The last one out: ends every registered process group when its supervisor is gone, however it went.

A process of its own, so that killing the supervisor by name or by group does not reach it. It reads lines from its
standard input, `+<group> <signal>` for a group that started and `-<group>` for one that ended; the end of the input
means that the supervisor is gone. Standard library only, started with `python -I`.
"""

import contextlib
import os
import signal
import sys
import time

_PATIENCE_SECONDS = 8.0


def end_groups(groups: dict[int, int]) -> None:
    """Signal each group as it wished to be, and kill what is left of it after a few seconds."""
    for group, number in groups.items():
        _signal_group(group, number)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (left := _living_groups() & groups.keys()) and time.monotonic() < deadline:
        time.sleep(0.05)
    for group in left:
        _signal_group(group, signal.SIGKILL)


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _living_groups() -> set[int]:
    # Asking by signal would count the dead that nobody has collected yet, and in some containers nobody ever does.
    found = set()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{entry}/stat") as file:
                state, _parent, group = file.read().rpartition(")")[2].split()[:3]
                if state not in "ZX":
                    found.add(int(group))
    return found


def main() -> None:
    """Follow the supervisor's notes until it is gone, then clean up after it."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    groups: dict[int, int] = {}
    with contextlib.suppress(OSError, ValueError):
        for line in sys.stdin:
            if line.startswith("+"):
                group, number = line[1:].split()
                groups[int(group)] = int(number)
            else:
                groups.pop(int(line[1:]), None)
    end_groups(groups)


if __name__ == "__main__":
    main()
