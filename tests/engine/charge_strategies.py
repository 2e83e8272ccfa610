"""What the property tests of charge models draw from: terms of every model, usage to price on them."""

from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from apps.engine.charge_models import (
    NO_BASIS,
    Basis,
    BasisNeed,
    ChargeTerms,
    ChargeTier,
    MatrixCell,
    PriceMatrix,
    basis_needed,
    fold_events,
)
from apps.engine.charge_models.terms import MODEL_PARAMETERS
from apps.engine.money import Rounding
from apps.engine.unit_rounding import UnitRounding
from tests.engine.strategies import decimals_of, fees, quantities, rates, tier_lists

percents = decimals_of(units_max=100, digits=2)
sizes = decimals_of(units_max=1000, digits=2).filter(bool)
transforms = st.builds(
    UnitRounding,
    mode=st.sampled_from(list(Rounding)),
    precision=st.integers(-2, 3),
    divide_by=st.sampled_from([None, Decimal(1000), Decimal("0.3"), Decimal(7)]),
)


@st.composite
def percent_tiers(draw: st.DrawFn) -> tuple[ChargeTier, ...]:
    """Draw rising tiers with a percentage each."""
    tiers = draw(tier_lists())
    return tuple(ChargeTier(up_to=tier.up_to, rate_percent=draw(percents), flat_fee=tier.flat_fee) for tier in tiers)


@st.composite
def cell_prices(draw: st.DrawFn) -> ChargeTerms | None:
    """Draw the price of a matrix cell: none (the charge's own), or one of the four models."""
    model = draw(st.sampled_from([None, "per_unit", "graduated", "volume", "package"]))
    return None if model is None else ChargeTerms(code="cell", model=model, **draw(prices_of(model)))


@st.composite
def matrices(draw: st.DrawFn) -> PriceMatrix:
    """Draw a matrix over a region."""
    regions = draw(st.lists(st.sampled_from(["eu", "us", "asia", "", "null"]), min_size=1, max_size=3, unique=True))
    cells = [MatrixCell(when=(("region", region),), price=draw(cell_prices())) for region in regions]
    return PriceMatrix(properties=("region",), cells=(*cells, MatrixCell(price=draw(cell_prices()))))


@st.composite
def prices_of(draw: st.DrawFn, model: str) -> dict[str, Any]:
    """Draw what a model is priced by, without any modifier."""
    if model == "percentage":
        return draw(percentages())
    drawn: dict[str, dict[str, Any]] = {
        "flat": {"amount": fees, "per_quantity": st.booleans()},
        "per_unit": {"unit_rate": rates},
        "overage": {"unit_rate": rates},
        "graduated": {"tiers": tier_lists(), "flat_at_zero": st.booleans()},
        "volume": {"tiers": tier_lists(), "flat_at_zero": st.booleans()},
        "graduated_percentage": {"tiers": percent_tiers(), "flat_at_zero": st.booleans()},
        "package": {"package_size": sizes, "package_price": rates},
        "dynamic": {"amount_property": st.just("amount")},
    }
    return {name: draw(values) for name, values in drawn[model].items()}


@st.composite
def percentages(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a percentage with any allowance and clamp."""
    low, high = sorted((draw(fees), draw(fees)))
    return {
        "rate_percent": draw(percents),
        "fixed_fee": draw(rates),
        "free_events": draw(st.sampled_from([None, 0, 1, 5])),
        "free_amount": draw(st.sampled_from([None, Decimal(0), Decimal("10.5"), Decimal(1000)])),
        "min_per_event": draw(st.sampled_from([None, low])),
        "max_per_event": draw(st.sampled_from([None, high])),
    }


@st.composite
def charge_terms(draw: st.DrawFn, models: tuple[str, ...] = tuple(MODEL_PARAMETERS), **fixed: Any) -> ChargeTerms:
    """Draw the terms of any model with any modifier that it understands."""
    model = draw(st.sampled_from(models))
    optional = MODEL_PARAMETERS[model].optional
    low, high = sorted((draw(fees), draw(fees)))
    drawn: dict[str, Any] = {
        **draw(prices_of(model)),
        "discount_percent": draw(st.sampled_from([Decimal(0), Decimal(100), draw(percents)])),
        "min_amount": draw(st.sampled_from([None, low])),
        "max_amount": draw(st.sampled_from([None, high])),
        "prorate": draw(st.booleans()),
    }
    if model != "flat":
        drawn["meter"] = "calls"
    if "included_units" in optional or model == "overage":
        drawn["included_units"] = draw(st.sampled_from([Decimal(0), draw(quantities)]))
    if "unit_transform" in optional:
        drawn["unit_transform"] = draw(st.none() | transforms)
    if "prices_by" in optional:
        drawn["prices_by"] = draw(st.none() | matrices())
    return ChargeTerms(code="calls", model=model, **(drawn | fixed))


@st.composite
def usage_of(draw: st.DrawFn, terms: ChargeTerms) -> tuple[Decimal, Basis]:
    """Draw a quantity and the basis that these terms need beside it."""
    need = basis_needed(terms)
    if need is BasisNeed.UNITS_BY_CELL:
        units = tuple(draw(st.sampled_from([Decimal(0), draw(quantities)])) for _ in terms.prices_by.cells)
        return sum(units, Decimal(0)), Basis(units_by_cell=units)
    if need is BasisNeed.EVENT_VALUES:
        values = draw(st.lists(decimals_of(units_max=500, digits=3), max_size=8))
        return sum(values, Decimal(0)), fold_events(terms, values)
    if need is BasisNeed.AMOUNT:
        return draw(quantities), Basis(amount=draw(quantities))
    return draw(quantities), NO_BASIS
