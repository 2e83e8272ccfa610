"""The paper: from the frozen snapshot only, the same bytes each time, and no text of a stranger becomes markup."""

import re
import zlib
from datetime import UTC, datetime, timedelta

import pytest

from apps.common import ids
from apps.invoices.documents import events_csv, pdf
from apps.invoices.errors import InvoiceUnknown
from apps.invoices.models import Invoice
from apps.metering.models import UsageEvent
from tests.builders import customers, faces
from tests.builders.faces import FEBRUARY

pytestmark = pytest.mark.django_db


def test_the_same_document_gives_the_same_bytes(tenant):
    invoice = faces.house().invoice
    assert pdf.invoice_pdf(invoice_id=invoice.id) == pdf.invoice_pdf(invoice_id=invoice.id)


def test_paper_does_not_follow_later_changes(tenant):
    """S146: what was issued is printed as it was issued, whatever the customer is called today."""
    house = faces.house()
    before = pdf.invoice_pdf(invoice_id=house.invoice.id)
    customers.update(house.customer, name="Renamed Ltd", city="Elsewhere")
    assert pdf.invoice_pdf(invoice_id=house.invoice.id) == before


def test_paying_does_not_change_the_paper(tenant):
    house = faces.house(token="tok_delayed", until=FEBRUARY + timedelta(hours=1))
    before = pdf.invoice_pdf(invoice_id=house.invoice.id)
    faces.subscriptions.advance(house.clock, FEBRUARY + timedelta(days=2))
    assert house.invoice.status == "PAID"
    assert pdf.invoice_pdf(invoice_id=house.invoice.id) == before


def test_draft_is_marked_and_final_is_not(tenant):
    house = faces.house(until=FEBRUARY + timedelta(minutes=10))
    draft = Invoice.objects.get(customer=house.customer, status="DRAFT")
    assert b"(Draft invoice)" in _metadata(pdf.invoice_pdf(invoice_id=draft.id))
    faces.subscriptions.advance(house.clock, FEBRUARY + timedelta(days=1))
    final = pdf.invoice_pdf(invoice_id=draft.id)
    assert f"(Invoice {house.invoice.number})".encode() in _metadata(final)


def test_page_says_it_in_the_buyers_way(tenant):
    """Amounts and dates by the buyer's locale; the formula stands under each line."""
    house = faces.house(locale="de")
    page = pdf.printed(snapshot=house.invoice.snapshot, mark="")
    assert page["total"] == "116,50\xa0$"
    assert page["issue_date"] == "01.02.2026"
    assert page["period"] == "01.01.2026 \N{EN DASH} 31.01.2026"
    usage = next(line for line in page["lines"] if line["description"] == "API calls")
    assert usage["formula"]
    assert (usage["quantity"], usage["unit"]) == ("25", "calls")


@pytest.mark.parametrize("name", ["#panic()", "*bold* _it_ `raw`", '"; #read("/etc/passwd")', "\\u{1F4A9} $x$", "名前"])
def test_names_never_become_markup(tenant, name):
    """A name is printed, never executed."""
    snapshot = {**faces.house().invoice.snapshot}
    snapshot["buyer"] = {**snapshot["buyer"], "name": name}
    made = pdf.snapshot_pdf(snapshot=snapshot, made_at=FEBRUARY)
    assert made.startswith(b"%PDF-")


def test_unknown_invoice_is_named(tenant):
    with pytest.raises(InvoiceUnknown):
        pdf.invoice_pdf(invoice_id=ids.new_id())


def test_csv_runs_nothing_in_a_spreadsheet():
    event = UsageEvent(
        event_id="=cmd()",
        source="@evil",
        type="api.call",
        occurred_at=datetime(2026, 1, 1, tzinfo=UTC),
        received_at=datetime(2026, 1, 1, tzinfo=UTC),
        quantity=None,
        properties={"path": "a,b"},
    )
    head, row = events_csv.events_csv(events=[event]).splitlines()
    assert head.startswith("event_id,")
    assert row.startswith("'=cmd(),'@evil,api.call,2026-01-01T00:00:00+00:00")
    assert row.endswith('"{""path"": ""a,b""}"')


def _metadata(document: bytes) -> bytes:
    """Return the readable parts of a PDF: its objects, and its streams unpacked where they are text."""
    parts = [document]
    for packed in re.findall(rb"stream\r?\n(.*?)endstream", document, re.DOTALL):
        try:
            parts.append(zlib.decompress(packed))
        except zlib.error:
            continue
    return b"\n".join(parts)
