"""Amounts end where documents and books end: refused by name, before a database says it in its own words."""

from decimal import Decimal

import pytest

from apps.engine.errors import InvalidMoney
from apps.engine.invoice_draft import ChargeInput, build_invoice_draft
from apps.engine.money import MINOR_MAX, ensure_bookable
from tests.engine.drafts import month


@pytest.mark.parametrize("minor", [MINOR_MAX, -MINOR_MAX, 0])
def test_the_largest_amounts_are_held(minor: int) -> None:
    assert ensure_bookable(minor, "USD") == minor


@pytest.mark.parametrize("minor", [MINOR_MAX + 1, -MINOR_MAX - 1])
def test_larger_ones_are_refused_with_the_bound(minor: int) -> None:
    with pytest.raises(InvalidMoney, match="92233720368547758.07 USD"):
        ensure_bookable(minor, "USD")


def test_a_line_that_no_document_can_hold_is_named() -> None:
    facts = month()
    metered = next(charge for charge in facts.charges if charge.terms.is_metered)
    others = tuple(charge for charge in facts.charges if charge is not metered)
    huge = ChargeInput(terms=metered.terms, quantity=Decimal(10) ** 25, tax=metered.tax)
    with pytest.raises(InvalidMoney, match=metered.terms.code):
        build_invoice_draft(facts=type(facts)(**{**_fields(facts), "charges": (*others, huge)}))


def _fields(facts: object) -> dict[str, object]:
    return {name: getattr(facts, name) for name in type(facts).__dataclass_fields__}  # type: ignore[attr-defined]
