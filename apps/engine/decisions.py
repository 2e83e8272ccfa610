"""
Rating decisions: what is stored with a line so that it can be computed again.

Rules: a decision is plain JSON with text and whole numbers; it carries the terms themselves and not a pointer to them,
because a pointer leads to what the plan says today. Recomputing takes the stored terms and a freshly read quantity:
both hashes agree exactly when nothing that went in, and nothing that came out, has changed.
"""

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from apps.engine.charge_models import RatedLine, charge_from_document, charge_to_document, rate_charge
from apps.engine.errors import EngineError, InvalidDecision
from apps.engine.exact import decimal_text, fraction_text
from apps.engine.money import parse_rounding
from apps.engine.periods import Period
from apps.engine.tax import TaxDecision

# Raised when the same inputs would give another amount; old decisions then keep the arithmetic of their version.
ENGINE_VERSION: Final = "1"

_REQUIRED: Final = (
    "engine_version",
    "terms",
    "quantity",
    "factor",
    "currency",
    "rounding",
    "amount_minor",
    "input_hash",
    "output_hash",
)


def decision_of(
    *,
    rating: RatedLine,
    plan: Mapping[str, Any],
    period: Period,
    meter_version: int | None,
    usage: Mapping[str, Any],
    tax: TaxDecision | None,
    tax_minor: int | None,
) -> dict[str, Any]:
    """Return the decision to store with a rated line; amounts in minor units, everything else as exact text."""
    return {
        "engine_version": ENGINE_VERSION,
        "plan": dict(plan),
        "terms": charge_to_document(rating.terms),
        "quantity": decimal_text(rating.quantity),
        "factor": fraction_text(rating.factor),
        "period": period.to_document(),
        "currency": rating.currency,
        "rounding": rating.rounding.value,
        "meter_version": meter_version,
        "usage": dict(usage),
        "tax": None if tax is None else tax.to_document(),
        "amount_minor": rating.amount_minor,
        "tax_minor": tax_minor,
        "input_hash": rating.input_hash,
        "output_hash": rating.output_hash,
    }


def recompute(*, decision: Mapping[str, Any], quantity: Decimal) -> RatedLine:
    """
    Rate again on stored terms with a quantity read just now.

    :raises InvalidDecision: if a field is missing or this engine does not know the decision's version
    """
    for key in _REQUIRED:
        if key not in decision:
            raise InvalidDecision("is missing; the decision was not written by this engine", path=key)
    if decision["engine_version"] != ENGINE_VERSION:
        raise InvalidDecision(
            f"{decision['engine_version']!r} is not known; this engine reads version {ENGINE_VERSION}",
            path="engine_version",
        )
    try:
        currency = decision["currency"]
        return rate_charge(
            terms=charge_from_document(decision["terms"], currency=currency, path="terms", is_catalog=False),
            quantity=quantity,
            currency=currency,
            rounding=parse_rounding(decision["rounding"], path="rounding"),
            factor=Fraction(decision["factor"]),
        )
    except (EngineError, ValueError, TypeError, ZeroDivisionError) as exc:
        path = exc.path if isinstance(exc, EngineError) else "factor"
        detail = exc.detail if isinstance(exc, EngineError) else str(exc)
        raise InvalidDecision(f"cannot be read: {detail}", path=path) from exc


def is_reproduced(*, decision: Mapping[str, Any], recomputed: RatedLine) -> bool:
    """Tell whether a recomputed line has the inputs, the answer and the amount that the decision stored."""
    stored = (decision["input_hash"], decision["output_hash"], decision["amount_minor"])
    return stored == (recomputed.input_hash, recomputed.output_hash, recomputed.amount_minor)
