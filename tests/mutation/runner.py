"""
Run the tests on each mutant, in a process of its own, several at a time.

The first process imports pytest and hypothesis and nothing of the engine; each mutant is a fork of it that imports the
engine with one module replaced, stops at the first test that fails, and answers with how it ended. Nothing is written
to the tree.
"""

import ast
import importlib
import importlib.abc
import importlib.util
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import hypothesis  # noqa: F401  imported once here, not once for each mutant
import pytest

from tests.mutation.operators import Mutant, mutants_of, mutated_tree

ROOT = Path(__file__).parents[2]
_INI = Path(__file__).with_name("pytest.ini")
# What a mutant's process answers with; anything else is a fault of this program and stops the run.
_SURVIVED, _KILLED, _FAULT = 40, 41, 42


@dataclass(frozen=True, kw_only=True)
class Result:
    """How one mutant ended."""

    mutant: Mutant
    is_killed: bool
    is_timeout: bool = False


def source_of(module: str) -> str:
    """Return the text of a module given by its dotted name."""
    return path_of(module).read_text(encoding="utf-8")


def path_of(module: str) -> Path:
    """Return the file of a module given by its dotted name."""
    return ROOT.joinpath(*module.split(".")).with_suffix(".py")


def run_module(module: str, *, tests: Sequence[str], processes: int, seconds_max: int) -> Iterator[Result]:
    """
    Yield the result of each mutant of a module, as they end.

    A mutant that takes ten times as long as the tests take without any change hangs, and so was noticed.

    :raises RuntimeError: if the tests fail without any change, because then no failure would mean anything
    """
    source, begun = source_of(module), time.monotonic_ns()
    if _wait_for(_start(module, None, tests, seconds_max)) != _SURVIVED:
        raise RuntimeError(f"{module}: the tests fail without any change: {' '.join(tests)}")
    seconds_max = min(seconds_max, 5 + 10 * ((time.monotonic_ns() - begun) // 10**9 + 1))
    waiting = mutants_of(source)[::-1]
    running: dict[int, Mutant] = {}
    while waiting or running:
        while waiting and len(running) < processes:
            mutant = waiting.pop()
            running[_start(module, mutated_tree(source, mutant), tests, seconds_max)] = mutant
        pid, status = os.wait()
        mutant = running.pop(pid)
        if os.WIFSIGNALED(status):  # the alarm, or a stack or memory that ran out
            yield Result(mutant=mutant, is_killed=True, is_timeout=True)
            continue
        answer = os.WEXITSTATUS(status)
        if answer not in (_SURVIVED, _KILLED):
            raise RuntimeError(f"{module}:{mutant.line} {mutant.change}: the run itself failed ({answer})")
        yield Result(mutant=mutant, is_killed=answer == _KILLED)


def _wait_for(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _start(module: str, tree: ast.Module | None, tests: Sequence[str], seconds_max: int) -> int:
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    answer = _FAULT
    try:
        answer = _tested(module, tree, tests, seconds_max)
    finally:
        os._exit(answer)  # no clean-up of the first process may run twice


def _tested(module: str, tree: ast.Module | None, tests: Sequence[str], seconds_max: int) -> int:
    signal.alarm(seconds_max)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    if tree is not None:
        sys.meta_path.insert(0, _MutantFinder(module, tree))
    try:
        importlib.import_module("tests.engine.conftest")  # the profile of hypothesis
    except Exception:  # noqa: BLE001  a mutant that cannot be imported was noticed
        return _KILLED
    ended = pytest.main(["-x", "-q", f"--rootdir={ROOT}", "-c", str(_INI), *(str(ROOT / test) for test in tests)])
    if ended == pytest.ExitCode.OK:
        return _SURVIVED
    # An interruption is how pytest reports a module that cannot be imported.
    return _KILLED if ended in (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED) else _FAULT


class _MutantFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives one module another content, and leaves all others alone."""

    def __init__(self, module: str, tree: ast.Module) -> None:
        self._module, self._tree = module, tree

    def find_spec(self, fullname, path, target=None):  # noqa: ANN001, ANN201, ARG002
        """Answer for the mutated module only."""
        if fullname != self._module:
            return None
        return importlib.util.spec_from_loader(fullname, self, origin=str(path_of(fullname)))

    def exec_module(self, module) -> None:  # noqa: ANN001
        """Run the changed content."""
        exec(compile(self._tree, str(path_of(self._module)), "exec"), module.__dict__)  # noqa: S102
