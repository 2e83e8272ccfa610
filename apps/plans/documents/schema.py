"""
What may stand where in a pricing document, as JSON Schema (draft 2020-12).

The schema is made from the engine's own table of charge models, so a model that the engine learns is accepted here, and
one that it does not know is refused. Each `description` completes the sentence "must be ...": refusals are worded with
it, and a reader of the published schema reads the same words.
"""

import json
from typing import Final

from apps.engine import periods
from apps.engine.charge_models.terms import MODEL_PARAMETERS, TIMINGS
from apps.engine.exact import Rounding
from apps.engine.proration import ProrationMode
from apps.plans.documents.schema_charges import charge_schema, model_schema, tier_schema
from apps.plans.documents.schema_words import (
    CODE_PATTERN,
    DECIMAL_PATTERN,
    Schema,
    decimal,
    left_out,
    listed,
    one_of,
    pattern,
    ref,
    text,
)

CHARGES_MAX: Final = 200
FEATURES_MAX: Final = 500
EXAMPLES_MAX: Final = 100
TRIAL_DAYS_MAX: Final = 730
# Of usage written by hand: more belongs into a backtest over real usage.
USAGE_ITEMS_MAX: Final = 1000
WILDCARD: Final = "*"
UNLIMITED: Final = "unlimited"
ON_EXCEED: Final = ("reject", "throttle", "notify")

# What other pricing languages write into a plan and this house keeps elsewhere: refused by name, never passed over.
FIELDS_ELSEWHERE: Final = {
    "commitments": 'a plan has one; write it as "commitment"',
    "coupons": "coupons are offered by themselves and name the plans they are for",
    "discounts": "a discount is given to a customer; for everybody use discount_percent on a charge",
    "tiers": 'files that list tiers are imported with "plans_apply --format tiers"',
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
            "plan": ref("code"),
            "name": text("the plan's name as customers read it, up to 120 characters", length_max=120),
            "currency": pattern("^[A-Z]{3}$", 'a three-letter ISO 4217 code in capitals such as "USD"'),
            "interval": ref("interval"),
            "effective_at": pattern(
                r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})$",
                'an instant with offset such as "2026-01-01T00:00:00Z"',
            ),
            "rounding": one_of([mode.value for mode in Rounding], is_nullable=True),
            "proration": one_of([mode.value for mode in ProrationMode], is_nullable=True),
            "trial_days": {
                "type": ["integer", "null"],
                "minimum": 0,
                "maximum": TRIAL_DAYS_MAX,
                "description": f"a whole number of days from 0 to {TRIAL_DAYS_MAX}, without quotes",
            },
            "minimum_commitment": ref("optional_money"),
            "commitment": ref("commitment"),
            "cliff_limit": ref("optional_money"),
            "base_fee": ref("base_fee"),
            "charges": listed("charge", "charges", count_max=CHARGES_MAX),
            "features": ref("features"),
            "examples": listed("example", "golden examples", count_max=EXAMPLES_MAX),
            **{name: left_out(why) for name, why in FIELDS_ELSEWHERE.items()},
        },
        "$defs": _definitions(),
    }


def schema_text() -> str:
    """Return the schema as the published file holds it."""
    return json.dumps(pricing_document_schema(), indent=2, ensure_ascii=False) + "\n"


def _definitions() -> dict[str, Schema]:
    return {
        "code": pattern(
            CODE_PATTERN, "a code of up to 60 letters, digits and _ . - that begins with a letter or digit"
        ),
        "decimal": decimal('a decimal string of zero or more such as "0.005", in quotes'),
        "money": decimal('an amount as a decimal string such as "99.00", in quotes'),
        "optional_money": decimal(
            'an amount as a decimal string such as "99.00", in quotes, or null', is_nullable=True
        ),
        "optional_decimal": decimal(
            'a decimal string of zero or more such as "0.005", in quotes, or null', is_nullable=True
        ),
        "optional_code": pattern(CODE_PATTERN, "a code, or null", is_nullable=True),
        "optional_text": text("text of up to 200 characters, or null", length_max=200, is_nullable=True),
        "flag": {"type": "boolean", "description": "true or false, without quotes"},
        "interval": {
            "type": "object",
            "description": "an object with unit and count, such as {unit: month, count: 1}",
            "required": ["unit", "count"],
            "additionalProperties": False,
            "properties": {
                "unit": one_of(["day", "week", "month", "year"]),
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
                "amount": ref("money"),
                "timing": one_of(list(TIMINGS), is_nullable=True),
                "per_quantity": ref("flag"),
                "prorate": ref("flag"),
                "tax_category": ref("optional_code"),
                "description": ref("optional_text"),
            },
        },
        "commitment": {
            "type": ["object", "null"],
            "description": 'an object such as {amount: "500.00", discount_percent: "10"}, or null',
            "required": ["amount"],
            "additionalProperties": False,
            "properties": {
                "amount": ref("money"),
                "discount_percent": ref("optional_decimal"),
                "overage_factor": ref("optional_decimal"),
            },
        },
        "tier": tier_schema("unit_rate"),
        "percent_tier": tier_schema("rate_percent"),
        "charge": charge_schema(),
        **{f"charge_{model}": model_schema(model) for model in MODEL_PARAMETERS},
        "features": _features(),
        "limited_feature": _limited_feature(),
        "example": _example(),
        "usage_by_hand": _usage_by_hand(),
    }


def _features() -> Schema:
    return {
        "type": ["object", "null"],
        "description": "an object from feature code to what is granted",
        "maxProperties": FEATURES_MAX,
        "propertyNames": pattern(
            f"^\\{WILDCARD}$|{CODE_PATTERN}", f'a feature code, or "{WILDCARD}" for all features not named'
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
            "limit": pattern(
                f"^(?:{UNLIMITED}|{DECIMAL_PATTERN})$",
                f'a decimal string such as "15", or "{UNLIMITED}" (a missing limit never means that)',
            ),
            "meter": ref("optional_code"),
            "on_exceed": one_of(list(ON_EXCEED), is_nullable=True),
            "prorate": ref("flag"),
        },
    }


def _example() -> Schema:
    return {
        "type": "object",
        "description": "an object with usage per meter and the total before tax",
        "required": ["usage", "total"],
        "additionalProperties": False,
        "properties": {
            "name": ref("optional_text"),
            "usage": {
                "type": "object",
                "description": 'an object from meter code to units, such as {api_calls: "120000"}',
                "additionalProperties": {
                    "if": {"type": "object"},
                    "then": ref("usage_by_hand"),
                    "else": ref("decimal"),
                },
            },
            "quantity": ref("optional_decimal"),
            "total": ref("money"),
        },
    }


def _usage_by_hand() -> Schema:
    group = {
        "type": "object",
        "description": 'an object such as {values: {region: eu}, units: "100"}',
        "required": ["values", "units"],
        "additionalProperties": False,
        "properties": {
            "values": {
                "type": "object",
                "description": "an object from event property to its text or null",
                "additionalProperties": {"type": ["string", "null"], "description": "text, or null"},
            },
            "units": ref("decimal"),
        },
    }
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "units": ref("decimal"),
            "amount": ref("decimal"),
            "groups": {
                "type": "array",
                "maxItems": USAGE_ITEMS_MAX,
                "items": group,
                "description": f"a list of at most {USAGE_ITEMS_MAX} groups",
            },
            "events": {
                "type": "array",
                "maxItems": USAGE_ITEMS_MAX,
                "items": ref("decimal"),
                "description": f"a list of the values of at most {USAGE_ITEMS_MAX} events, in order",
            },
        },
    }
