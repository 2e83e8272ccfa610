"""What a document prints, copied when it becomes final: never looked up again from a living address or plan."""

from typing import Any

from apps.engine import explain, hashing
from apps.engine.exact import decimal_text
from apps.engine.money import minor_to_text, parse_decimal
from apps.invoices.models import Invoice, InvoiceDiscount, InvoiceLine, InvoiceTaxLine

VERSION = 1


def snapshot_build(
    *,
    invoice: Invoice,
    lines: list[InvoiceLine],
    tax_lines: list[InvoiceTaxLine],
    discounts: list[InvoiceDiscount],
) -> dict[str, Any]:
    """
    Return everything an invoice prints, as JSON; money as decimal text in the invoice's currency.

    What is about discounts stands only where there is one: readers of older documents find nothing there either.
    """
    currency = invoice.currency
    snapshot: dict[str, Any] = {
        "version": VERSION,
        "number": invoice.number,
        "kind": invoice.kind,
        "issue_date": _iso(invoice.issue_date),
        "due_date": _iso(invoice.due_date),
        "currency": currency,
        "seller": _seller(invoice),
        "buyer": _buyer(invoice),
        "period": {
            "starts_at": hashing.instant_text(invoice.period_starts_at),
            "ends_at": hashing.instant_text(invoice.period_ends_at),
        },
        "lines": [_line(line, currency) for line in lines],
        "taxes": [
            {
                "name": tax.name,
                "jurisdiction": tax.jurisdiction,
                "category": tax.category,
                "treatment": tax.treatment,
                "rate_percent": decimal_text(tax.rate_percent),
                "base": minor_to_text(tax.base_minor, currency),
                "tax": minor_to_text(tax.tax_minor, currency),
            }
            for tax in tax_lines
        ],
        "totals": {
            "subtotal": minor_to_text(invoice.subtotal_minor, currency),
            "tax": minor_to_text(invoice.tax_minor, currency),
            "total": minor_to_text(invoice.total_minor, currency),
        },
    }
    if discounts:
        snapshot["discounts"] = [
            {"code": discount.code, "name": discount.name, "amount": minor_to_text(discount.amount_minor, currency)}
            for discount in discounts
        ]
        snapshot["totals"]["lines"] = minor_to_text(invoice.subtotal_minor + invoice.discount_minor, currency)
        snapshot["totals"]["discount"] = minor_to_text(invoice.discount_minor, currency)
    if invoice.credit_minor:
        owed_minor = invoice.total_minor - invoice.credit_minor
        snapshot["totals"]["credit"] = minor_to_text(invoice.credit_minor, currency)
        snapshot["totals"]["due"] = minor_to_text(owed_minor, currency)
    return snapshot


def account_credit_words(totals: dict[str, str]) -> tuple[str, str] | None:
    """Return what a document says about the customer's account and the signed amount; None when it says nothing."""
    credit = totals.get("credit")
    if credit is None:
        return None
    if credit.startswith("-"):
        return "Added to your account", credit.removeprefix("-")
    return "Account credit used", f"-{credit}"


def snapshot_as_is(*, invoice: Invoice) -> dict[str, Any]:
    """Return what a draft would print if it became final as it is now."""
    return snapshot_build(
        invoice=invoice,
        lines=list(invoice.lines.order_by("position")),
        tax_lines=list(invoice.tax_lines.order_by("jurisdiction", "category", "rate_percent")),
        discounts=list(invoice.discounts.order_by("position")),
    )


def _seller(invoice: Invoice) -> dict[str, str]:
    entity = invoice.entity
    return {
        "name": entity.legal_name,
        "address": entity.address,
        "country": entity.country,
        "tax_id": entity.tax_id,
        "timezone": entity.timezone,
        "footer": entity.footer,
    }


def _buyer(invoice: Invoice) -> dict[str, str]:
    customer = invoice.customer
    return {
        "id": customer.public_id,
        "external_id": customer.external_id,
        "name": customer.name,
        "email": customer.email,
        "address_line1": customer.address_line1,
        "address_line2": customer.address_line2,
        "postal_code": customer.postal_code,
        "city": customer.city,
        "region": customer.region,
        "country": customer.country,
        "tax_id": customer.tax_id,
        "locale": customer.locale,
        "timezone": customer.timezone,
    }


def _line(line: InvoiceLine, currency: str) -> dict[str, Any]:
    explanation = explain.explain_line(decision=line.decision, recomputed=None)
    document = {
        "id": line.public_id,
        "position": line.position,
        "code": line.code,
        "kind": line.kind,
        "description": line.description,
        "quantity": decimal_text(parse_decimal(line.decision["quantity"], path="quantity")),
        "unit": line.unit_name,
        "service_period": {
            "starts_at": hashing.instant_text(line.service_starts_at),
            "ends_at": hashing.instant_text(line.service_ends_at),
        },
        "net": minor_to_text(line.net_minor, currency),
        "tax": minor_to_text(line.tax_minor, currency),
        "tax_rate_percent": decimal_text(line.tax_rate_percent) if line.tax_rate_percent is not None else None,
        "formula": list(explanation.formula),
        "rounding": explanation.rounding,
        "input_hash": line.input_hash,
        "output_hash": line.output_hash,
    }
    return document | ({"discount": minor_to_text(line.discount_minor, currency)} if line.discount_minor else {})


def _iso(value: Any) -> str:
    return value.isoformat() if value else ""
