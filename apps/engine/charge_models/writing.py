"""
Terms as their canonical document, and the text of it that is hashed.

Rules: every parameter of the model, decimals in their shortest form, keys sorted. Parameters that the pricing language
learned after its first version are written only when they say something: terms from before keep their bytes and hashes.
"""

from dataclasses import fields
from decimal import Decimal
from typing import Any, Final

from apps.engine.aggregation import UnitRounding
from apps.engine.charge_models.matrices import matrix_to_document
from apps.engine.charge_models.terms import COMMON_KEYS, MODEL_PARAMETERS, ChargeTerms, PriceMatrix
from apps.engine.exact import decimal_text
from apps.engine.hashing import canonical_json

_DEFAULTS: Final = {item.name: item.default for item in fields(ChargeTerms)}
_WRITTEN_WHEN_SET: Final = frozenset(
    {"discount_percent", "unit_transform", "prices_by", "per_quantity"}
    | {"fixed_fee", "free_events", "free_amount", "min_per_event", "max_per_event"}
)


def charge_to_document(terms: ChargeTerms) -> dict[str, Any]:
    """Return the canonical document of the terms, which `charge_from_document` reads back as the same terms."""
    parameters = MODEL_PARAMETERS[terms.model]
    keys = COMMON_KEYS | parameters.required | parameters.optional | ({"meter"} if parameters.is_metered else set())
    written = {
        key: getattr(terms, key)
        for key in keys
        if key not in _WRITTEN_WHEN_SET or getattr(terms, key) != _DEFAULTS[key]
    }
    return {key: _plain(value) for key, value in sorted(written.items())}


def canonical_text(terms: ChargeTerms) -> str:
    """Return the canonical JSON of the terms; written once, because every line rated on them hashes it."""
    if terms.text is None:
        object.__setattr__(terms, "text", canonical_json(charge_to_document(terms)))
    assert terms.text is not None  # noqa: S101  # set above; this line is for the type checker
    return terms.text


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return decimal_text(value)
    if type(value) is int:
        return str(value)
    if isinstance(value, tuple):
        return [tier.to_document() for tier in value]
    if isinstance(value, UnitRounding):
        return value.to_document()
    return matrix_to_document(value) if isinstance(value, PriceMatrix) else value
