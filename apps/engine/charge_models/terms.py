"""
What a charge costs: the terms as data, read strictly from a pricing document and written back canonically.

Rules: every number is a decimal string; amounts of money have the currency's digits, rates may have more; nothing is
below zero. Each model has its own parameters: a missing one and a foreign one are both refused by name. Tiers touch
each other, rise, and the last one is open; a bound belongs to the tier below it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from apps.engine import currencies, documents
from apps.engine.aggregation import UnitRounding
from apps.engine.charge_models.scaled_tiers import ChargeTier, ScaledTiers, scale_tiers
from apps.engine.documents import at_key
from apps.engine.errors import InvalidDecimal, InvalidMoney, InvalidTerms
from apps.engine.exact import Ratio, decimal_text
from apps.engine.money import minor_to_text, parse_decimal, text_to_minor

TIERS_MAX: Final = 1000
TIMINGS: Final = ("arrears", "advance")
ZERO: Final = Decimal(0)

_COMMON_KEYS: Final = frozenset(
    {"code", "model", "timing", "tax_category", "description", "unit", "prorate", "min_amount", "max_amount"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelParameters:
    """Which fields of a charge document a model needs, and which others it understands."""

    required: frozenset[str]
    optional: frozenset[str]
    is_metered: bool


MODEL_PARAMETERS: Final[Mapping[str, ModelParameters]] = {
    "flat": ModelParameters(required=frozenset({"amount"}), optional=frozenset(), is_metered=False),
    "per_unit": ModelParameters(
        required=frozenset({"unit_rate"}), optional=frozenset({"included_units"}), is_metered=True
    ),
    "graduated": ModelParameters(
        required=frozenset({"tiers"}), optional=frozenset({"included_units", "flat_at_zero"}), is_metered=True
    ),
    "overage": ModelParameters(
        required=frozenset({"included_units", "unit_rate"}), optional=frozenset(), is_metered=True
    ),
}
# Models that the pricing language names and this engine does not offer yet: refused by name, not as a typing error.
MODELS_TO_COME: Final = ("volume", "package", "percentage", "graduated_percentage", "dynamic")
KEYS_TO_COME: Final = ("prices_by",)


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixCell:
    """A price of its own for the events whose properties have these values; no price: the charge's own."""

    when: tuple[tuple[str, str], ...] = ()  # (property, value), sorted; none: every event
    price: "ChargeTerms | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceMatrix:
    """Prices by the values of event properties; the first cell that matches wins, and the last one matches all."""

    properties: tuple[str, ...]
    cells: tuple[MatrixCell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeTerms:
    """How one metric, or a fixed fee, is priced; immutable, and equal when it prices equally."""

    code: str
    model: str
    meter: str | None = None
    included_units: Decimal = ZERO
    unit_rate: Decimal | None = None
    tiers: tuple[ChargeTier, ...] = ()
    flat_at_zero: bool = True
    amount: Decimal | None = None
    per_quantity: bool = False
    package_size: Decimal | None = None
    package_price: Decimal | None = None
    rate_percent: Decimal | None = None
    fixed_fee: Decimal = ZERO
    free_events: int | None = None
    free_amount: Decimal | None = None
    min_per_event: Decimal | None = None
    max_per_event: Decimal | None = None
    amount_property: str | None = None
    prices_by: PriceMatrix | None = None
    unit_transform: UnitRounding | None = None
    discount_percent: Decimal = ZERO
    min_amount: Decimal | None = None
    max_amount: Decimal | None = None
    prorate: bool = False
    timing: str = "arrears"
    tax_category: str | None = None
    description: str | None = None
    unit: str | None = None
    scaled_tiers: ScaledTiers = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.model not in MODEL_PARAMETERS:
            raise InvalidTerms(f"must be one of {', '.join(MODEL_PARAMETERS)}, not {self.model!r}", path="model")
        for key in sorted(MODEL_PARAMETERS[self.model].required):
            if getattr(self, key) in (None, ()):
                raise InvalidTerms(f'is required by the model "{self.model}"', path=key)
        # Scaled once here, so that rating a million lines on the same terms does not convert the same bounds again.
        object.__setattr__(self, "scaled_tiers", scale_tiers(self.tiers))

    @property
    def is_metered(self) -> bool:
        """Whether the amount follows measured units."""
        return MODEL_PARAMETERS[self.model].is_metered

    def prorated(self, value: Decimal, factor: Fraction) -> Ratio:
        """Return a value of these terms for the served part of the period: times the factor if they say `prorate`."""
        numerator, denominator = value.as_integer_ratio()
        if not self.prorate or factor == 1:
            return numerator, denominator
        return numerator * factor.numerator, denominator * factor.denominator


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
    minimum, maximum = read.amount("min_amount"), read.amount("max_amount")
    if minimum is not None and maximum is not None and minimum > maximum:
        raise InvalidTerms("must not be above max_amount; lower it", path=at_key(path, "min_amount"))
    timing = documents.read_choice(charge, "timing", choices=TIMINGS, default="arrears", path=path)
    if parameters.is_metered and timing == "advance":
        raise InvalidTerms(
            'metered charges are billed in arrears here; use "arrears", or a flat charge for a fee in advance',
            path=at_key(path, "timing"),
        )
    is_meter_required = is_catalog and parameters.is_metered
    return ChargeTerms(
        code=documents.read_text(charge, "code", path=path, is_required=is_catalog) or "estimate",
        model=model,
        meter=documents.read_text(charge, "meter", path=path, is_required=is_meter_required),
        included_units=read.decimal("included_units") or ZERO,
        unit_rate=read.decimal("unit_rate"),
        tiers=_read_tiers(charge["tiers"], currency, at_key(path, "tiers")) if "tiers" in parameters.required else (),
        flat_at_zero=documents.read_flag(charge, "flat_at_zero", default=True, path=path),
        amount=read.amount("amount"),
        min_amount=minimum,
        max_amount=maximum,
        # A fee for a period shrinks with the period unless told otherwise; what usage costs does not.
        prorate=documents.read_flag(charge, "prorate", default=not parameters.is_metered, path=path),
        timing=timing,
        tax_category=documents.read_text(charge, "tax_category", path=path),
        description=documents.read_text(charge, "description", path=path),
        unit=documents.read_text(charge, "unit", path=path),
    )


def charge_to_document(terms: ChargeTerms) -> dict[str, Any]:
    """Return the canonical document of the terms: every parameter of the model, decimals in their shortest form."""
    parameters = MODEL_PARAMETERS[terms.model]
    written: dict[str, Any] = {key: getattr(terms, key) for key in _COMMON_KEYS}
    written |= {key: getattr(terms, key) for key in parameters.required | parameters.optional}
    if parameters.is_metered:
        written["meter"] = terms.meter
    if "tiers" in written:
        written["tiers"] = [tier.to_document() for tier in terms.tiers]
    return {key: decimal_text(value) if isinstance(value, Decimal) else value for key, value in sorted(written.items())}


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads numbers of one charge and knows the path for complaints."""

    charge: Mapping[str, Any]
    currency: str
    path: str

    def decimal(self, key: str) -> Decimal | None:
        """Return a field as an exact decimal of zero or more, or None when it is missing or null."""
        value = self.charge.get(key)
        return None if value is None else _read_decimal(value, at_key(self.path, key))

    def amount(self, key: str) -> Decimal | None:
        """Return a field as an amount in major units with the digits of the currency, or None."""
        value = self.charge.get(key)
        return None if value is None else _read_amount(value, self.currency, at_key(self.path, key))


def _read_model(charge: Mapping[str, Any], path: str) -> str:
    model, available = charge.get("model"), ", ".join(MODEL_PARAMETERS)
    model_path = at_key(path, "model")
    if model in MODELS_TO_COME:
        raise InvalidTerms(f'the model "{model}" is not available yet; available are {available}', path=model_path)
    if not isinstance(model, str) or model not in MODEL_PARAMETERS:
        raise InvalidTerms(f"must be one of {available}, not {model!r}", path=model_path)
    return model


def _refuse_foreign_keys(charge: Mapping[str, Any], model: str, parameters: ModelParameters, path: str) -> None:
    own = parameters.required | parameters.optional | ({"meter"} if parameters.is_metered else frozenset())
    foreign = frozenset({"meter"}).union(*(p.required | p.optional for p in MODEL_PARAMETERS.values())) - own
    for key in sorted(charge):
        if charge[key] is not None and key in foreign:
            raise InvalidTerms(f'does not belong to the model "{model}"; remove it', path=at_key(path, key))
        if charge[key] is not None and key in KEYS_TO_COME:
            raise InvalidTerms("is not available yet; price each value with its own charge", path=at_key(path, key))
    known = _COMMON_KEYS | own
    documents.refuse_unknown_keys(
        {key: value for key, value in charge.items() if key not in foreign and key not in KEYS_TO_COME},
        known=known,
        path=path,
    )
    for key in sorted(parameters.required):
        if charge.get(key) is None:
            raise InvalidTerms(f'is required by the model "{model}"', path=at_key(path, key))


def _read_tiers(value: object, currency: str, path: str) -> tuple[ChargeTier, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise InvalidTerms("must be a list with at least one tier", path=path)
    if len(value) > TIERS_MAX:
        raise InvalidTerms(f"has {len(value)} tiers; at most {TIERS_MAX} are possible", path=path)
    tiers: list[ChargeTier] = []
    for position, item in enumerate(value):
        tier_path = at_key(path, position)
        tier = _read_tier(item, currency, tier_path)
        _ensure_rising(tier, tiers, is_last=position == len(value) - 1, path=at_key(tier_path, "up_to"))
        tiers.append(tier)
    return tuple(tiers)


def _read_tier(item: object, currency: str, path: str) -> ChargeTier:
    fields = documents.read_mapping(item, path=path)
    documents.refuse_unknown_keys(fields, known=("up_to", "unit_rate", "flat_fee"), path=path)
    if "up_to" not in fields:
        raise InvalidTerms("is required; give the upper bound, or null for the last tier", path=at_key(path, "up_to"))
    if fields.get("unit_rate") is None:
        raise InvalidTerms('is required; write "0" for a tier without a rate', path=at_key(path, "unit_rate"))
    up_to, flat_fee = fields["up_to"], fields.get("flat_fee")
    return ChargeTier(
        up_to=None if up_to is None else _read_decimal(up_to, at_key(path, "up_to")),
        unit_rate=_read_decimal(fields["unit_rate"], at_key(path, "unit_rate")),
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


__all__ = [
    "MODELS_TO_COME",
    "MODEL_PARAMETERS",
    "ChargeTerms",
    "ChargeTier",
    "charge_from_document",
    "charge_to_document",
]
