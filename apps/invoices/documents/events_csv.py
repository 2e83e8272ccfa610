"""The raw events behind a line as a table for spreadsheets."""

import csv
import json
from collections.abc import Iterable
from io import StringIO
from typing import Any

from apps.engine.exact import decimal_text

COLUMNS = ("event_id", "source", "type", "occurred_at", "received_at", "quantity", "properties")
# A download holds what was billed, not a sample; beyond this the API's pages are the way.
ROWS_MAX = 100_000


def events_csv(*, events: Iterable[Any]) -> str:
    """Return events as CSV with a head; cells that a spreadsheet would run are made harmless."""
    rows = StringIO()
    writer = csv.writer(rows)
    writer.writerow(COLUMNS)
    for event in events:
        cells = (
            event.event_id,
            event.source,
            event.type,
            event.occurred_at.isoformat(),
            event.received_at.isoformat(),
            "" if event.quantity is None else decimal_text(event.quantity),
            json.dumps(event.properties, ensure_ascii=False, sort_keys=True),
        )
        writer.writerow([cell_harmless(cell) for cell in cells])
    return rows.getvalue()


def cell_harmless(cell: str) -> str:
    """Return a cell that no spreadsheet runs."""
    # A spreadsheet runs a cell that begins like a formula; events hold whatever strangers sent. A number may be
    # negative and stays one.
    is_formula = cell[:1] in ("=", "+", "-", "@", "\t", "\r") and not cell.lstrip("-").replace(".", "", 1).isdigit()
    return f"'{cell}" if is_formula else cell
