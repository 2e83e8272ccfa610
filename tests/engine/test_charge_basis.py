"""What rating needs beside a quantity: units per matrix cell, and the fold of a percentage over its events."""

import json
from decimal import Decimal
from typing import Any

import pytest

from apps.engine.charge_models import (
    NO_BASIS,
    Basis,
    BasisNeed,
    ChargeTerms,
    EventTotals,
    MatrixCell,
    PriceMatrix,
    basis_from_document,
    basis_needed,
    cell_of,
    fold_units,
    matrix_properties,
)
from apps.engine.errors import EngineError, InvalidTerms


def matrix_terms() -> ChargeTerms:
    """Return a charge with a cell for gold customers in the EU, one for the rest of the EU, and the default."""
    price = ChargeTerms(code="cell", model="per_unit", unit_rate=Decimal(2))
    cells = (
        MatrixCell(when=(("region", "eu"), ("tier", "gold")), price=price),
        MatrixCell(when=(("region", "eu"),), price=price),
        MatrixCell(),
    )
    return ChargeTerms(
        code="calls",
        meter="calls",
        model="per_unit",
        unit_rate=Decimal(1),
        prices_by=PriceMatrix(properties=("region", "tier"), cells=cells),
    )


@pytest.mark.parametrize(
    ("values", "cell"),
    [
        ({"region": "eu", "tier": "gold"}, 0),
        ({"region": "eu", "tier": "silver"}, 1),
        ({"region": "eu", "tier": None}, 1),
        ({"region": "eu"}, 1),
        ({"region": "us", "tier": "gold"}, 2),
        ({"region": None}, 2),
        ({"region": "EU"}, 2),
        ({}, 2),
    ],
)
def test_first_match_wins_and_what_is_missing_matches_the_default_only(
    values: dict[str, str | None], cell: int
) -> None:
    """S099: values compare as text; a missing or null property matches no value."""
    assert cell_of(matrix_terms(), values) == cell


def test_units_of_groups_in_one_cell_are_added() -> None:
    """S099: silver and unnamed tiers of the EU meet in one cell; a cell without events has no units."""
    groups = [({"region": "eu", "tier": "silver"}, Decimal("0.1")), ({"region": "eu"}, Decimal("0.2"))]
    assert fold_units(matrix_terms(), groups).units_by_cell == (Decimal(0), Decimal("0.3"), Decimal(0))
    assert matrix_properties(matrix_terms()) == ("region", "tier")


def test_terms_without_a_matrix_have_no_cells() -> None:
    plain = ChargeTerms(code="calls", model="per_unit", unit_rate=Decimal(1))
    assert matrix_properties(plain) == ()
    assert basis_needed(plain) is BasisNeed.NOTHING
    for ask in (lambda: cell_of(plain, {}), lambda: fold_units(plain, [])):
        with pytest.raises(InvalidTerms, match="no cells"):
            ask()


def test_units_are_added_exactly_however_long() -> None:
    """Forty digits: the process's own context keeps 28 and would round the rest in silence."""
    long = Decimal("1234567890123456789012345678.123456789012")
    folded = fold_units(matrix_terms(), [({}, long), ({}, Decimal("0.000000000001"))])
    assert folded.units_by_cell == (0, 0, Decimal("1234567890123456789012345678.123456789013"))


@pytest.mark.parametrize(
    "basis",
    [
        NO_BASIS,
        Basis(amount=Decimal("12.345")),
        Basis(units_by_cell=(Decimal("0.5"), Decimal(0))),
        Basis(events=EventTotals(charged_events=2, charged_value=Decimal("9.5"), free_events=1, free_value=Decimal(1))),
    ],
)
def test_a_basis_survives_json(basis: Basis) -> None:
    """S113: what is stored with a decision is read back as the same basis."""
    assert basis_from_document(json.loads(json.dumps(basis.to_document())), path="basis") == basis


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ([], "basis"),
        ({"units": []}, "basis.units"),
        ({"units_by_cell": "1"}, "basis.units_by_cell"),
        ({"units_by_cell": ["1", 2]}, "basis.units_by_cell[1]"),
        ({"amount": "NaN"}, "basis.amount"),
        ({"events": {}}, "basis.events.charged_events"),
        ({"events": {**EventTotals().to_document(), "free_events": True}}, "basis.events.free_events"),
        ({"events": {**EventTotals().to_document(), "free_value": "-1"}}, "basis.events.free_value"),
    ],
)
def test_a_basis_that_cannot_be_read_is_refused_by_path(document: Any, path: str) -> None:
    with pytest.raises(EngineError) as refusal:
        basis_from_document(document, path="basis")
    assert refusal.value.path == path
