"""Gapless document numbers: a counter row, moved in the transaction that finalises (ADR 0009)."""

from datetime import date

from apps.common.db import fetch_all
from apps.invoices.models import BillingEntity, NumberSeries

# Moves and locks the counter in one statement; a rollback gives the number back, and nobody numbers meanwhile.
_TAKE = "UPDATE invoices_numberseries SET last_number = last_number + 1 WHERE id = %s RETURNING last_number"


def number_take_next(*, entity: BillingEntity, issue_date: date) -> tuple[NumberSeries, int, str]:
    """Return the series of the entity and year, the next number in it, and the number as printed."""
    series, _ = NumberSeries.objects.get_or_create(
        entity=entity,
        kind="invoice",
        year=issue_date.year,
        defaults={"prefix": f"{entity.code}-{issue_date.year}-"},
    )
    taken = int(fetch_all(_TAKE, [series.id])[0][0])
    return series, taken, f"{series.prefix}{taken:06d}"
