"""Which tests are asked about which module, the quickest to notice first."""

from collections.abc import Mapping
from typing import Final

_ENGINE: Final = "tests/engine"


def _tests(*names: str) -> tuple[str, ...]:
    return tuple(f"{_ENGINE}/test_{name}.py" for name in names)


# For everything that rates: golden tables, then the naive second implementation on the edges.
_RATING: Final = _tests(
    "charge_models", "bad_input", "charge_tables", "charge_edges", "agreement", "charge_properties", "rating_properties"
)
_TERMS: Final = _tests(
    "terms_edges",
    "charge_terms",
    "bad_input",
    "charge_refusals",
    "charge_edges",
    "charge_basis",
    "charge_tables",
    "agreement",
    "charge_properties",
)

TARGETS: Final[Mapping[str, tuple[str, ...]]] = {
    "apps.engine.money": _tests("money", "money_edges"),
    "apps.engine.exact": _tests("money", "money_edges"),
    "apps.engine.allocation": _tests("allocation", "money_edges"),
    "apps.engine.proration": _tests("proration"),
    "apps.engine.tax": _tests("tax", "money_edges"),
    "apps.engine.hashing": _tests("hashing", "money_edges"),
    "apps.engine.periods": _tests("period_edges", "periods"),
    "apps.engine.unit_rounding": _tests("quantity_edges", "aggregation"),
    "apps.engine.aggregation": _tests("quantity_edges", "aggregation", "agreement"),
    "apps.engine.commitments": _tests("reduction_edges", "commitments", "agreement"),
    "apps.engine.discounts": _tests("reduction_edges", "discounts"),
    "apps.engine.charge_models.basis": _TERMS,
    "apps.engine.charge_models.billable": _RATING,
    "apps.engine.charge_models.compiled": _RATING,
    "apps.engine.charge_models.dynamic": _RATING,
    "apps.engine.charge_models.flat": _RATING,
    "apps.engine.charge_models.graduated": _RATING,
    "apps.engine.charge_models.increments": _RATING,
    "apps.engine.charge_models.line_steps": _RATING,
    "apps.engine.charge_models.matrices": _TERMS,
    "apps.engine.charge_models.package": _RATING,
    "apps.engine.charge_models.per_unit": _RATING,
    "apps.engine.charge_models.percentage": _RATING,
    "apps.engine.charge_models.rating": _RATING,
    "apps.engine.charge_models.reading": _TERMS,
    "apps.engine.charge_models.scaled_tiers": _RATING,
    "apps.engine.charge_models.steps": _RATING,
    "apps.engine.charge_models.terms": _TERMS,
    "apps.engine.charge_models.volume": _RATING,
    "apps.engine.charge_models.writing": _TERMS,
}
