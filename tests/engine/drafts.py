"""A small plan and the facts of one month, as the draft and explanation tests need them."""

from decimal import Decimal
from typing import Any

from apps.engine.charge_models import charge_from_document
from apps.engine.invoice_draft import ChargeInput, DraftFacts
from apps.engine.money import Rounding
from apps.engine.periods import Period
from apps.engine.tax import TaxDecision
from tests.engine.strategies import day

JANUARY = Period(day(2026, 1, 1), day(2026, 2, 1))
FEBRUARY = Period(day(2026, 2, 1), day(2026, 3, 1))
GERMAN_TAX = TaxDecision(category="saas", jurisdiction="DE", rate_percent=Decimal(19), treatment="taxed")
BASE_FEE: dict[str, Any] = {"code": "base_fee", "model": "flat", "amount": "99.00", "timing": "advance"}
CALLS: dict[str, Any] = {
    "code": "api_calls",
    "meter": "api_calls",
    "model": "graduated",
    "included_units": "10000",
    "tiers": [{"up_to": "100000", "unit_rate": "0.005"}, {"up_to": None, "unit_rate": "0.003"}],
    "unit": "calls",
}
EGRESS: dict[str, Any] = {"code": "egress", "meter": "egress", "model": "per_unit", "unit_rate": "0.0825"}


def charge(document: dict[str, Any], units: str = "1", **options: Any) -> ChargeInput:
    """Return a charge taxed in Germany unless the options say otherwise."""
    options.setdefault("tax", GERMAN_TAX)
    terms = charge_from_document(document, currency="EUR", path=document["code"])
    return ChargeInput(terms=terms, quantity=Decimal(units), **options)


def facts(*charges: ChargeInput, **options: Any) -> DraftFacts:
    """Return the facts of January on version 3 of the plan "growth"."""
    known: dict[str, Any] = {
        "currency": "EUR",
        "rounding": Rounding.HALF_UP,
        "period": JANUARY,
        "charges": charges,
        "plan_code": "growth",
        "plan_version": 3,
    }
    return DraftFacts(**(known | options))


def month(**options: Any) -> DraftFacts:
    """Return a month with a base fee, used calls and unused egress."""
    usage = {"event_count": 812, "digest": "ab12"}
    return facts(
        charge(BASE_FEE, service_period=FEBRUARY),
        charge(CALLS, "120000", meter_version=2, usage=usage),
        charge(EGRESS, "0", meter_version=1, usage={"event_count": 0}),
        **options,
    )
