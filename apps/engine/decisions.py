"""
Rating decisions: what is stored with a line so that it can be computed again.

Rules: a decision is plain JSON with text and whole numbers; it carries the terms themselves and not a pointer to them,
because a pointer leads to what the plan says today. A `basis` is stored only when rating needed one, and `before` (the
state without the event, or null) only when each event is billed. Recomputing takes the stored terms and a freshly read
quantity: both hashes agree exactly when nothing that went in, and nothing that came out, has changed.
"""

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from apps.engine import documents
from apps.engine.charge_models import (
    NO_BASIS,
    Basis,
    Measured,
    Rated,
    RatedIncrement,
    basis_from_document,
    charge_from_document,
    charge_to_document,
    rate_charge,
    rate_increment,
)
from apps.engine.errors import EngineError, InvalidDecision
from apps.engine.exact import decimal_text, fraction_text
from apps.engine.money import parse_decimal, parse_rounding
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
    rating: Rated,
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
        **_beyond_the_quantity(rating),
    }


def recompute(
    *,
    decision: Mapping[str, Any],
    quantity: Decimal,
    basis: Basis | None = None,
    before: Measured | None = None,
) -> Rated:
    """
    Rate again on stored terms with a quantity read just now.

    `basis` and `before` are what else was read just now; without them the stored ones stand. (Where nothing was billed
    before, the decision says so, and there is nothing to read.)

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
        terms = charge_from_document(decision["terms"], currency=decision["currency"], path="terms", is_catalog=False)
        given: dict[str, Any] = {
            "terms": terms,
            "currency": decision["currency"],
            "rounding": parse_rounding(decision["rounding"], path="rounding"),
            "factor": Fraction(decision["factor"]),
        }
        after_basis = basis if basis is not None else basis_from_document(decision.get("basis") or {}, path="basis")
        if "before" not in decision:
            return rate_charge(quantity=quantity, basis=after_basis, **given)
        if before is None and decision["before"] is not None:
            before = measured_from_document(decision["before"], path="before")
        return rate_increment(before=before, after=(quantity, after_basis), **given)
    except (EngineError, ValueError, TypeError, ZeroDivisionError) as exc:
        path = exc.path if isinstance(exc, EngineError) else "factor"
        detail = exc.detail if isinstance(exc, EngineError) else str(exc)
        raise InvalidDecision(f"cannot be read: {detail}", path=path) from exc


def is_reproduced(*, decision: Mapping[str, Any], recomputed: Rated) -> bool:
    """Tell whether a recomputed line has the inputs, the answer and the amount that the decision stored."""
    stored = (decision["input_hash"], decision["output_hash"], decision["amount_minor"])
    return stored == (recomputed.input_hash, recomputed.output_hash, recomputed.amount_minor)


def measured_from_document(document: object, *, path: str) -> Measured:
    """
    Read the state before an event, as a decision stores it: the quantity and, where rating needed one, the basis.

    :raises InvalidTerms: if it is not such an object
    :raises InvalidDecimal: if a number is not a plain decimal string
    """
    stored = documents.read_mapping(document, path=path)
    documents.refuse_unknown_keys(stored, known=("quantity", "basis"), path=path)
    quantity = parse_decimal(stored.get("quantity"), path=documents.at_key(path, "quantity"))
    return quantity, basis_from_document(stored.get("basis") or {}, path=documents.at_key(path, "basis"))


def _beyond_the_quantity(rating: Rated) -> dict[str, Any]:
    """Return what a decision stores for some charges only; decisions of all others keep their bytes."""
    beyond: dict[str, Any] = {}
    if rating.basis != NO_BASIS:
        beyond["basis"] = rating.basis.to_document()
    if isinstance(rating, RatedIncrement):
        before = rating.before
        beyond["before"] = None if before is None else _state(before.quantity, before.basis)
    return beyond


def _state(quantity: Decimal, basis: Basis) -> dict[str, Any]:
    state: dict[str, Any] = {"quantity": decimal_text(quantity)}
    return state if basis == NO_BASIS else {**state, "basis": basis.to_document()}
