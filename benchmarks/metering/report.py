"""What is printed: one line a bar, as ratios, with what must be reached and where we are going."""

import json
import os
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_HEAD = f"{'bar':<5}{'what':<66}{'ratio':>8}  {'[min..max]':<18}{'must':>7}{'goal':>7}  reached"
_BEGIN = "<!-- measured: begin -->"
_END = "<!-- measured: end -->"


@dataclass(kw_only=True)
class Figure:
    """One measured ratio over all repetitions; without `must` it is shown beside the bars, not held against one."""

    bar: str
    what: str
    ratios: list[float]
    must: float | None = None
    goal: float | None = None
    is_less_better: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """Return the median."""
        return statistics.median(self.ratios)

    def reaches(self, wanted: float | None) -> bool:
        """Return whether the median is as good as wanted."""
        if wanted is None:
            return False
        return self.ratio <= wanted if self.is_less_better else self.ratio >= wanted

    @property
    def verdict(self) -> str:
        """Return which of the two marks is reached, and how far the goal is."""
        if self.must is None:
            return ""
        if self.goal is not None and self.reaches(self.goal):
            return "goal"
        distance = ""
        if self.goal:
            share = self.goal / self.ratio if self.is_less_better else self.ratio / self.goal
            distance = f" ({share:.0%} of goal)"
        return ("must" if self.reaches(self.must) else "NO") + distance

    def line(self) -> str:
        """Return the line of the table."""
        spread = f"[{number(min(self.ratios))}..{number(max(self.ratios))}]"
        return (
            f"{self.bar:<5}{self.what:<66}{number(self.ratio):>8}  {spread:<18}{mark(self.must):>7}"
            f"{mark(self.goal):>7}  {self.verdict}"
        ).rstrip()

    def row(self) -> str:
        """Return the line of a table in Markdown."""
        spread = f"{number(min(self.ratios))} to {number(max(self.ratios))}"
        cells = [self.bar, self.what, f"**{number(self.ratio)}**", spread]
        return f"| {' | '.join([*cells, mark(self.must), mark(self.goal), self.verdict])} |"

    def document(self) -> dict[str, Any]:
        """Return the figure as JSON."""
        return {
            "bar": self.bar,
            "what": self.what,
            "ratio": self.ratio,
            "ratios": self.ratios,
            "must": self.must,
            "goal": self.goal,
            "is_less_better": self.is_less_better,
            "verdict": self.verdict,
            "notes": self.notes,
        }


def number(value: float) -> str:
    """Return a ratio with the digits it deserves."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 0.095 else f"{value:.3f}"


def mark(value: float | None) -> str:
    """Return a mark, or nothing."""
    return "" if value is None else f"{value:g}"


def load() -> str:
    """Return how busy the machine is: the average number of running processes over 1 and 5 minutes."""
    one, five, _fifteen = os.getloadavg()
    return f"{one:.1f} (1 min), {five:.1f} (5 min)"


def medians(values: Sequence[float]) -> str:
    """Return the median of absolute figures, as a note."""
    return f"{statistics.median(values):,.0f}"


class Report:
    """Prints each figure as soon as it is known, and keeps all of them for the file."""

    def __init__(self, *, header: Sequence[str]) -> None:
        self.header = list(header)
        self.figures: list[Figure] = []
        self.failed: list[str] = []
        for line in self.header:
            print(line, flush=True)
        print(f"\n{_HEAD}\n{'-' * len(_HEAD)}", flush=True)

    def add(self, figures: Iterable[Figure]) -> None:
        """Print and keep some figures."""
        for figure in figures:
            print(figure.line(), flush=True)
            for note in figure.notes:
                print(f"{'':<5}  {note}", flush=True)
            self.figures.append(figure)

    def tell(self, page: Path) -> None:
        """
        Put header and table into a page of Markdown, between the two marks that it has for them.

        :raises ValueError: if the page has no such place
        """
        before, began, rest = page.read_text().partition(_BEGIN)
        _old, ended, after = rest.partition(_END)
        if not (began and ended):
            raise ValueError(f"{page} has no lines '{_BEGIN}' and '{_END}'.")
        lines = [f"- {line}" for line in self.header]
        lines += ["", "| Bar | What | Ratio | Range | Must | Goal | Reached |", "|---|---|---|---|---|---|---|"]
        lines += [figure.row() for figure in self.figures]
        lines += ["", "Absolute figures, as notes:", ""]
        lines += [f"- {figure.bar or figure.what}: {note}" for figure in self.figures for note in figure.notes]
        page.write_text("\n".join([before + began, *lines, ended + after]))

    def write(self, path: Path) -> None:
        """Write everything as JSON."""
        document = {"header": self.header, "figures": [figure.document() for figure in self.figures]}
        path.write_text(json.dumps(document, indent=2) + "\n")
