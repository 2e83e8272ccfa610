"""Identifiers as the outside sees them, and what a caller's own code may look like."""

from uuid import UUID

import pytest

from apps.common import ids
from apps.customers import selectors as customer_selectors
from apps.customers.errors import CustomerUnknown
from apps.invoices import selectors as invoice_selectors
from apps.invoices.errors import InvoiceUnknown
from apps.plans import selectors as plan_selectors
from apps.plans.errors import PlanUnknown
from apps.subscriptions import selectors as subscription_selectors
from apps.subscriptions.errors import SubscriptionUnknown


@pytest.mark.parametrize("value", [UUID(int=0), UUID(int=2**128 - 1), ids.new_id()])
def test_every_public_id_looks_like_one(value):
    """From the smallest to the largest, and it is read back."""
    text = ids.to_public(prefix="pln", value=value)
    assert ids.looks_public(text)
    assert ids.from_public(prefix="pln", text=text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pln_",
        "growth",
        "pln_growth",
        "cus_NffrFeUfNV2Hib",
        "pln_01h455vb4pex5vsknk084sn02",
        "pln_01h455vb4pex5vsknk084sn02q0",
        "pln_81h455vb4pex5vsknk084sn02q",
        "pln_01h455vb4pex5vsknk084sn0il",
        "PLN_01H455VB4PEX5VSKNK084SN02Q",
        "plan_01h455vb4pex5vsknk084sn02q",
        "pln_01h455vb4pex5vsknk084sn02q\n",
        "01h455vb4pex5vsknk084sn02q",
    ],
)
def test_other_codes_do_not(text):
    """Codes of other houses, ids that hold no 128 bits and ids cut short stay the caller's to use."""
    assert not ids.looks_public(text)


@pytest.mark.parametrize("text", ["a\0b", "\0", "\ud800", "x\udfff"])
@pytest.mark.django_db
def test_what_no_column_can_hold_is_unknown_everywhere(text, tenant):
    """A look-up by it is answered as for any other unknown code, and never fails in the database."""
    assert not ids.is_searchable(text)
    for find, unknown in (
        (customer_selectors.customer_by_reference, CustomerUnknown),
        (plan_selectors.plan_by_reference, PlanUnknown),
        (invoice_selectors.invoice_by_reference, InvoiceUnknown),
        (subscription_selectors.subscription_by_reference, SubscriptionUnknown),
    ):
        with pytest.raises(unknown):
            find(text)


@pytest.mark.parametrize("text", ["", "acme-42", "\N{PILE OF POO}", "\ue000", "\x01"])
def test_other_texts_can_be_looked_up(text):
    """Astral characters are whole, whatever their neighbours in the table are."""
    assert ids.is_searchable(text)
