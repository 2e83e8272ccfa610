"""
Terms from a pricing document, read strictly.

Rules: every number is a decimal string; amounts of money have the currency's digits, rates may have more; nothing is
below zero. Each model has its own parameters: a missing one and a foreign one are both refused by name. Tiers touch
each other, rise, and the last one is open; a bound belongs to the tier below it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from apps.engine import currencies, documents
from apps.engine.aggregation import UnitRounding, unit_rounding_from_document
from apps.engine.charge_models.matrices import read_matrix
from apps.engine.charge_models.scaled_tiers import ChargeTier
from apps.engine.charge_models.terms import (
    CELL_KEYS,
    CELL_MODELS,
    COMMON_KEYS,
    MODEL_PARAMETERS,
    TIERS_MAX,
    TIMINGS,
    ZERO,
    ChargeTerms,
    ModelParameters,
)
from apps.engine.documents import at_key
from apps.engine.errors import InvalidDecimal, InvalidMoney, InvalidTerms
from apps.engine.exact import decimal_text
from apps.engine.money import minor_to_text, parse_decimal, text_to_minor


def charge_from_document(
    document: Mapping[str, Any], *, currency: str, path: str, is_catalog: bool = True
) -> ChargeTerms:
    """
    Read the terms of one charge.

    With `is_catalog=False` (an estimate, which nobody will bill) the code and the meter may be missing.

    :raises InvalidTerms: naming the place and the remedy
    :raises CurrencyUnknown: if the currency is not on the ISO list
    """
    currencies.exponent(currency)
    charge = documents.read_mapping(document, path=path)
    model = _read_model(charge, path)
    parameters = MODEL_PARAMETERS[model]
    _refuse_foreign_keys(charge, model, parameters, path)
    read = _Reader(charge=charge, currency=currency, path=path)
    is_meter_required = is_catalog and parameters.is_metered
    matrix = charge.get("prices_by")
    fields: dict[str, Any] = {
        **read.price(model),
        "code": documents.read_text(charge, "code", path=path, is_required=is_catalog) or "estimate",
        "model": model,
        "meter": documents.read_text(charge, "meter", path=path, is_required=is_meter_required),
        "included_units": read.decimal("included_units") or ZERO,
        "amount": read.amount("amount"),
        "per_quantity": documents.read_flag(charge, "per_quantity", default=False, path=path),
        "rate_percent": read.decimal("rate_percent"),
        "fixed_fee": read.decimal("fixed_fee") or ZERO,
        "free_events": read.count("free_events"),
        "free_amount": read.decimal("free_amount"),
        "min_per_event": read.decimal("min_per_event"),
        "max_per_event": read.decimal("max_per_event"),
        "amount_property": documents.read_text(charge, "amount_property", path=path),
        "prices_by": None
        if matrix is None
        else read_matrix(
            matrix,
            read_price=lambda value, at: _read_cell_price(value, model, currency, at),
            path=at_key(path, "prices_by"),
        ),
        "unit_transform": read.unit_transform(),
        "discount_percent": read.decimal("discount_percent") or ZERO,
        "min_amount": read.amount("min_amount"),
        "max_amount": read.amount("max_amount"),
        # A fee for a period shrinks with the period unless told otherwise; what usage costs does not.
        "prorate": documents.read_flag(charge, "prorate", default=not parameters.is_metered, path=path),
        "timing": documents.read_choice(charge, "timing", choices=TIMINGS, default="arrears", path=path),
        "tax_category": documents.read_text(charge, "tax_category", path=path),
        "description": documents.read_text(charge, "description", path=path),
        "unit": documents.read_text(charge, "unit", path=path),
    }
    return _made(fields, path)


def _made(fields: Mapping[str, Any], path: str) -> ChargeTerms:
    """Return the terms; what they refuse about themselves is refused at its place in the document."""
    try:
        return ChargeTerms(**fields)
    except InvalidTerms as exc:
        raise InvalidTerms(exc.detail, path=at_key(path, exc.path)) from exc


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads numbers of one charge, or of one cell of its matrix, and knows the path for complaints."""

    charge: Mapping[str, Any]
    currency: str
    path: str

    def decimal(self, key: str) -> Decimal | None:
        """Return a field as an exact decimal of zero or more, or None when it is missing or null."""
        value = self.charge.get(key)
        return None if value is None else _read_decimal(value, at_key(self.path, key))

    def count(self, key: str) -> int | None:
        """Return a field as a whole number of zero or more, or None when it is missing or null."""
        value = self.decimal(key)
        if value is not None and value != value.to_integral_value():
            raise InvalidTerms('must be a whole number such as "3", in quotes', path=at_key(self.path, key))
        return None if value is None else int(value)

    def amount(self, key: str) -> Decimal | None:
        """Return a field as an amount in major units with the digits of the currency, or None."""
        value = self.charge.get(key)
        return None if value is None else _read_amount(value, self.currency, at_key(self.path, key))

    def price(self, model: str) -> dict[str, Any]:
        """Return what a charge and a cell of its matrix have in common: rates, tiers, packages."""
        tier_rate, tiers_path = MODEL_PARAMETERS[model].tier_rate, at_key(self.path, "tiers")
        return {
            "unit_rate": self.decimal("unit_rate"),
            "tiers": _read_tiers(self.charge["tiers"], tier_rate, self.currency, tiers_path) if tier_rate else (),
            "flat_at_zero": documents.read_flag(self.charge, "flat_at_zero", default=True, path=self.path),
            "package_size": self.decimal("package_size"),
            "package_price": self.decimal("package_price"),
        }

    def unit_transform(self) -> UnitRounding | None:
        """Return how measured units are divided and rounded before they are priced, or None."""
        path = at_key(self.path, "unit_transform")
        try:
            return unit_rounding_from_document(self.charge.get("unit_transform"), path=path)
        except InvalidDecimal as exc:
            raise InvalidTerms(exc.detail, path=exc.path) from exc


def _read_model(charge: Mapping[str, Any], path: str) -> str:
    model = charge.get("model")
    if not isinstance(model, str) or model not in MODEL_PARAMETERS:
        raise InvalidTerms(f"must be one of {', '.join(MODEL_PARAMETERS)}, not {model!r}", path=at_key(path, "model"))
    return model


def _refuse_foreign_keys(charge: Mapping[str, Any], model: str, parameters: ModelParameters, path: str) -> None:
    own = parameters.required | parameters.optional | ({"meter"} if parameters.is_metered else frozenset())
    foreign = frozenset({"meter"}).union(*(p.required | p.optional for p in MODEL_PARAMETERS.values())) - own
    for key in sorted(charge):
        if charge[key] is not None and key in foreign:
            raise InvalidTerms(f'does not belong to the model "{model}"; remove it', path=at_key(path, key))
    documents.refuse_unknown_keys(
        {key: value for key, value in charge.items() if key not in foreign}, known=COMMON_KEYS | own, path=path
    )
    _refuse_missing(charge, model, parameters.required, path)


def _refuse_missing(fields: Mapping[str, Any], model: str, required: frozenset[str], path: str) -> None:
    for key in sorted(required):
        if fields.get(key) is None:
            raise InvalidTerms(f'is required by the model "{model}"', path=at_key(path, key))


def _read_cell_price(value: object, own_model: str, currency: str, path: str) -> ChargeTerms | None:
    """Read the price of one cell; an empty one is the charge's own price, which is None."""
    written = documents.read_mapping(value, path=path)
    documents.refuse_unknown_keys(written, known={"model", *CELL_KEYS}, path=path)
    fields = {key: item for key, item in written.items() if item is not None}
    if not fields:
        return None
    is_plain_rate = set(fields) == {"unit_rate"} or own_model == "overage"
    model = fields.get("model", "per_unit" if is_plain_rate else own_model)
    if model not in CELL_MODELS:
        raise InvalidTerms(f"must be one of {', '.join(CELL_MODELS)}, not {model!r}", path=at_key(path, "model"))
    parameters = MODEL_PARAMETERS[model]
    for key in sorted(fields.keys() - {"model"} - parameters.required - parameters.optional):
        raise InvalidTerms(f'does not belong to the model "{model}"; remove it', path=at_key(path, key))
    _refuse_missing(fields, model, parameters.required, path)
    price = _Reader(charge=fields, currency=currency, path=path).price(model)
    return _made({"code": "cell", "model": model, **price}, path)


def _read_tiers(value: object, rate_key: str, currency: str, path: str) -> tuple[ChargeTier, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise InvalidTerms("must be a list with at least one tier", path=path)
    if len(value) > TIERS_MAX:
        raise InvalidTerms(f"has {len(value)} tiers; at most {TIERS_MAX} are possible", path=path)
    tiers: list[ChargeTier] = []
    for position, item in enumerate(value):
        tier_path = at_key(path, position)
        tier = _read_tier(item, rate_key, currency, tier_path)
        _ensure_rising(tier, tiers, is_last=position == len(value) - 1, path=at_key(tier_path, "up_to"))
        tiers.append(tier)
    return tuple(tiers)


def _read_tier(item: object, rate_key: str, currency: str, path: str) -> ChargeTier:
    fields = documents.read_mapping(item, path=path)
    documents.refuse_unknown_keys(fields, known=("up_to", rate_key, "flat_fee"), path=path)
    if "up_to" not in fields:
        raise InvalidTerms("is required; give the upper bound, or null for the last tier", path=at_key(path, "up_to"))
    if fields.get(rate_key) is None:
        raise InvalidTerms('is required; write "0" for a tier without a rate', path=at_key(path, rate_key))
    up_to, flat_fee = fields["up_to"], fields.get("flat_fee")
    rate = _read_decimal(fields[rate_key], at_key(path, rate_key))
    return ChargeTier(
        up_to=None if up_to is None else _read_decimal(up_to, at_key(path, "up_to")),
        unit_rate=rate if rate_key == "unit_rate" else ZERO,
        rate_percent=rate if rate_key == "rate_percent" else None,
        flat_fee=ZERO if flat_fee is None else _read_amount(flat_fee, currency, at_key(path, "flat_fee")),
    )


def _ensure_rising(tier: ChargeTier, before: list[ChargeTier], *, is_last: bool, path: str) -> None:
    if is_last:
        if tier.up_to is not None:
            raise InvalidTerms("the last tier must be open: use null", path=path)
        return
    if tier.up_to is None:
        raise InvalidTerms("only the last tier may be open: give its upper bound", path=path)
    lower = before[-1].up_to if before and before[-1].up_to is not None else ZERO
    if tier.up_to <= lower:
        raise InvalidTerms(f"must be above {decimal_text(lower)}, where the tier begins", path=path)


def _read_decimal(value: object, path: str) -> Decimal:
    try:
        return parse_decimal(value, path=path, minimum=ZERO)
    except InvalidDecimal as exc:
        raise InvalidTerms(exc.detail, path=path) from exc


def _read_amount(value: object, currency: str, path: str) -> Decimal:
    _read_decimal(value, path)
    try:
        return Decimal(minor_to_text(text_to_minor(value, currency, path=path), currency))
    except InvalidMoney as exc:
        raise InvalidTerms(exc.detail, path=path) from exc
