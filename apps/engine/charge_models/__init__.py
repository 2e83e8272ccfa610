"""Charge models: read the terms of a charge, price a quantity on them, keep how the amount came about."""

from apps.engine.charge_models.basis import (
    NO_BASIS,
    Basis,
    BasisNeed,
    EventTotals,
    basis_from_document,
    basis_needed,
    cell_of,
    fold_events,
    fold_units,
    matrix_properties,
)
from apps.engine.charge_models.compiled import Rater, compile_rater
from apps.engine.charge_models.increments import Measured, Rated, RatedIncrement, rate_increment
from apps.engine.charge_models.rating import RatedLine, rate_charge
from apps.engine.charge_models.reading import charge_from_document
from apps.engine.charge_models.registry import CHARGE_MODELS
from apps.engine.charge_models.scaled_tiers import ChargeTier
from apps.engine.charge_models.steps import RatedStep
from apps.engine.charge_models.terms import ChargeTerms, MatrixCell, PriceMatrix
from apps.engine.charge_models.writing import charge_to_document

__all__ = [
    "CHARGE_MODELS",
    "NO_BASIS",
    "Basis",
    "BasisNeed",
    "ChargeTerms",
    "ChargeTier",
    "EventTotals",
    "MatrixCell",
    "Measured",
    "PriceMatrix",
    "Rated",
    "RatedIncrement",
    "RatedLine",
    "RatedStep",
    "Rater",
    "basis_from_document",
    "basis_needed",
    "cell_of",
    "charge_from_document",
    "charge_to_document",
    "compile_rater",
    "fold_events",
    "fold_units",
    "matrix_properties",
    "rate_charge",
    "rate_increment",
]
