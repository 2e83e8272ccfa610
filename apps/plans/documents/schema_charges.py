"""
What may stand in a charge, made from the engine's own table of charge models.

A model that the engine learns is accepted here as soon as its fields have a description, and a field that belongs to
another model is refused by name.
"""

from typing import Any, Final

from apps.engine.charge_models.terms import CELLS_MAX, MODEL_PARAMETERS, TIERS_MAX, TIMINGS
from apps.engine.exact import Rounding
from apps.plans.documents.schema_words import Schema, decimal, left_out, one_of, pattern, ref, text


def charge_schema() -> Schema:
    """Return the schema of a charge: what all have, then what its model has."""
    return {
        "type": "object",
        "description": "an object that prices one meter, or a fixed fee",
        "required": ["code", "model"],
        "properties": {
            "code": ref("code"),
            "model": {
                "enum": list(MODEL_PARAMETERS),
                "description": f"one of {', '.join(MODEL_PARAMETERS)}",
            },
        },
        "allOf": [
            {
                "if": {"required": ["model"], "properties": {"model": {"const": model}}},
                "then": {"$ref": f"#/$defs/charge_{model}"},
            }
            for model in MODEL_PARAMETERS
        ],
    }


def model_schema(model: str) -> Schema:
    """Return what a charge of a model has, and by name what it has not."""
    parameters = MODEL_PARAMETERS[model]
    own = parameters.required | parameters.optional | ({"meter"} if parameters.is_metered else set())
    every = {"meter"}.union(*(other.required | other.optional for other in MODEL_PARAMETERS.values()))
    return {
        "type": "object",
        "required": sorted(parameters.required | ({"meter"} if parameters.is_metered else set())),
        "additionalProperties": False,
        "properties": {
            "code": True,
            "model": True,
            **{name: _FIELDS[name] for name in sorted(own)},
            **({"tiers": _tiers(parameters.tier_rate)} if parameters.tier_rate else {}),
            "timing": one_of(list(TIMINGS), is_nullable=True),
            "discount_percent": ref("optional_decimal"),
            "min_amount": ref("optional_money"),
            "max_amount": ref("optional_money"),
            "prorate": ref("flag"),
            "tax_category": ref("optional_code"),
            "description": ref("optional_text"),
            "unit": ref("optional_text"),
            **{name: left_out(f'it does not belong to the model "{model}"') for name in sorted(every - own)},
        },
    }


def _tiers(rate: str) -> Schema:
    return {
        "type": "array",
        "minItems": 1,
        "maxItems": TIERS_MAX,
        "items": ref("tier" if rate == "unit_rate" else "percent_tier"),
        "description": f"a list of 1 to {TIERS_MAX} tiers",
    }


def tier_schema(rate: str) -> Schema:
    """Return a tier whose rate has this name."""
    return {
        "type": "object",
        "description": f"an object with up_to, {rate} and flat_fee",
        "required": ["up_to", rate],
        "additionalProperties": False,
        "properties": {
            "up_to": decimal("the upper bound as a decimal string, or null for the last tier", is_nullable=True),
            rate: ref("decimal"),
            "flat_fee": ref("optional_money"),
        },
    }


_FIELDS: Final[dict[str, Any]] = {
    "amount": ref("money"),
    "amount_property": text("the name of the event property that holds the amount", length_max=120),
    "fixed_fee": ref("optional_decimal"),
    "flat_at_zero": ref("flag"),
    "free_amount": ref("optional_decimal"),
    "free_events": pattern(
        "^(?:0|[1-9][0-9]{0,8})$", 'a whole number as text such as "100", or null', is_nullable=True
    ),
    "included_units": decimal('a decimal string of zero or more such as "10000", in quotes, or null', is_nullable=True),
    "max_per_event": ref("optional_decimal"),
    "meter": ref("code"),
    "min_per_event": ref("optional_decimal"),
    "package_price": ref("decimal"),
    "package_size": ref("decimal"),
    "per_quantity": ref("flag"),
    "prices_by": {
        "type": ["object", "null"],
        "description": "an object with property (or properties), match and default, or null",
        "required": ["match", "default"],
        "properties": {
            "property": True,
            "properties": True,
            "match": {
                "type": ["object", "array"],
                "minItems": 1,
                "maxItems": CELLS_MAX,
                "minProperties": 1,
                "maxProperties": CELLS_MAX,
                "description": "an object from value to price, or a list of {when, price}",
            },
            "default": {"type": "object", "description": "a price, or {} for the charge's own"},
        },
        "additionalProperties": False,
    },
    "rate_percent": ref("decimal"),
    "tiers": True,  # by model, see `_tiers`
    "unit_rate": ref("decimal"),
    "unit_transform": {
        "type": ["object", "null"],
        "description": 'an object such as {divide_by: "1000", mode: ceil, precision: 0}, or null',
        "required": ["mode"],
        "additionalProperties": False,
        "properties": {
            "divide_by": ref("optional_decimal"),
            "mode": one_of([mode.value for mode in Rounding]),
            "precision": {"type": "integer", "description": "a whole number, without quotes"},
        },
    },
}
