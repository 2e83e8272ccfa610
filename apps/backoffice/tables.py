"""What a panel is: a table under a row's facts, with a sentence for when there is nothing in it."""

from dataclasses import dataclass
from typing import Any

# A page shows what a person reads; the lists have the rest.
ROWS_SHOWN = 50


@dataclass(frozen=True, slots=True)
class Column:
    """A head of a panel's column; numbers stand at the right."""

    title: str
    is_number: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A table with a title; the sentence is for when there is nothing in it."""

    title: str
    columns: tuple[Column, ...]
    rows: list[list[Any]]
    empty: str

    @property
    def cells(self) -> list[list[tuple[Any, bool]]]:
        """Return each row's cells, each with whether it is a number."""
        return [[(cell, column.is_number) for cell, column in zip(row, self.columns, strict=True)] for row in self.rows]
