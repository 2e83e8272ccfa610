"""Terms made in code: a matrix, its cells and its limits refuse what a document could not say either."""

from decimal import Decimal
from typing import Any

import pytest

from apps.engine.charge_models import ChargeTerms, MatrixCell, PriceMatrix, charge_from_document
from apps.engine.charge_models.terms import CELLS_MAX
from apps.engine.errors import InvalidTerms

OWN = ChargeTerms(code="cell", model="per_unit", unit_rate=Decimal(1))
OTHER = ChargeTerms(code="cell", model="per_unit", unit_rate=Decimal(2))
TIERS = [{"up_to": None, "unit_rate": "1"}]


def matrix_of(count: int) -> PriceMatrix:
    """Return a matrix with so many cells, the default among them."""
    cells = (MatrixCell(when=(("region", str(number)),), price=OTHER) for number in range(count - 1))
    return PriceMatrix(properties=("region",), cells=(*cells, MatrixCell()))


def test_a_cell_keeps_its_values_in_one_order() -> None:
    """S106: the order in which somebody wrote the properties is no part of the terms."""
    one, other = (
        MatrixCell(when=(("tier", "gold"), ("region", "eu"))),
        MatrixCell(when=(("region", "eu"), ("tier", "gold"))),
    )
    assert one == other
    assert one.when == (("region", "eu"), ("tier", "gold"))


def test_a_cell_prices_units() -> None:
    share = ChargeTerms(code="cell", meter="sales", model="percentage", rate_percent=Decimal(1))
    with pytest.raises(InvalidTerms, match="must be one of per_unit") as refusal:
        MatrixCell(price=share)
    assert refusal.value.path == "price.model"


@pytest.mark.parametrize(
    ("cells", "path"),
    [
        ((), "default"),
        ((MatrixCell(when=(("region", "eu"),), price=OTHER),), "default"),
        ((MatrixCell(), MatrixCell(when=(("region", "eu"),), price=OTHER)), "default"),
        ((MatrixCell(),), "match"),
    ],
)
def test_a_matrix_ends_in_a_default_and_names_a_value(cells: tuple[MatrixCell, ...], path: str) -> None:
    """S089: an event that no cell takes would be billed by nobody."""
    with pytest.raises(InvalidTerms) as refusal:
        PriceMatrix(properties=("region",), cells=cells)
    assert refusal.value.path == path


def test_as_many_cells_as_are_possible() -> None:
    matrix = matrix_of(CELLS_MAX)
    assert matrix.cell_of({"region": str(CELLS_MAX - 2)}) == CELLS_MAX - 2
    assert matrix.cell_of({"region": "elsewhere"}) == CELLS_MAX - 1
    with pytest.raises(InvalidTerms, match="at most 1000") as refusal:
        matrix_of(CELLS_MAX + 1)
    assert refusal.value.path == "match"


@pytest.mark.parametrize("percent", ["-0.5", "-100", "100.5"])
def test_a_discount_lies_between_nothing_and_all(percent: str) -> None:
    with pytest.raises(InvalidTerms) as refusal:
        ChargeTerms(code="c", model="per_unit", unit_rate=Decimal(1), discount_percent=Decimal(percent))
    assert refusal.value.path == "discount_percent"


def test_what_is_kept_for_speed_is_neither_given_nor_shown() -> None:
    """S105: terms show what they say, and two that say the same are equal whatever was computed from them."""
    for name in ("scaled_tiers", "text"):
        assert name not in repr(OWN)
        with pytest.raises(TypeError):
            ChargeTerms(code="c", model="per_unit", unit_rate=Decimal(1), **{name: None})
    assert "lookup" not in repr(matrix_of(2))


@pytest.mark.parametrize(
    ("price", "is_refused"),
    [({"unit_rate": "2"}, False), ({}, False), ({"model": "volume", "tiers": TIERS}, True)],
)
def test_billed_per_event_unless_a_cell_is_priced_by_volume(price: dict[str, Any], is_refused: bool) -> None:
    """S097: the price of a volume can fall with the next event, in a cell as in a whole charge."""
    document = {
        "code": "calls", "meter": "calls", "model": "per_unit", "unit_rate": "1", "timing": "advance",
        "prices_by": {"property": "region", "match": {"eu": price, "us": {"unit_rate": "3"}}, "default": {}},
    }  # fmt: skip
    if not is_refused:
        assert charge_from_document(document, currency="USD", path="charge").timing == "advance"
        return
    with pytest.raises(InvalidTerms, match="volume price can fall") as refusal:
        charge_from_document(document, currency="USD", path="charge")
    assert refusal.value.path == "charge.timing"
