"""
The invoice as PDF, from the frozen snapshot and nothing else.

The same snapshot gives the same bytes, on any machine: fonts are the compiler's own, the time stamped into the file
is the finalisation's, and no living row is read. A draft has no snapshot yet; it is built from its rows and marked.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import typst
from django.conf import settings

from apps.common import formatting
from apps.engine import tax
from apps.invoices import snapshots
from apps.invoices.errors import InvoiceUnknown
from apps.invoices.models import Invoice, InvoiceStatus

TEMPLATE = "documents/invoice.typ"


def invoice_pdf(*, invoice_id: UUID) -> bytes:
    """
    Return an invoice's PDF: byte for byte the same each time once it is issued, marked as a draft before.

    :raises InvoiceUnknown: if there is no such invoice
    """
    invoice = Invoice.objects.select_related("customer", "entity").filter(id=invoice_id).first()
    if invoice is None:
        raise InvoiceUnknown("There is no such invoice.")
    snapshot = invoice.snapshot or snapshots.snapshot_as_is(invoice=invoice)
    made_at = invoice.finalized_at or invoice.drafted_at
    return snapshot_pdf(snapshot=snapshot, made_at=made_at, mark=_mark_of(invoice))


def snapshot_pdf(*, snapshot: dict[str, Any], made_at: datetime, mark: str = "") -> bytes:
    """Return the PDF of a document as it was frozen; `mark` is printed across each page."""
    # Data goes in as one JSON text that the template parses: no name or address can become markup.
    data = json.dumps(printed(snapshot=snapshot, mark=mark), ensure_ascii=False, sort_keys=True)
    document: bytes = typst.compile(
        str(_template_path()),
        format="pdf",
        sys_inputs={"data": data},
        ignore_system_fonts=True,
        # Part of the file's identity: without it every run gives other bytes.
        timestamp=made_at.replace(microsecond=0),
    )
    return document


def printed(*, snapshot: dict[str, Any], mark: str) -> dict[str, Any]:
    """Return the words and numbers of the page, written the way the buyer's locale does."""
    buyer = snapshot["buyer"]
    page = _Writer(currency=snapshot["currency"], locale=buyer["locale"], timezone=buyer["timezone"])
    return {
        "mark": mark,
        "title": f"Invoice {snapshot['number']}" if snapshot["number"] else "Draft invoice",
        "number": snapshot["number"] or "not issued yet",
        "currency": snapshot["currency"],
        "issue_date": page.day(snapshot["issue_date"]),
        "due_date": page.day(snapshot["due_date"]),
        "period": page.period(snapshot["period"]),
        "seller": _seller(snapshot["seller"]),
        "buyer": _buyer(buyer),
        "lines": [_line(line, page) for line in snapshot["lines"]],
        "lines_total": page.money(snapshot["totals"]["lines"]) if "discounts" in snapshot else "",
        "discounts": [
            {"name": discount["name"], "code": discount["code"], "amount": page.money(f"-{discount['amount']}")}
            for discount in snapshot.get("discounts", [])
        ],
        "taxes": [_tax(row, page) for row in snapshot["taxes"]],
        "subtotal": page.money(snapshot["totals"]["subtotal"]),
        "tax": page.money(snapshot["totals"]["tax"]),
        "total": page.money(snapshot["totals"]["total"]),
        "credit": _credit(snapshot["totals"], page),
        "due": page.money(snapshot["totals"].get("due", snapshot["totals"]["total"])),
        "footer": snapshot["seller"]["footer"],
    }


def _credit(totals: dict[str, str], page: "_Writer") -> list[dict[str, str]]:
    """Return the row about the customer's account, if there is one."""
    words = snapshots.account_credit_words(totals)
    return [] if words is None else [{"label": words[0], "amount": page.money(words[1])}]


class _Writer:
    """How this document writes money, numbers and dates."""

    def __init__(self, *, currency: str, locale: str, timezone: str) -> None:
        self._currency, self._locale, self._timezone = currency, formatting.locale_of(locale), timezone

    def money(self, text: str) -> str:
        return formatting.decimal_amount_text(text, self._currency, self._locale)

    def number(self, text: str) -> str:
        return formatting.number_text(text, self._locale)

    def day(self, text: str) -> str:
        return formatting.date_text(datetime.fromisoformat(text).date(), self._locale) if text else ""

    def period(self, period: dict[str, str]) -> str:
        starts_at, ends_at = (formatting.instant_parse(period[key]) for key in ("starts_at", "ends_at"))
        return formatting.period_text(starts_at, ends_at, self._timezone, self._locale)


def _mark_of(invoice: Invoice) -> str:
    # Only what can never change back is printed on an issued paper; paid or not is no part of the document.
    return "DRAFT" if invoice.status in (InvoiceStatus.DRAFT, InvoiceStatus.DISCARDED) else ""


def _seller(seller: dict[str, str]) -> dict[str, Any]:
    address = [line.strip() for line in seller["address"].splitlines() if line.strip()]
    return {
        "name": seller["name"],
        "address": [*address, seller["country"]],
        "tax_id": seller["tax_id"],
    }


def _buyer(buyer: dict[str, str]) -> dict[str, Any]:
    city = " ".join(part for part in (buyer["postal_code"], buyer["city"]) if part)
    lines = [buyer["address_line1"], buyer["address_line2"], city, buyer["region"], buyer["country"]]
    return {
        "name": buyer["name"],
        "address": [line for line in lines if line],
        "tax_id": buyer["tax_id"],
        "reference": buyer["external_id"],
    }


def _line(line: dict[str, Any], page: _Writer) -> dict[str, Any]:
    rate = line["tax_rate_percent"]
    return {
        "position": str(line["position"]),
        "description": line["description"],
        "period": page.period(line["service_period"]),
        # How the amount came about, in full: the paper explains itself without us.
        "formula": line["formula"],
        "quantity": page.number(line["quantity"]),
        "unit": line["unit"],
        "tax_rate": "" if rate is None else f"{page.number(rate)} %",
        "net": page.money(line["net"]),
        "discount": page.money(f"-{line['discount']}") if "discount" in line else "",
    }


def _tax(row: dict[str, str], page: _Writer) -> dict[str, str]:
    return {
        "name": f"{row['name']} {page.number(row['rate_percent'])} %",
        "reason": "" if row["treatment"] == "taxed" else tax.TREATMENTS[row["treatment"]],
        "jurisdiction": row["jurisdiction"],
        "base": page.money(row["base"]),
        "tax": page.money(row["tax"]),
    }


def _template_path() -> Path:
    return Path(settings.TEMPLATES[0]["DIRS"][0]) / TEMPLATE
