"""
Which module prices which model.

Rules: one line per model; a model is a module with `price` (exact amount in major units) and `steps` (how it came
about, amounts summing to the same). To add one: its parameters in `terms.py`, a module, a line here, a golden table.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from apps.engine.charge_models import dynamic, flat, graduated, package, per_unit, percentage, volume
from apps.engine.charge_models.billable import BillableUnits
from apps.engine.charge_models.steps import RatedStep
from apps.engine.charge_models.terms import ChargeTerms
from apps.engine.exact import Ratio


@dataclass(frozen=True, slots=True)
class ChargeModel:
    """The two functions of a charge model."""

    price: Callable[[ChargeTerms, BillableUnits], Ratio]
    steps: Callable[[ChargeTerms, BillableUnits], Iterator[RatedStep]]


CHARGE_MODELS: Final[Mapping[str, ChargeModel]] = {
    "flat": ChargeModel(price=flat.price, steps=flat.steps),
    "per_unit": ChargeModel(price=per_unit.price, steps=per_unit.steps),
    "graduated": ChargeModel(price=graduated.price, steps=graduated.steps),
    "volume": ChargeModel(price=volume.price, steps=volume.steps),
    "package": ChargeModel(price=package.price, steps=package.steps),
    "overage": ChargeModel(price=per_unit.price, steps=per_unit.steps),
    "percentage": ChargeModel(price=percentage.price, steps=percentage.steps),
    "graduated_percentage": ChargeModel(price=graduated.price, steps=graduated.steps),
    "dynamic": ChargeModel(price=dynamic.price, steps=dynamic.steps),
}
