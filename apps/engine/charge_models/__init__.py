"""Charge models: read the terms of a charge, price a quantity on them, keep how the amount came about."""

from apps.engine.charge_models.rating import RatedLine, rate_charge
from apps.engine.charge_models.registry import CHARGE_MODELS
from apps.engine.charge_models.steps import RatedStep
from apps.engine.charge_models.terms import (
    MODELS_TO_COME,
    ChargeTerms,
    ChargeTier,
    charge_from_document,
    charge_to_document,
)

__all__ = [
    "CHARGE_MODELS",
    "MODELS_TO_COME",
    "ChargeTerms",
    "ChargeTier",
    "RatedLine",
    "RatedStep",
    "charge_from_document",
    "charge_to_document",
    "rate_charge",
]
