"""Pages about usage that are not the list of one noun: where it leaks."""

import csv
from datetime import UTC, date, datetime, time, timedelta
from io import StringIO
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from apps.backoffice import pages
from apps.common import clock, formatting
from apps.invoices.documents.events_csv import cell_harmless
from apps.workflows import usage_leakage
from apps.workflows.usage_leakage import Leak

_SPAN_DAYS = 31
_COLUMNS = ("place", "subject", "events", "since", "currency", "at_risk_minor", "is_estimated", "remedy")


def usage_leakage_page(request: HttpRequest) -> HttpResponse:
    """Show usage that is on no document, place by place, with what it may be worth."""
    first, last, problem, leaks = _asked(request)
    totals = usage_leakage.totals_at_risk(leaks=leaks)
    context = {
        "title": "Usage leakage",
        "first": first.isoformat(),
        "last": last.isoformat(),
        "problem": problem,
        "totals": [formatting.money_text(minor, currency) for currency, minor in sorted(totals.items())],
        "rows": [_row(leak) for leak in leaks],
        "csv_url": f"{reverse('admin:usage_leakage_csv')}?from={first}&to={last}",
    }
    return pages.page_render(request, "backoffice/usage_leakage.html", context)


def usage_leakage_csv(request: HttpRequest) -> HttpResponse:
    """Return the same as a table for a spreadsheet, one row per place and currency."""
    first, last, _problem, leaks = _asked(request)
    rows = StringIO()
    writer = csv.writer(rows)
    writer.writerow(_COLUMNS)
    for leak in leaks:
        for currency in sorted(leak.at_risk) or [""]:
            minor = leak.at_risk.get(currency, "")
            cells = (leak.place, leak.subject, leak.events, leak.since, currency, minor, leak.is_estimated, leak.remedy)
            writer.writerow([cell_harmless(str(cell)) for cell in cells])
    response = HttpResponse(rows.getvalue(), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="leakage-{first}-{last}.csv"'
    return response


def _asked(request: HttpRequest) -> tuple[date, date, str, list[Leak]]:
    if not request.user.has_perm("records.view"):
        raise PermissionDenied
    at = clock.now()
    last = at.astimezone(UTC).date()
    first, problem = last - timedelta(days=_SPAN_DAYS), ""
    try:
        first = date.fromisoformat(request.GET.get("from", "").strip() or first.isoformat())
        last = date.fromisoformat(request.GET.get("to", "").strip() or last.isoformat())
    except ValueError:
        problem = "Write days like 2026-01-31. Shown are the last 31 days."
    if first > last:
        problem = "The first day is after the last one. Shown is the last one only."
        first = last
    leaks = usage_leakage.leakage(
        starts_at=datetime.combine(first, time(), tzinfo=UTC),
        ends_at=datetime.combine(last + timedelta(days=1), time(), tzinfo=UTC),
        at=at,
    )
    return first, last, problem, leaks


def _row(leak: Leak) -> dict[str, Any]:
    return {
        "place": leak.place,
        "subject": leak.subject,
        "events": formatting.number_text(leak.events),
        "since": leak.since,
        "amounts": [formatting.money_text(minor, currency) for currency, minor in sorted(leak.at_risk.items())],
        "is_estimated": leak.is_estimated,
        "remedy": leak.remedy,
    }
