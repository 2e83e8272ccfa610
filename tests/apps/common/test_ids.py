"""Identifiers as the outside sees them, and what a caller's own code may look like."""

from uuid import UUID

import pytest

from apps.common import ids


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
