"""Tax on a line: one rounding, evidence kept, unknown never zero."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.engine.errors import CurrencyUnknown, EngineError, InvalidTax
from apps.engine.money import Rounding
from apps.engine.tax import TREATMENTS, TaxDecision, tax_decision_from_document, tax_minor


def decision(rate_percent: str, treatment: str = "taxed") -> TaxDecision:
    """Return a decision at a rate."""
    return TaxDecision(
        category="saas",
        jurisdiction="DE",
        rate_percent=Decimal(rate_percent),
        treatment=treatment,
        evidence={"rule": "standard"},
    )


@pytest.mark.parametrize(
    ("net_minor", "rate_percent", "currency", "expected_minor"),
    [
        (10000, "19", "EUR", 1900),
        (1, "19", "EUR", 0),
        (3, "19", "EUR", 1),
        (50, "7", "EUR", 4),
        (-50, "7", "EUR", -4),
        (4790, "19", "EUR", 910),
        (1005, "10", "JPY", 101),
        (100000, "8.875", "USD", 8875),
        (0, "19", "EUR", 0),
    ],
)
def test_golden_tax(net_minor: int, rate_percent: str, currency: str, expected_minor: int) -> None:
    assert tax_minor(net_minor=net_minor, decision=decision(rate_percent), currency=currency) == expected_minor


@pytest.mark.parametrize("treatment", [name for name in TREATMENTS if name != "taxed"])
def test_every_other_treatment_has_no_rate(treatment: str) -> None:
    assert tax_minor(net_minor=10000, decision=decision("0", treatment), currency="EUR") == 0
    with pytest.raises(InvalidTax, match="must be 0"):
        decision("19", treatment)


@pytest.mark.parametrize(
    ("rate_percent", "treatment", "path"),
    [("19", "maybe", "treatment"), ("-1", "taxed", "rate_percent"), ("101", "taxed", "rate_percent")],
)
def test_contradictory_decisions_are_refused(rate_percent: str, treatment: str, path: str) -> None:
    with pytest.raises(InvalidTax) as refusal:
        decision(rate_percent, treatment)
    assert refusal.value.path == path


def test_tax_needs_a_currency_even_on_nothing() -> None:
    """S251: no currency, no tax of zero either."""
    with pytest.raises(CurrencyUnknown):
        tax_minor(net_minor=0, decision=decision("19"), currency="")


def test_decision_document_round_trip() -> None:
    assert tax_decision_from_document(decision("8.875").to_document()) == decision("8.875")


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"rate_percent": 19}, "tax.rate_percent"),
        ({"jurisdiction": None}, "tax.jurisdiction"),
        ({"rate": "19"}, "tax.rate"),
        ({"evidence": "none"}, "tax.evidence"),
    ],
)
def test_bad_documents_name_the_place(change: dict[str, object], path: str) -> None:
    with pytest.raises(EngineError) as refusal:
        tax_decision_from_document(decision("19").to_document() | change)
    assert refusal.value.path == path


@given(net_minor=st.integers(-(10**12), 10**12), basis_points=st.integers(0, 10_000))
def test_tax_is_within_half_a_minor_unit(net_minor: int, basis_points: int) -> None:
    tax = tax_minor(net_minor=net_minor, decision=decision(str(Decimal(basis_points) / 100)), currency="EUR")
    assert abs(tax - Fraction(net_minor * basis_points, 10_000)) <= Fraction(1, 2)
    lower = tax_minor(
        net_minor=net_minor,
        decision=decision(str(Decimal(basis_points) / 100)),
        currency="EUR",
        rounding=Rounding.FLOOR,
    )
    assert lower <= Fraction(net_minor * basis_points, 10_000)
