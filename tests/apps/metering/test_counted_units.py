"""Totals are told in the unit that was added up, not in the one that is billed after a division."""

from datetime import date

from apps.metering import proofs
from tests.builders import customers, metering
from tests.conftest import NOW


def test_totals_of_before_the_rounding_are_not_called_gigabytes(tenant):
    """S085: a proof says what a day came to; two billion bytes are two billion bytes."""
    gigabytes = {"mode": "ceil", "precision": 0, "divide_by": "1000000000"}
    terms = {"aggregation": "sum", "value_property": "bytes", "event_type": "download"}
    divided = metering.meter(code="traffic", unit_name="GB", rounding=gigabytes, **terms)
    plain = metering.meter(code="volume", unit_name="B", **terms)
    customers.customer(external_id="acme")
    metering.send(metering.event(type="download", properties={"bytes": "2000000000"}), at=NOW)
    proof = proofs.usage_proof_make(usage_date=date(2026, 1, 10), at=NOW)
    assert [(row["meter"], row["sum"], row["unit"]) for row in proof.totals] == [
        ("traffic", "2000000000", "bytes"),
        ("volume", "2000000000", "B"),
    ]
    assert (divided.counted_unit, plain.counted_unit) == ("bytes", "B")
