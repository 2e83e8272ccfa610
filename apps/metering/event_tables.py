"""
From a row of a CSV table to the JSON text of an event.

A column gives the field of its own name, or the one that it is given for; a cell that is empty is not sent. All values
are text, as everywhere with exact numbers: a filter of a meter that asks for true or 1 does not find them in a table.
"""

import csv
import io
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from apps.metering.errors import EventFileInvalid, EventRefused
from apps.metering.normalisers import CONSTANT_MARK, EVENT_BYTES_MAX

_REQUIRED: Final = ("id", "source", "type", "customer", "occurred_at")
_FIELDS: Final = (*_REQUIRED, "subscription", "quantity")
_PROPERTY: Final = "properties."
_UNFINISHED: Final = "unexpected end of data"


class RowUnfinished(Exception):
    """The text ends inside of quotes: the row goes on in the next line."""


class EventTable:
    """A table's header, and which field of an event each column gives."""

    def __init__(self, *, header: str, delimiter: str, columns: Mapping[str, str], has_mapping: bool) -> None:
        """
        Read the header.

        :param columns: fields of an event and the column of each; `=value` stands for the same value in each row
        :param has_mapping: a mapping reads the rows, each as an object of its columns
        :raises EventFileInvalid: if a column stands there twice or is missing
        """
        self.delimiter = delimiter
        try:
            self.names = [name.strip() for name in self._cells(header)]
        except RowUnfinished as error:
            raise EventFileInvalid("The header opens a quote and does not close it.") from error
        except EventRefused as error:
            raise EventFileInvalid(f"The header cannot be read. {error.detail}") from error
        twice = sorted({name for name in self.names if self.names.count(name) > 1 and name})
        if twice:
            raise EventFileInvalid(f"The header names these columns twice: {', '.join(twice)}. Rename one of each.")
        self.constants: dict[str, str] = {}
        self.fields: list[tuple[int, str]] = []
        if not has_mapping:
            self._assign(columns)
        self.has_mapping = has_mapping

    @property
    def unread(self) -> list[str]:
        """Return the columns that no field is read from."""
        read = {at for at, _name in self.fields}
        return [] if self.has_mapping else [name for at, name in enumerate(self.names) if name and at not in read]

    def _assign(self, columns: Mapping[str, str]) -> None:
        wanted = {name: name for name in self.names if name in _FIELDS or name.startswith(_PROPERTY)}
        wanted |= dict(columns)
        unknown = [name for name in columns if name not in _FIELDS and not _is_property(name)]
        if unknown:
            raise EventFileInvalid(
                f"An event has no field {', '.join(unknown)}; there are {', '.join(_FIELDS)} and properties.NAME."
            )
        for name, column in wanted.items():
            if column.startswith(CONSTANT_MARK):
                self.constants[name] = column[1:]
            elif column not in self.names:
                raise EventFileInvalid(self._lacks(f"There is no column '{column}' for '{name}'."))
            else:
                self.fields.append((self.names.index(column), name))
        missing = [name for name in _REQUIRED if name not in wanted]
        if missing:
            example = f"--columns {missing[0]}=COLUMN, or for all rows the same: --columns {missing[0]}==VALUE"
            raise EventFileInvalid(self._lacks(f"No column gives {', '.join(missing)}. Say which does: {example}."))

    def _lacks(self, what: str) -> str:
        shown = f"{self.delimiter} ".join(self.names)[:300]
        separated = "" if len(self.names) > 1 else " If another sign separates them, give --delimiter."
        return f"{what} The header reads: {shown}.{separated}"

    def event_of(self, text: str) -> bytes | None:
        """
        Return the JSON text of a row's event, or nothing for the header again, as in files that were put together.

        :raises RowUnfinished: if the text ends inside of quotes
        :raises EventRefused: if it is no row of this table
        """
        cells = self._cells(text)
        if [cell.strip() for cell in cells] == self.names:
            return None
        if len(cells) != len(self.names):
            raise EventRefused(
                "invalid_row", f"The row has {len(cells)} cells and the header {len(self.names)}; give each a value."
            )
        if self.has_mapping:
            return msgspec.json.encode({n: cell for n, cell in zip(self.names, cells, strict=True) if n and cell})
        document: dict[str, Any] = {}
        for name, value in self.constants.items():
            _put(document, name, value)
        for at, name in self.fields:
            if cells[at]:
                _put(document, name, cells[at])
        return msgspec.json.encode(document)

    def _cells(self, text: str) -> list[str]:
        try:
            rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=self.delimiter, strict=True))
        except csv.Error as error:
            if str(error) == _UNFINISHED:
                raise RowUnfinished from error
            if "field limit" in str(error):
                detail = f"A cell is too long; {EVENT_BYTES_MAX} bytes are the limit of an event."
                raise EventRefused("too_large", detail) from error
            raise EventRefused("invalid_row", f"The row is not CSV: {error}.") from error
        if len(rows) != 1:
            raise EventRefused("invalid_row", "The row holds a line break outside of quotes; put the value in quotes.")
        return rows[0]


def _is_property(name: str) -> bool:
    return name.startswith(_PROPERTY) and len(name) > len(_PROPERTY)


def _put(document: dict[str, Any], name: str, value: str) -> None:
    if name.startswith(_PROPERTY):
        document.setdefault("properties", {})[name.removeprefix(_PROPERTY)] = value
    else:
        document[name] = value
