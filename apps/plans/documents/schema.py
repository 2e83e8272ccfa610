"""
What may stand where in a pricing document, as JSON Schema (draft 2020-12).

The schema is made from the engine's own table of charge models, so a model that the engine learns is accepted here, and
one that it does not know is refused. Each `description` completes the sentence "must be ...": refusals are worded with
it, and a reader of the published schema reads the same words.
"""

import json
from typing import Any, Final

from apps.engine import periods
from apps.engine.charge_models.terms import CELLS_MAX, MODEL_PARAMETERS, TIERS_MAX, TIMINGS
from apps.engine.exact import Rounding

Schema = dict[str, Any]

CHARGES_MAX: Final = 200
FEATURES_MAX: Final = 500
EXAMPLES_MAX: Final = 100
WILDCARD: Final = "*"
UNLIMITED: Final = "unlimited"
ON_EXCEED: Final = ("reject", "throttle", "notify")

_CODE_PATTERN: Final = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,59}$"
_DECIMAL_PATTERN: Final = r"(?:0|[1-9][0-9]*)(?:\.[0-9]+)?"
_DIGITS_LENGTH_MAX: Final = 40

# What the pricing language names and this house does not offer yet: refused by name, never passed over.
FIELDS_TO_COME: Final = {
    "trial_days": "trials are not available yet; start the subscription later instead",
    "minimum_commitment": "commitments are not available yet; use min_amount on a charge",
    "commitments": "commitments are not available yet; use min_amount on a charge",
    "coupons": "coupons are not available yet; put the reduced price into a plan of its own",
    "discounts": "discounts are not available yet; put the reduced price into a plan of its own",
    "tiers": "files that list tiers are not imported yet; write each tier as a plan of its own",
}


def pricing_document_schema() -> Schema:
    """Return the JSON Schema of pricing documents."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Pricing document",
        "description": "an object that describes one plan",
        "type": "object",
        "required": ["plan", "name", "currency", "interval", "effective_at"],
        "additionalProperties": False,
        "properties": {
            "plan": _ref("code"),
            "name": _text("the plan's name as customers read it, up to 120 characters", length_max=120),
            "currency": _pattern("^[A-Z]{3}$", 'a three-letter ISO 4217 code in capitals such as "USD"'),
            "interval": _ref("interval"),
            "effective_at": _pattern(
                r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})$",
                'an instant with offset such as "2026-01-01T00:00:00Z"',
            ),
            "rounding": _enum([mode.value for mode in Rounding], is_nullable=True),
            "base_fee": _ref("base_fee"),
            "charges": _list("charge", "charges", count_max=CHARGES_MAX),
            "features": _ref("features"),
            "examples": _list("example", "golden examples", count_max=EXAMPLES_MAX),
            **{name: _left_out(why) for name, why in FIELDS_TO_COME.items()},
        },
        "$defs": _definitions(),
    }


def schema_text() -> str:
    """Return the schema as the published file holds it."""
    return json.dumps(pricing_document_schema(), indent=2, ensure_ascii=False) + "\n"


def _definitions() -> dict[str, Schema]:
    return {
        "code": _pattern(
            _CODE_PATTERN, "a code of up to 60 letters, digits and _ . - that begins with a letter or digit"
        ),
        "decimal": _decimal('a decimal string of zero or more such as "0.005", in quotes'),
        "money": _decimal('an amount as a decimal string such as "99.00", in quotes'),
        "optional_money": _decimal(
            'an amount as a decimal string such as "99.00", in quotes, or null', is_nullable=True
        ),
        "optional_decimal": _decimal(
            'a decimal string of zero or more such as "0.005", in quotes, or null', is_nullable=True
        ),
        "optional_code": _pattern(_CODE_PATTERN, "a code, or null", is_nullable=True),
        "optional_text": _text("text of up to 200 characters, or null", length_max=200, is_nullable=True),
        "flag": {"type": "boolean", "description": "true or false, without quotes"},
        "interval": {
            "type": "object",
            "description": "an object with unit and count, such as {unit: month, count: 1}",
            "required": ["unit", "count"],
            "additionalProperties": False,
            "properties": {
                "unit": _enum(["day", "week", "month", "year"]),
                "count": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": periods.INTERVAL_COUNT_MAX,
                    "description": f"a whole number from 1 to {periods.INTERVAL_COUNT_MAX}, without quotes",
                },
            },
        },
        "base_fee": {
            "type": ["object", "null"],
            "description": 'an object with the amount per period, such as {amount: "99.00", timing: advance}, or null',
            "required": ["amount"],
            "additionalProperties": False,
            "properties": {
                "amount": _ref("money"),
                "timing": _enum(list(TIMINGS), is_nullable=True),
                "prorate": _ref("flag"),
                "tax_category": _ref("optional_code"),
                "description": _ref("optional_text"),
            },
        },
        "tier": _tier("unit_rate"),
        "percent_tier": _tier("rate_percent"),
        "charge": _charge(),
        **{f"charge_{model}": _charge_of(model) for model in MODEL_PARAMETERS},
        "features": _features(),
        "limited_feature": _limited_feature(),
        "example": _example(),
    }


def _charge() -> Schema:
    """Return the schema of a charge: what all have, then what its model has."""
    return {
        "type": "object",
        "description": "an object that prices one meter, or a fixed fee",
        "required": ["code", "model"],
        "properties": {
            "code": _ref("code"),
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


def _charge_of(model: str) -> Schema:
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
            **{name: _PARAMETERS[name] for name in sorted(own)},
            **({"tiers": _tiers(parameters.tier_rate)} if parameters.tier_rate else {}),
            "timing": _enum(list(TIMINGS), is_nullable=True),
            "discount_percent": _ref("optional_decimal"),
            "min_amount": _ref("optional_money"),
            "max_amount": _ref("optional_money"),
            "prorate": _ref("flag"),
            "tax_category": _ref("optional_code"),
            "description": _ref("optional_text"),
            "unit": _ref("optional_text"),
            **{name: _left_out(f'it does not belong to the model "{model}"') for name in sorted(every - own)},
        },
    }


def _tiers(rate: str) -> Schema:
    return {
        "type": "array",
        "minItems": 1,
        "maxItems": TIERS_MAX,
        "items": _ref("tier" if rate == "unit_rate" else "percent_tier"),
        "description": f"a list of 1 to {TIERS_MAX} tiers",
    }


def _tier(rate: str) -> Schema:
    return {
        "type": "object",
        "description": f"an object with up_to, {rate} and flat_fee",
        "required": ["up_to", rate],
        "additionalProperties": False,
        "properties": {
            "up_to": _decimal("the upper bound as a decimal string, or null for the last tier", is_nullable=True),
            rate: _ref("decimal"),
            "flat_fee": _ref("optional_money"),
        },
    }


def _features() -> Schema:
    return {
        "type": ["object", "null"],
        "description": "an object from feature code to what is granted",
        "maxProperties": FEATURES_MAX,
        "propertyNames": _pattern(
            f"^\\{WILDCARD}$|{_CODE_PATTERN}", f'a feature code, or "{WILDCARD}" for all features not named'
        ),
        "additionalProperties": {
            "if": {"type": "object"},
            "then": {"$ref": "#/$defs/limited_feature"},
            "else": {"type": "boolean", "description": "true, false, or an object with a limit"},
        },
    }


def _limited_feature() -> Schema:
    return {
        "type": "object",
        "required": ["limit"],
        "additionalProperties": False,
        "properties": {
            "limit": _pattern(
                f"^(?:{UNLIMITED}|{_DECIMAL_PATTERN})$",
                f'a decimal string such as "15", or "{UNLIMITED}" (a missing limit never means that)',
            ),
            "meter": _ref("optional_code"),
            "on_exceed": _enum(list(ON_EXCEED), is_nullable=True),
        },
    }


def _example() -> Schema:
    return {
        "type": "object",
        "description": "an object with usage per meter and the total before tax",
        "required": ["usage", "total"],
        "additionalProperties": False,
        "properties": {
            "name": _ref("optional_text"),
            "usage": {
                "type": "object",
                "description": 'an object from meter code to units, such as {api_calls: "120000"}',
                "additionalProperties": _ref("decimal"),
            },
            "total": _ref("money"),
        },
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _list(name: str, noun: str, *, count_max: int) -> Schema:
    return {
        "type": ["array", "null"],
        "maxItems": count_max,
        "items": _ref(name),
        "description": f"a list of at most {count_max} {noun}",
    }


def _text(description: str, *, length_max: int, is_nullable: bool = False) -> Schema:
    # At least one character that is no space.
    schema = _pattern(r"\S", description, is_nullable=is_nullable)
    return {**schema, "maxLength": length_max}


def _decimal(description: str, *, is_nullable: bool = False) -> Schema:
    schema = _pattern(f"^{_DECIMAL_PATTERN}$", description, is_nullable=is_nullable)
    return {**schema, "maxLength": _DIGITS_LENGTH_MAX}


def _pattern(pattern: str, description: str, *, is_nullable: bool = False) -> Schema:
    return {"type": ["string", "null"] if is_nullable else "string", "pattern": pattern, "description": description}


def _enum(values: list[str], *, is_nullable: bool = False) -> Schema:
    described = f"one of {', '.join(values)}" if len(values) > 1 else f'"{values[0]}"'
    return {"enum": [*values, None] if is_nullable else values, "description": described}


def _left_out(why: str) -> Schema:
    return {"type": "null", "description": f"left out: {why}"}


_PARAMETERS: Final[dict[str, Any]] = {
    "amount": _ref("money"),
    "amount_property": _text("the name of the event property that holds the amount", length_max=120),
    "fixed_fee": _ref("optional_decimal"),
    "flat_at_zero": _ref("flag"),
    "free_amount": _ref("optional_decimal"),
    "free_events": _pattern(
        "^(?:0|[1-9][0-9]{0,8})$", 'a whole number as text such as "100", or null', is_nullable=True
    ),
    "included_units": _decimal(
        'a decimal string of zero or more such as "10000", in quotes, or null', is_nullable=True
    ),
    "max_per_event": _ref("optional_decimal"),
    "meter": _ref("code"),
    "min_per_event": _ref("optional_decimal"),
    "package_price": _ref("decimal"),
    "package_size": _ref("decimal"),
    "per_quantity": _ref("flag"),
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
    "rate_percent": _ref("decimal"),
    "tiers": True,  # by model, see `_tiers`
    "unit_rate": _ref("decimal"),
    "unit_transform": {
        "type": ["object", "null"],
        "description": 'an object such as {divide_by: "1000", mode: ceil, precision: 0}, or null',
        "required": ["mode"],
        "additionalProperties": False,
        "properties": {
            "divide_by": _ref("optional_decimal"),
            "mode": _enum([mode.value for mode in Rounding]),
            "precision": {"type": "integer", "description": "a whole number, without quotes"},
        },
    },
}
