"""
What a charge costs: the terms as data.

Rules: terms are immutable, exact and complete: a parameter that the model needs and a contradiction between two of them
are refused when the terms are made, wherever they come from. Documents are read in `reading.py` and written in
`writing.py`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Final

from apps.engine.aggregation import UnitRounding
from apps.engine.charge_models.scaled_tiers import ChargeTier, ScaledTiers, scale_tiers
from apps.engine.documents import at_key
from apps.engine.errors import InvalidTerms
from apps.engine.exact import Ratio

TIERS_MAX: Final = 1000
CELLS_MAX: Final = 1000
TIMINGS: Final = ("arrears", "advance")
ZERO: Final = Decimal(0)

# What every charge may say, whatever its model.
COMMON_KEYS: Final = frozenset(
    {"code", "model", "timing", "tax_category", "description", "unit", "prorate", "min_amount", "max_amount"}
    | {"discount_percent"}
)
_UNITS: Final = frozenset({"included_units", "unit_transform", "prices_by"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelParameters:
    """Which fields of a charge document a model needs, and which others it understands."""

    required: frozenset[str]
    optional: frozenset[str]
    is_metered: bool
    tier_rate: str | None = None  # what a tier of this model calls its rate


MODEL_PARAMETERS: Final[Mapping[str, ModelParameters]] = {
    "flat": ModelParameters(required=frozenset({"amount"}), optional=frozenset({"per_quantity"}), is_metered=False),
    "per_unit": ModelParameters(required=frozenset({"unit_rate"}), optional=_UNITS, is_metered=True),
    "graduated": ModelParameters(
        required=frozenset({"tiers"}), optional=_UNITS | {"flat_at_zero"}, is_metered=True, tier_rate="unit_rate"
    ),
    "volume": ModelParameters(
        required=frozenset({"tiers"}), optional=_UNITS | {"flat_at_zero"}, is_metered=True, tier_rate="unit_rate"
    ),
    "package": ModelParameters(required=frozenset({"package_size", "package_price"}), optional=_UNITS, is_metered=True),
    "overage": ModelParameters(
        required=frozenset({"included_units", "unit_rate"}),
        optional=frozenset({"unit_transform", "prices_by"}),
        is_metered=True,
    ),
    "percentage": ModelParameters(
        required=frozenset({"rate_percent"}),
        optional=frozenset({"fixed_fee", "free_events", "free_amount", "min_per_event", "max_per_event"}),
        is_metered=True,
    ),
    "graduated_percentage": ModelParameters(
        required=frozenset({"tiers"}),
        optional=frozenset({"flat_at_zero", "unit_transform"}),
        is_metered=True,
        tier_rate="rate_percent",
    ),
    "dynamic": ModelParameters(required=frozenset({"amount_property"}), optional=frozenset(), is_metered=True),
}
# Models that a cell of a price matrix may have, and what such a price is made of.
CELL_MODELS: Final = ("per_unit", "graduated", "volume", "package")
CELL_KEYS: Final = ("unit_rate", "tiers", "flat_at_zero", "package_size", "package_price")


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixCell:
    """A price of its own for the events whose properties have these values; no price: the charge's own."""

    when: tuple[tuple[str, str], ...] = ()  # (property, value), sorted; none: every event
    price: "ChargeTerms | None" = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "when", tuple(sorted(self.when)))
        if self.price is not None and self.price.model not in CELL_MODELS:
            raise InvalidTerms(f"must be one of {', '.join(CELL_MODELS)}, not {self.price.model!r}", path="price.model")


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceMatrix:
    """Prices by the values of event properties; the first cell that matches wins, and the last one matches all."""

    properties: tuple[str, ...]
    cells: tuple[MatrixCell, ...]
    # For each set of properties that cells look at: from their values to the first such cell. One look-up per set finds
    # the cell of an event, however many cells there are.
    lookup: Mapping[tuple[str, ...], Mapping[tuple[str | None, ...], int]] = field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        lookup: dict[tuple[str, ...], dict[tuple[str | None, ...], int]] = {}
        for position, cell in enumerate(self.cells):
            names, values = tuple(name for name, _ in cell.when), tuple(value for _, value in cell.when)
            lookup.setdefault(names, {}).setdefault(values, position)
        object.__setattr__(self, "lookup", lookup)
        if not self.cells or self.cells[-1].when:
            raise InvalidTerms("is required; write {} for the charge's own price", path="default")
        if len(self.cells) == 1:
            raise InvalidTerms("must name at least one value; without any, leave prices_by out", path="match")
        if len(self.cells) > CELLS_MAX:
            raise InvalidTerms(f"has {len(self.cells)} cells; at most {CELLS_MAX} are possible", path="match")
        used = {name for cell in self.cells for name, _ in cell.when}
        for position, name in enumerate(self.properties):
            if name not in used or name in self.properties[:position]:
                raise InvalidTerms(f'"{name}" is in no `when` or stands there twice; remove it', path="properties")
        for position, cell in enumerate(self.cells[:-1]):
            self._ensure_reached(cell, position, at_key("match", position))

    def cell_of(self, values: Mapping[str, str | None]) -> int:
        """Return the index of the first cell that matches; a property that is missing or null matches no value."""
        found = (by_values.get(tuple(values.get(name) for name in names)) for names, by_values in self.lookup.items())
        return min(position for position in found if position is not None)

    def _ensure_reached(self, cell: MatrixCell, position: int, path: str) -> None:
        if not cell.when:
            raise InvalidTerms("must name a value; what has none belongs into `default`", path=at_key(path, "when"))
        for name, _ in cell.when:
            if name not in self.properties:
                raise InvalidTerms(f'"{name}" is not among the properties; add it there', path=at_key(path, "when"))
        first = self.cell_of(dict(cell.when))
        if first < position:
            raise InvalidTerms(
                f"is never reached, because match[{first}] comes first; remove it or move it up",
                path=at_key(path, "when"),
            )


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
    # Terms are hashed with every line, so `writing.canonical_text` keeps their text here once it is asked for.
    text: str | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        if self.model not in MODEL_PARAMETERS:
            raise InvalidTerms(f"must be one of {', '.join(MODEL_PARAMETERS)}, not {self.model!r}", path="model")
        for key in sorted(MODEL_PARAMETERS[self.model].required):
            if getattr(self, key) in (None, ()):
                raise InvalidTerms(f'is required by the model "{self.model}"', path=key)
        for path, complaint in _contradictions(self):
            raise InvalidTerms(complaint, path=path)
        if self.prices_by is not None:
            object.__setattr__(self, "prices_by", _with_own_prices_left_out(self, self.prices_by))
        # Scaled once here, so that rating a million lines on the same terms does not convert the same bounds again.
        object.__setattr__(self, "scaled_tiers", scale_tiers(self.tiers))

    @property
    def is_metered(self) -> bool:
        """Whether the amount follows measured units."""
        return MODEL_PARAMETERS[self.model].is_metered

    @property
    def needs_basis(self) -> bool:
        """Whether a quantity alone is not enough to price (see `basis.basis_needed`)."""
        return self.prices_by is not None or self.model in ("percentage", "dynamic")

    def prorated(self, value: Decimal, factor: Fraction) -> Ratio:
        """Return a value of these terms for the served part of the period: times the factor if they say `prorate`."""
        numerator, denominator = value.as_integer_ratio()
        if not self.prorate or factor == 1:
            return numerator, denominator
        return numerator * factor.numerator, denominator * factor.denominator


def _with_own_prices_left_out(terms: ChargeTerms, matrix: PriceMatrix) -> PriceMatrix:
    """Return the matrix without prices that equal the charge's own, so that one meaning has one text and one hash."""
    model = "per_unit" if terms.model == "overage" else terms.model
    cells = (
        MatrixCell(when=cell.when)
        if cell.price is not None
        and cell.price.model == model
        and all(getattr(cell.price, key) == getattr(terms, key) for key in CELL_KEYS)
        else cell
        for cell in matrix.cells
    )
    return PriceMatrix(properties=matrix.properties, cells=tuple(cells))


def _contradictions(terms: ChargeTerms) -> Iterator[tuple[str, str]]:
    """Yield (field, complaint) for what cannot be meant."""
    if _is_above(terms.min_amount, terms.max_amount):
        yield "min_amount", "must not be above max_amount; lower it"
    if _is_above(terms.min_per_event, terms.max_per_event):
        yield "min_per_event", "must not be above max_per_event; lower it"
    if not 0 <= terms.discount_percent <= 100:
        yield "discount_percent", "must lie from 0 to 100; 100 makes the charge free"
    if terms.package_size is not None and terms.package_size <= 0:
        yield "package_size", "must be above zero; it is the number of units in one package"
    if terms.is_metered and terms.timing == "advance":
        if _is_volume(terms):
            yield "timing", 'must be "arrears": a volume price can fall with the next event, which was billed already'
        if terms.min_amount is not None:
            yield "min_amount", 'is known at the end of the period only; remove it, or use the timing "arrears"'


def _is_above(low: Decimal | None, high: Decimal | None) -> bool:
    return low is not None and high is not None and low > high


def _is_volume(terms: ChargeTerms) -> bool:
    cells = () if terms.prices_by is None else terms.prices_by.cells
    return terms.model == "volume" or any(cell.price is not None and cell.price.model == "volume" for cell in cells)
