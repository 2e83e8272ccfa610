"""Measure metering against bare COPY and against itself: one command, ratios.

    python -m benchmarks.metering [--bars 1,2,...] [--repeats 3] [--quick] [--json FILE] [--page FILE]

Needs nothing running: PostgreSQL is made for the measurement, durable, and thrown away; the web server is the one of
`script/server`. Each ratio is the median of its repetitions, each of which measures its own base; a checkpoint comes
before each case, and the totals are verified in the database after it.
"""

import argparse
import dataclasses
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from benchmarks.metering import database_side, growth, limits, over_http, reads, servers
from benchmarks.metering.bench import QUICK, Amounts, Bench
from benchmarks.metering.ground import throwaway_ground
from benchmarks.metering.report import Figure, Report, load

_HTTP = ("2", "3", "4", "5", "6", "15", "single")
# In the order in which they are measured; bars that share their cases are measured together.
GROUPS: tuple[tuple[tuple[str, ...], Callable[[Bench, Sequence[str]], Iterable[Figure]]], ...] = (
    (("1", "1b"), lambda bench, _bars: database_side.measure(bench)),
    (_HTTP, lambda bench, bars: over_http.measure(bench, bars=bars)),
    (("7", "8"), lambda bench, bars: limits.measure(bench, bars=bars)),
    (("11", "12", "13"), lambda bench, bars: reads.measure(bench, bars=bars)),
    (("14",), lambda bench, _bars: growth.tenants(bench)),
    (("mem", "lin"), lambda bench, _bars: growth.memory(bench)),
)
BARS = tuple(bar for bars, _measure in GROUPS for bar in bars)


def header(bench: Bench) -> list[str]:
    """Return what the figures were measured on and with."""
    ask, amounts = bench.ground.ask, bench.amounts
    names = ("fsync", "synchronous_commit", "full_page_writes", "wal_compression", "shared_buffers", "max_wal_size")
    return [
        f"{servers.machine()}, load {load()} before",
        f"PostgreSQL {ask('SHOW server_version')}: " + ", ".join(f"{name} {ask(f'SHOW {name}')}" for name in names),
        f"web: the command of script/server, {servers.WEB_WORKERS} workers, debugging off; everything on this machine",
        f"{amounts.customers:,} customers, a few busy and many quiet; time-ordered ids; two meters read each event",
        f"median of {amounts.repeats} repetitions, each with its own base; totals verified after every case",
    ]


def run(*, amounts: Amounts, bars: Sequence[str]) -> Report:
    """Measure what is asked for and print it."""
    began = time.monotonic()
    with throwaway_ground() as ground:
        bench = Bench(ground=ground, amounts=amounts)
        report = Report(header=header(bench))
        for names, measure in GROUPS:
            asked = [name for name in names if name in bars]
            if not asked:
                continue
            try:
                report.add(measure(bench, asked))
            except Exception:  # noqa: BLE001  what was measured before and comes after is worth having
                traceback.print_exc(file=sys.stdout)
                report.failed += asked
    if report.failed:
        report.header.append(f"NOT MEASURED, or only in part: {', '.join(report.failed)}")
        print(f"\n{report.header[-1]}")
    report.header.append(f"load {load()} after; {time.monotonic() - began:,.0f} s in all")
    print(f"\n{report.header[-1]}")
    return report


def arguments(given: Sequence[str] | None = None) -> tuple[Amounts, list[str], argparse.Namespace]:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.metering", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bars", default=",".join(BARS), help="default: %(default)s")
    parser.add_argument("--repeats", type=int, help="default: 3, with --quick 1")
    parser.add_argument("--quick", action="store_true", help="small numbers: shows that it runs, measures little")
    parser.add_argument("--present", type=int, help="bars 11 to 13: events that are there (default: 1,000,000)")
    parser.add_argument("--tenants", type=int, help="bar 14: how many at most (default: 100)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every repetition's ratio there, too")
    parser.add_argument(
        "--page", type=Path, metavar="FILE", help="put the table into a page such as docs/benchmarks.md"
    )
    options = parser.parse_args(given)
    bars = [bar.strip() for bar in options.bars.split(",") if bar.strip()]
    unknown = sorted(set(bars) - set(BARS))
    if unknown:
        parser.error(f"no such bar: {', '.join(unknown)}; there are {', '.join(BARS)}")
    amounts = QUICK if options.quick else Amounts()
    if options.repeats:
        amounts = dataclasses.replace(amounts, repeats=options.repeats)
    if options.present:
        amounts = dataclasses.replace(amounts, present_events=options.present)
    if options.tenants:
        amounts = dataclasses.replace(amounts, tenants=(*amounts.tenants, options.tenants))
    return amounts, bars, options


def main() -> int:
    """Run as a command; return the exit status."""
    amounts, bars, options = arguments()
    report = run(amounts=amounts, bars=bars)
    if options.json is not None:
        report.write(options.json)
    if options.page is not None:
        report.tell(options.page)
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
