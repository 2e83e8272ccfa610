"""Run the mutants of the money modules and print how many a test noticed: `script/mutation --help`."""

import argparse
import sys
import time
from collections.abc import Iterable, Sequence

from tests.mutation.equivalents import EQUIVALENTS
from tests.mutation.operators import unparsed
from tests.mutation.runner import Result, run_module, source_of
from tests.mutation.targets import TARGETS

SCORE_PERCENT_MIN = 90
EQUIVALENTS_PERCENT_MAX = 10


def main(arguments: Sequence[str] | None = None) -> int:
    """Return zero when enough mutants of each module were killed."""
    parser = argparse.ArgumentParser(prog="script/mutation", description=__doc__)
    parser.add_argument("modules", nargs="*", help="ends of module names, such as money or charge_models.volume")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--timeout", type=int, default=60, help="seconds for one mutant; a mutant that hangs is killed")
    parser.add_argument("--show", action="store_true", help="print the whole text of each survivor")
    options = parser.parse_args(arguments)
    chosen = [name for name in TARGETS if not options.modules or _is_named(name, options.modules)]
    if not chosen:
        parser.error(f"no module is named so; there are {', '.join(TARGETS)}")
    begun, failures, totals = time.monotonic_ns(), [], [0, 0, 0]
    print(f"{'module':<44}{'mutants':>8}{'killed':>8}{'hung':>6}{'same':>6}{'left':>6}{'score':>8}", flush=True)
    for name in chosen:
        results = list(run_module(name, tests=TARGETS[name], processes=options.processes, seconds_max=options.timeout))
        failures += _report(name, results, totals, show=options.show)
    seconds = (time.monotonic_ns() - begun) // 10**9
    mutants, killed, same = totals
    print(f"{'all':<44}{mutants:>8}{killed:>8}{'':>6}{same:>6}{mutants - killed - same:>6}{_score(*totals):>8}")
    print(f"{seconds} seconds")
    for failure in failures:
        print(failure)
    return 1 if failures else 0


def _is_named(name: str, wanted: Iterable[str]) -> bool:
    return any(name == word or name.endswith(f".{word}") for word in wanted)


def _report(name: str, results: Sequence[Result], totals: list[int], *, show: bool) -> list[str]:
    survivors = [result.mutant for result in results if not result.is_killed]
    listed = {(e.source_line, e.change): e for e in EQUIVALENTS if e.module == name}
    same = [mutant for mutant in survivors if mutant.key in listed]
    left = sorted((m for m in survivors if m.key not in listed), key=lambda mutant: (mutant.line, mutant.change))
    killed = len(results) - len(survivors)
    hung = sum(result.is_timeout for result in results)
    score = _score(len(results), killed, len(same))
    print(f"{name:<44}{len(results):>8}{killed:>8}{hung:>6}{len(same):>6}{len(left):>6}{score:>8}", flush=True)
    for mutant in left:
        print(f"  {mutant.line}: {mutant.source_line}   [{mutant.change}]")
        if show:
            print(unparsed(source_of(name), mutant))
    for position, count in enumerate((len(results), killed, len(same))):
        totals[position] += count
    failures = [f"{name}: fewer than {SCORE_PERCENT_MIN} % killed"] if killed * 100 < SCORE_PERCENT_MIN * (
        len(results) - len(same)
    ) else []  # fmt: skip
    stale = set(listed) - {mutant.key for mutant in same}
    failures += [f"{name}: listed as equivalent, but no such survivor: {line!r} [{change}]" for line, change in stale]
    if len(same) > max(1, EQUIVALENTS_PERCENT_MAX * len(results) // 100):
        failures.append(f"{name}: more than {EQUIVALENTS_PERCENT_MAX} % are listed as equivalent")
    return failures


def _score(mutants: int, killed: int, same: int) -> str:
    thousandths = killed * 1000 // max(1, mutants - same)
    return f"{thousandths // 10}.{thousandths % 10} %"


if __name__ == "__main__":
    sys.exit(main())
